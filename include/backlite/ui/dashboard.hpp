// SPDX-License-Identifier: MIT
#pragma once
// Dashboard: shows a database file over HTTP behind any server, and acts on its tasks if the host says so. See
// ui/mount.hpp for cpp-httplib's shape.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/admin.hpp>
#include <backlite/admin/database_view.hpp>
#include <backlite/admin/page_reads.hpp>
#include <backlite/base/guards.hpp>
#include <backlite/base/hash.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/client.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/act_forms.hpp>
#include <backlite/ui/actions.hpp>
#include <backlite/ui/excuse.hpp>
#include <backlite/ui/json.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/list_pages.hpp>
#include <backlite/ui/metrics.hpp>
#include <backlite/ui/order.hpp>
#include <backlite/ui/pages.hpp>
#include <backlite/ui/request.hpp>
#include <backlite/ui/schedules_page.hpp>
#include <backlite/ui/script.hpp>
#include <backlite/ui/stylesheet.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// The order of the fields is part of the interface.
struct DashboardConfig {
    std::string title{};               ///< in the head of each page; empty: the file's name without its folder
    std::vector<std::string> hosts{};  ///< names it is reached by, beside those of this machine itself; without ports
    Authorization authorization{};     ///< required if `hosts` names anything; empty: this machine only, with `token`
    /// What is shown instead of a payload or an error; called on the server's threads, several at once. If it throws,
    /// nothing is shown. With it, or with Payloads::hide, text is not searched: a search would tell what is hidden.
    Redact redact{};
    Payloads payloads = Payloads::show;  ///< whether payloads are shown at all
    std::string link_prefix{};           ///< what a proxy takes off the front of paths, such as "/ops"; empty: nothing
    std::size_t page_size = 50;          ///< tasks on a page; 1 to 200
    Duration deadline{2'000};            ///< how long a page may look at the file
    Duration busy_timeout{250};          ///< how long it waits for a lock, which readers rarely need
    std::shared_ptr<Logger> logger{};    ///< null: silent
    std::shared_ptr<Clock> clock{};      ///< null: the real one
    std::function<SQLite::Database()> open{};  ///< opens each connection, say with a key; it is set to read only
    std::string token{};  ///< asked for while `authorization` is empty, see Dashboard::entrance; at least 16 of A-Z a-z
                          ///< 0-9 - . _ ~; empty: a new random one

    /// What acts on tasks and queues, for those with Access::operate and, without an authorization, for who brings the
    /// token; it must be on the same file. nullopt: the dashboard only shows.
    std::optional<Admin> actions{};
    /// Told of each action once it is done, beside an event for the log; called on the server's threads, several at
    /// once. What it throws is logged.
    Audit audit{};
};

/// Shows one database file: this library's, or one of Go backlite v0.6. To show it only reads: it has connections of
/// its own, migrates nothing, and never changes the file's bytes. The file need not exist yet, and may be replaced. It
/// acts through DashboardConfig::actions alone. Threads: any, at once.
class Dashboard {
public:
    /// Errors: ConfigError naming the value that cannot work. Nothing is opened yet, but with `actions` the file is
    /// asked for its secret: StorageError.
    explicit Dashboard(std::string file, DashboardConfig config = {});

    /// Shows the client's file. Its clock, its logger and its way of opening are used where `config` has none. The
    /// dashboard may outlive the client. Errors: ConfigError.
    explicit Dashboard(const Client& client, DashboardConfig config = {})
        : Dashboard(client.config().database, with_clients(client.config(), std::move(config))) {}
    Dashboard(const Dashboard&) = delete;
    Dashboard& operator=(const Dashboard&) = delete;

    /// Whether requests from other machines may be answered.
    [[nodiscard]] bool authorizes() const noexcept { return static_cast<bool>(config_.authorization.check); }

    /// What follows the server's name in the address to open: with the token that lets this machine's user in, or
    /// without where DashboardConfig::authorization decides. It is for that user's eyes: print it, do not log it. The
    /// browser gets a cookie for it; programs send the token as `Authorization: Bearer`. `/health` needs none.
    [[nodiscard]] std::string entrance(std::string_view base = {}) const {
        return fmt::format("{}{}/{}{}", config_.link_prefix, base,
                           authorizes() ? "" : "?token=", authorizes() ? "" : token_);
    }

    /// Answers one request. `base` is the path that the dashboard is mounted at: empty, or such as "/tasks".
    /// Never throws: errors are shown as a page with a number that also appears in the log, or as a bare 503 without
    /// memory.
    [[nodiscard]] Response handle(const Request& request, std::string_view base = {}) noexcept;

private:
    static constexpr std::string_view html_type = "text/html; charset=utf-8";
    static constexpr std::string_view json_type = "application/json";
    static constexpr std::string_view text_type = "text/plain; charset=utf-8";

    /// One request on its way.
    struct Call {
        const Request& request;
        Target target{};
        View view{};
        bool json = false;
        std::string_view host{};
        std::string who{};
    };

    static constexpr std::uint64_t most_counted = 10'000;  ///< of what an order would change

    /// What is sent, in the one of its two forms that was asked for.
    struct Page {
        Head head{};
        Html html{};
        Json json{};
    };

    static DashboardConfig checked(DashboardConfig config);

    static std::string random_token() {
        return fmt::format("{:016x}{:016x}", backlite::platform::random_seed(), backlite::platform::random_seed());
    }

    static DashboardConfig with_clients(const ClientConfig& client, DashboardConfig config);

public:
    /// Errors: ConfigError unless `path` is empty, or parts of RFC 3986's unreserved characters, each after a slash.
    static void check_path(std::string_view what, std::string_view path);

private:
    // ---- before and after the pages
    // -----------------------------------------------------------------------------------

