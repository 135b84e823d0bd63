// SPDX-License-Identifier: MIT
#pragma once
// Dashboard: shows a database file over HTTP, read-only, behind any server. See ui/mount.hpp for cpp-httplib's shape.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include <backlite/client.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/storage/owner_lock.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/excuse.hpp>
#include <backlite/ui/file.hpp>
#include <backlite/ui/json.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/list_pages.hpp>
#include <backlite/ui/metrics.hpp>
#include <backlite/ui/pages.hpp>
#include <backlite/ui/processes.hpp>
#include <backlite/ui/request.hpp>
#include <backlite/ui/script.hpp>
#include <backlite/ui/stylesheet.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// The order of the fields is part of the interface.
struct DashboardConfig {
    std::string title{};               ///< in the head of each page; empty: the file's name without its folder
    std::vector<std::string> hosts{};  ///< names it is reached by, beside those of this machine itself; without ports
    Authorization authorization{};     ///< required if `hosts` names anything; empty: requests from this machine only
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
};

/// Shows one database file: this library's, or one of Go backlite v0.6. It only reads: it has connections of its own,
/// migrates nothing, and never changes the file's bytes. The file need not exist yet, and may be replaced.
/// Threads: any, at once.
class Dashboard {
public:
    /// Errors: ConfigError naming the value that cannot work. Nothing is opened yet.
    explicit Dashboard(std::string file, DashboardConfig config = {})
        : config_(checked(std::move(config))),
          clock_(config_.clock ? config_.clock : std::make_shared<Clock>()),
          log_(config_.logger),
          file_(std::move(file), config_.open, config_.busy_timeout),
          pages_({config_.page_size, config_.payloads, config_.redact}, file_.name(), log_) {
        if (file_.name().empty()) throw ConfigError("Dashboard: the file's name is empty");
        if (file_.name().find('\0') != std::string::npos) throw ConfigError("Dashboard: the file's name holds a NUL");
    }

    /// Shows the client's file. Its clock, its logger and its way of opening are used where `config` has none. The
    /// client may go before the dashboard. Errors: ConfigError.
    explicit Dashboard(const Client& client, DashboardConfig config = {})
        : Dashboard(client.config().database, with_clients(client.config(), std::move(config))) {}
    Dashboard(const Dashboard&) = delete;
    Dashboard& operator=(const Dashboard&) = delete;

    /// Whether requests from other machines may be answered.
    [[nodiscard]] bool authorizes() const noexcept { return static_cast<bool>(config_.authorization.check); }

    /// Answers one request. `base` is the path that the dashboard is mounted at: empty, or such as "/tasks".
    /// Never throws: what goes wrong is a page with a number that is also in the log. Out of memory it is a bare 503.
    [[nodiscard]] Response handle(const Request& request, std::string_view base = {}) noexcept {
        try {
            return finished(request, guarded(request, base));
        } catch (...) {
            Response response;
            response.status = 503;
            return response;
        }
    }

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
    };

    static DashboardConfig checked(DashboardConfig config) {
        if (config.page_size < 1 || config.page_size > 200) {
            throw ConfigError(fmt::format("DashboardConfig::page_size is not between 1 and 200: {}", config.page_size));
        }
        if (config.deadline <= Duration::zero()) {
            throw ConfigError(fmt::format("DashboardConfig::deadline is not positive: {} ms", config.deadline.count()));
        }
        if (config.busy_timeout < Duration::zero() || config.busy_timeout > std::chrono::hours{1}) {
            throw ConfigError(
                fmt::format("DashboardConfig::busy_timeout cannot work: {} ms", config.busy_timeout.count()));
        }
        if (!config.hosts.empty() && !config.authorization.check) {
            throw ConfigError(
                fmt::format("DashboardConfig::hosts names \"{}\" but there is no authorization: whoever reaches "
                            "it by that name could read every task",
                            config.hosts.front()));
        }
        for (std::string& host : config.hosts) host = detail::lower(host);
        check_path("DashboardConfig::link_prefix", config.link_prefix);
        return config;
    }

    static DashboardConfig with_clients(const ClientConfig& client, DashboardConfig config) {
        if (!config.logger) config.logger = client.logger;
        if (!config.clock) config.clock = client.clock;
        if (!config.open) config.open = client.open;
        return config;
    }