    Response guarded(const Request& request, std::string_view base);

    Access access_of(const Request& request, std::string_view host, const Target& target);

    /// Who asks, for the record.
    std::string name_of(const Request& request) const;

    /// Whether a task waits for too long is no secret, and who watches for it should not need one.
    static bool is_health(const Target& target) { return target.path.size() == 1 && target.path[0] == "health"; }

    bool brings_token(const Request& request, std::string_view host, const Target& target) const;

    /// Whether the token comes in a header that no browser sends by itself.
    bool brings_bearer(const Request& request) const;

    /// Browsers keep cookies by host, and not by port.
    static std::string cookie_name(std::string_view host);

    /// Turns the token in the address into a cookie, and leads to the address without it. A redirect would not do: if a
    /// page elsewhere led here, the browser would not send the cookie along with it (SameSite=Strict).
    Response welcome(const Call& call, std::string_view host) const;

    Response refused(const Request& request) const;

    static Response finished(const Request& request, Response response);

    static Response with(int status, std::string_view type, std::string body);

    static Response plain(int status, std::string_view text) { return with(status, text_type, std::string{text}); }

    // ---- routes
    // -------------------------------------------------------------------------------------------------------

    Response route(Call& call);

    /// Calls `ask(PageReads&)` on one state of the file.
    template <class Ask>
    auto look(const Call& call, Ask&& ask, admin::DatabaseView::For whom = admin::DatabaseView::For::people) {
        return file_.read(
            config_.deadline,
            [&](admin::Queries& queries) {
                admin::PageReads reads(queries, file_.name(), call.view.now);
                return std::forward<Ask>(ask)(reads);
            },
            whom);
    }

    /// A page that a program may ask for again and again: 304 as long as nothing has changed. The tag holds the file's
    /// version, and until when the page stays true if nobody commits. `read(PageReads&)` gives a Sheet, of whose model
    /// `html(View, model)` or `json(View, model)` makes what is sent.
    template <class Read, class ToHtml, class ToJson>
    Response live(Call& call, Read&& read, ToHtml&& html, ToJson&& json) {
        const std::string version = fmt::format("{}.{:x}", file_.version(),
                                                backlite::detail::fnv1a(call.request.target + (call.json ? "j" : "h") +
                                                                        call.view.base + call.view.form_token));
        if (const std::string_view tag = current_tag(call.request.headers, version, call.view.now); !tag.empty()) {
            return not_modified(tag);
        }
        const Page page = look(call, [&](admin::PageReads& reads) {
            auto sheet = read(reads);
            Page made{std::move(sheet.head)};
            if (!sheet.model) {
                put_fault(call, made);
            } else if (call.json) {
                made.json = json(call.view, *sheet.model);
            } else {
                made.html = html(call.view, *sheet.model);
            }
            return made;
        });
        Response response = respond(call, page);
        if (page.head.status == 200) {
            const std::string tag = fmt::format("{}.{}", version, page.head.valid_until.count());
            if (only_header(call.request.headers, "If-None-Match") == "*") return not_modified(tag);
            response.headers.emplace_back("ETag", '"' + tag + '"');
        }
        return response;
    }

    static Response not_modified(std::string_view tag);

    /// The tag among those of the request that stands for the page as it is; empty if there is none. They are compared
    /// weakly (RFC 9110, 13.1.2): a proxy that compresses makes them weak.
    static std::string_view current_tag(const Headers& headers, std::string_view version, Ms now);

    /// Makes the page say that there is no model.
    static void put_fault(const Call& call, Page& page);

    static Response respond(const Call& call, const Page& page);

    static Response message(const Call& call, int status, std::string heading, std::string_view text,
                            std::string_view advice);

    static Response missing(const Call& call) {
        return message(call, 404, "Not found", "There is no such page.", "The overview is one step away, above.");
    }

    /// A page that says what can be said without telling about the machine; the log says the rest.
    Response troubled(const Call& call, UnavailableReason kind, std::string_view what);

    // ---- actions
    // ------------------------------------------------------------------------------------------------------

    /// An order, carried out, asked about, or refused.
    Response ordered(Call& call);

    Response refused_order(const Call& call, int status, std::string_view heading, std::string text);

    /// Does it, and leads back to the page. `words`: which tasks.
    Response carry_out(Call& call, const Order& order, const std::vector<TaskFilter>& filters,
                       const std::string& words);

    /// What a program puts into its orders.
    Response token_for_programs(const Call& call);

    // ---- what is no page
    // ----------------------------------------------------------------------------------------------

    static std::string asset_tag();

    /// The tag in the name changes with the content, so what has the right one may be kept for ever.
    static Response asset(const Call& call, std::string_view name);

    /// One whole payload as it is stored, or as it is redacted.
    Response payload(Call& call, const std::string& id);

    /// 200 while the file opens and no task has been due for longer than `max_age` seconds (600 unless given).
    Response health(Call& call);

    /// Made anew at most once a second.
    Response metrics(Call& call);

    // constant after construction
    const DashboardConfig config_;
    const std::string token_;  // not asked for where config_.authorization decides
    const std::shared_ptr<Clock> clock_;
    const backlite::detail::SafeLogger log_;

    admin::DatabaseView file_;
    const Pages pages_;
    const Actions actions_;
    std::atomic<std::uint64_t> troubles_{0};

    backlite::detail::Mutex metrics_mutex_{};
    std::string metrics_ BACKLITE_GUARDED_BY(metrics_mutex_){};
    std::chrono::steady_clock::time_point metrics_made_ BACKLITE_GUARDED_BY(metrics_mutex_){};
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/dashboard.ipp>
#endif