public:
    /// Errors: ConfigError unless `path` is empty, or parts of RFC 3986's unreserved characters, each after a slash.
    static void check_path(std::string_view what, std::string_view path) {
        bool ok = path.empty() || path.front() == '/';
        char before = 'x';
        for (const char c : path) {
            const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                               c == '_' || c == '~' || c == '.';
            ok = ok && (plain || c == '/') && !(before == '/' && (c == '/' || c == '.'));
            before = c;
        }
        if (!ok || before == '/') {
            throw ConfigError(
                fmt::format("{} must be empty, or like \"/tasks\" without a slash at the end: \"{}\"", what, path));
        }
    }

private:
    // ---- before and after the pages
    // -----------------------------------------------------------------------------------

    Response guarded(const Request& request, std::string_view base) {
        if (request.method != "GET" && request.method != "HEAD") {
            Response response = plain(405, "This dashboard only shows: GET and HEAD are all it answers.\n");
            response.headers.emplace_back("Allow", "GET, HEAD");
            return response;
        }
        const std::optional<std::string_view> host = only_header(request.headers, "Host");
        if (!host || !host_is_allowed(*host, config_.hosts)) {
            return plain(421,
                         "This dashboard is not known by that name. Names other than localhost are set in "
                         "DashboardConfig::hosts.\n");
        }
        if (request.headers.size() > 200) return plain(431, "Too many headers.\n");
        if (!may_read(request)) {
            if (config_.authorization.challenge.empty()) return plain(403, "Not allowed.\n");
            Response response = plain(401, "Not allowed.\n");
            response.headers.emplace_back("WWW-Authenticate", config_.authorization.challenge);
            return response;
        }
        Call call{request};
        switch (parse_target(request.target, base, call.target)) {
            case TargetFault::too_long: return plain(414, "The address is too long.\n");
            case TargetFault::malformed: return plain(400, "The address cannot be understood.\n");
            case TargetFault::outside: return plain(404, "There is nothing here.\n");
            case TargetFault::none: break;
        }
        call.view.base = config_.link_prefix + std::string{base};
        call.view.title = config_.title.empty() ? file_.name().substr(file_.name().rfind('/') + 1) : config_.title;
        call.view.asset_tag = asset_tag();
        call.view.now = to_ms(clock_->now());
        call.view.target = &call.target;
        const std::optional<std::string_view> accept = only_header(request.headers, "Accept");
        call.json = accept && accept->substr(0, json_type.size()) == json_type;
        return route(call);
    }

    bool may_read(const Request& request) {
        if (!config_.authorization.check) return is_loopback(request.remote_addr);
        try {
            return (config_.authorization.check)(request) == Access::read;
        } catch (const std::exception& error) {
            log_(LogLevel::failure, "dashboard authorization threw", {{"error", error.what()}});
        } catch (...) {
            log_(LogLevel::failure, "dashboard authorization threw");
        }
        return false;
    }

    static Response finished(const Request& request, Response response) {
        const auto add = [&](const char* name, const char* value) { response.headers.emplace_back(name, value); };
        add("Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
        add("X-Content-Type-Options", "nosniff");
        add("X-Frame-Options", "DENY");
        add("Referrer-Policy", "same-origin");
        add("Cross-Origin-Resource-Policy", "same-origin");
        add("Cross-Origin-Opener-Policy", "same-origin");
        if (!only_header(response.headers, "Cache-Control")) add("Cache-Control", "no-store");
        if (request.method == "HEAD") {
            if (response.status != 304)
                response.headers.emplace_back("Content-Length", fmt::to_string(response.body.size()));
            response.body.clear();
        }
        return response;
    }

    static Response with(int status, std::string_view type, std::string body) {
        Response response;
        response.status = status;
        response.headers.emplace_back("Content-Type", type);
        response.body = std::move(body);
        return response;
    }

    static Response plain(int status, std::string_view text) { return with(status, text_type, std::string{text}); }

    // ---- routes
    // -------------------------------------------------------------------------------------------------------

    Response route(Call& call) {
        const std::vector<std::string>& path = call.target.path;
        const std::string_view first = path.empty() ? std::string_view{} : std::string_view{path[0]};
        const View& view = call.view;
        const bool json = call.json;
        try {
            if (path.empty()) return live(call, [&](Store& store) { return pages_.overview(view, json, store); });
            if (path.size() == 2) {
                if (first == "assets") return asset(call, path[1]);
                const std::string id{Link::read_part(path[1])};
                if (first == "task")
                    return live(call, [&](Store& store) { return pages_.task(view, json, store, id); });
                if (first == "payload") return payload(call, id);
            }
            if (path.size() != 1) return missing(call);
            const auto done = [&](State state) {
                return live(call, [&](Store& store) { return pages_.finished(view, json, store, state); });
            };
            if (first == "running") return live(call, [&](Store& store) { return pages_.running(view, json, store); });
            if (first == "upcoming")
                return live(call, [&](Store& store) { return pages_.upcoming(view, json, store); });
            if (first == "succeeded") return done(State::succeeded);
            if (first == "failed") return done(State::failed);
            if (first == "search") return live(call, [&](Store& store) { return pages_.search(view, json, store); });
            if (first == "health") return health(call);
            if (first == "metrics") return metrics(call);
            return missing(call);
        } catch (const FileTrouble& trouble) {
            return troubled(call, trouble.kind(), trouble.what());
        } catch (const StorageError& error) {
            return troubled(call, trouble_of(error), error.what());
        } catch (const std::exception& error) {
            return troubled(call, Trouble::other, error.what());
        } catch (...) {
            return troubled(call, Trouble::other, "an exception of an unknown type");
        }
    }

    /// A page that a program may ask for again and again: 304 as long as nothing has changed. The tag holds the file's
    /// version, and until when the page stays true if nobody commits.
    template <class Make>
    Response live(Call& call, Make&& make) {
        const std::string version =
            fmt::format("{}.{:x}", file_.version(),
                        storage::hash_id(call.request.target + (call.json ? "j" : "h") + call.view.base));
        if (is_current(only_header(call.request.headers, "If-None-Match"), version, call.view.now)) {
            Response response;
            response.status = 304;
            return response;
        }
        const Page page = file_.read(config_.deadline, std::forward<Make>(make));
        Response response = respond(call, page);
        if (page.status == 200) {
            response.headers.emplace_back("ETag", fmt::format("\"{}.{}\"", version, page.valid_until));
        }
        return response;
    }

    static bool is_current(std::optional<std::string_view> tag, std::string_view version, std::int64_t now) {
        if (!tag || tag->size() < 2 || tag->front() != '"' || tag->back() != '"') return false;
        const std::string_view text = tag->substr(1, tag->size() - 2);
        const std::size_t dot = text.rfind('.');
        if (dot == std::string_view::npos || text.substr(0, dot) != version) return false;
        const std::optional<std::int64_t> until = parse_integer(text.substr(dot + 1));
        return until && now < *until;
    }

    static Response respond(const Call& call, const Page& page) {
        Response response =
            call.json ? with(page.status, json_type, json_text(page.json))
                      : with(page.status, html_type, whole_page(call.view, page.heading, page.nav, page.html));
        response.headers.emplace_back("Vary", "Accept");
        return response;
    }

    static Response message(const Call& call, int status, std::string heading, std::string_view text,
                            std::string_view advice) {
        Page page;
        page.status = status;
        page.heading = std::move(heading);
        if (call.json) {
            page.json = {{"error", text}};
        } else {
            page.html = message_page(text, advice);
        }
        return respond(call, page);
    }

    static Response missing(const Call& call) {
        return message(call, 404, "Not found", "There is no such page.", "The overview is one step away, above.");
    }

    /// A page that says what can be said without telling about the machine; the log says the rest.
    Response troubled(const Call& call, Trouble kind, std::string_view what) {
        const std::uint64_t number = ++troubles_;
        log_(LogLevel::warning, "dashboard cannot show the file",
             {{"number", fmt::to_string(number)}, {"error", std::string{what}}});
        const Excuse excuse = excuse_for(kind);
        const std::string note = fmt::format("{}{}The log has more under number {}.", excuse.advice,
                                             excuse.advice.empty() ? "" : " ", number);
        return message(call, 503, "Not available", excuse.text, note);
    }

    // ---- what is no page
    // ----------------------------------------------------------------------------------------------

    static std::string asset_tag() {
        static const std::uint64_t hash =
            storage::hash_id(stylesheet) ^ storage::hash_id(script) * 3 ^ storage::hash_id(icon) * 5;
        return fmt::format("{:016x}", hash);
    }

    /// The tag in the name changes with the content, so what has the right one may be kept for ever.
    static Response asset(const Call& call, std::string_view name) {
        const std::string tag = asset_tag();
        if (!name.starts_with(tag)) return missing(call);
        const std::string_view kind = name.substr(tag.size());
        Response response;
        if (kind == ".css") {
            response = with(200, "text/css; charset=utf-8", std::string{stylesheet});
        } else if (kind == ".js") {
            response = with(200, "text/javascript; charset=utf-8", std::string{script});
        } else if (kind == ".svg") {
            response = with(200, "image/svg+xml", std::string{icon});
        } else {
            return missing(call);
        }
        response.headers.emplace_back("Cache-Control", "public, max-age=31536000, immutable");
        return response;
    }

    /// One whole payload as it is stored, or as it is redacted.
    Response payload(Call& call, const std::string& id) {
        constexpr std::int64_t most = std::int64_t{64} * 1'024 * 1'024;
        const Shown shown =
            file_.read(config_.deadline, [&](Store& store) { return pages_.payload(store, id, call.view.now, most); });
        if (shown.how == Shown::How::absent) return message(call, 404, "Not found", "There is no such payload.", "");
        if (shown.how == Shown::How::hidden) return message(call, 403, "Hidden", "This payload is hidden here.", "");
        if (shown.kind != PayloadKind::binary) return with(200, text_type, shown.text);
        Response response = with(200, "application/octet-stream", shown.text);
        response.headers.emplace_back("Content-Disposition", "attachment; filename=\"payload.bin\"");
        return response;
    }

    /// 200 while the file opens and no task has been due for longer than `max_age` seconds (600 unless given).
    Response health(Call& call) {
        const std::string_view text = call.target.get("max_age");
        const std::optional<std::int64_t> given = text.empty() ? std::int64_t{600} : parse_integer(text);
        if (!given || *given < 0) {
            constexpr std::string_view fault = "max_age must be a number of seconds.";
            if (call.json) return with(400, json_type, json_text({{"error", fault}}));
            return plain(400, std::string{fault} + "\n");
        }
        const std::optional<std::int64_t> oldest =
            file_.read(config_.deadline, [&](Store& store) { return store.queues.oldest_due(call.view.now); });
        const std::int64_t age_ms =
            oldest ? std::chrono::duration_cast<Duration>(span_between(*oldest, call.view.now)).count() : 0;
        const bool well = age_ms / 1'000 <= *given;
        if (call.json) {
            return with(
                well ? 200 : 503, json_type,
                json_text({{"status", well ? "ok" : "late"}, {"oldest_due_age_ms", age_ms}, {"max_age_s", *given}}));
        }
        return plain(well ? 200 : 503,
                     fmt::format("{}\noldest due task waits {} s\n", well ? "ok" : "late", age_ms / 1'000));
    }

    /// Made anew at most once a second.
    Response metrics(Call& call) {
        const std::lock_guard lock(metrics_mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (metrics_.empty() || now - metrics_made_ > std::chrono::seconds{1}) {
            FileSizes sizes;
            const Overview overview = file_.read(config_.deadline, [&](Store& store) {
                sizes.database = store.queues.bytes();
                std::vector<Process> processes = store.queues.processes();
                find_living(file_.name(), processes);
                return store.queues.overview(call.view.now, {}, {}, std::move(processes));
            });
            struct stat status {};
            if (::stat((file_.name() + "-wal").c_str(), &status) == 0) sizes.wal = status.st_size;
            metrics_ = metrics_text(overview, sizes, call.view.now);
            metrics_made_ = now;
        }
        return with(200, "text/plain; version=0.0.4; charset=utf-8", metrics_);
    }

    // constant after construction
    const DashboardConfig config_;
    const std::shared_ptr<Clock> clock_;
    const Log log_;

    File file_;
    const Pages pages_;
    std::atomic<std::uint64_t> troubles_{0};

    std::mutex metrics_mutex_{};
    // guarded by metrics_mutex_
    std::string metrics_{};
    std::chrono::steady_clock::time_point metrics_made_{};
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
