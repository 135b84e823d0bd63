// SPDX-License-Identifier: MIT
#pragma once
// A dashboard on a file of a test's own, asked without a server; and a parser that sees what a browser would make of a
// page.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/admin.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/testing/manual_clock.hpp>
#include <backlite/ui/dashboard.hpp>

#include <recording_logger.hpp>
#include <test_database.hpp>

namespace backlite_test {

/// A request as a browser on this machine sends it.
[[nodiscard]] inline backlite::ui::Request get(std::string target, backlite::ui::Headers more = {}) {
    backlite::ui::Request request;
    request.target = std::move(target);
    request.headers = {{"Host", "localhost:8080"}};
    for (auto& header : more) request.headers.push_back(std::move(header));
    request.remote_addr = "127.0.0.1";
    return request;
}

/// A configuration with which `get` is answered without a token.
[[nodiscard]] inline backlite::ui::DashboardConfig without_token(backlite::ui::DashboardConfig config = {}) {
    config.authorization = backlite::ui::this_machine();
    return config;
}

[[nodiscard]] inline std::string header_of(const backlite::ui::Response& response, std::string_view name) {
    return std::string{backlite::ui::only_header(response.headers, name).value_or("")};
}

/// A row of backlite_tasks_completed.
struct FinishedRow {
    std::string id{};
    std::string queue = "mail";
    std::int64_t created_at = 1'000;
    std::int64_t executed_at = 2'000;
    std::int64_t duration = 5'000;
    std::int64_t attempts = 1;
    std::optional<std::string> payload = "{}";
    std::optional<std::string> error{};
    std::optional<std::int64_t> expires_at{};
};

inline void add_finished(sqlite3* db, const FinishedRow& row) {
    using backlite::store::sqlite::Blob;
    using backlite::store::sqlite::Run;
    using backlite::store::sqlite::Statement;
    Statement insert(
        "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
        "succeeded, task, expires_at, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, iif(?10, ?8, NULL), ?9, "
        "iif(?12, ?11, NULL))");
    Run(db, insert,
        {row.id, row.created_at, row.queue, row.executed_at, row.attempts, row.duration, !row.error.has_value(),
         Blob{row.payload.value_or("")}, row.expires_at, row.payload.has_value(), row.error.value_or(""),
         row.error.has_value()})
        .change();
}

/// A file with our tables, a dashboard on it, and a clock that says 1970-01-12 13:46:40 UTC. Who asks from this machine
/// needs no token, unless the configuration has one.
class Rig {
public:
    static constexpr std::int64_t now = 1'000'000'000;

    /// With Access::operate the dashboard acts.
    explicit Rig(backlite::ui::DashboardConfig config = {}, backlite::ui::Access access = backlite::ui::Access::read) {
        config.clock = clock;
        config.logger = logger;
        if (access == backlite::ui::Access::operate) config.actions = admin();
        if (!config.authorization.check && config.token.empty()) {
            config.authorization = backlite::ui::this_machine(access);
        }
        dashboard = std::make_unique<backlite::ui::Dashboard>(database.config.database, std::move(config));
    }

    [[nodiscard]] backlite::ui::Response ask(std::string target, backlite::ui::Headers more = {}) {
        return dashboard->handle(get(std::move(target), std::move(more)));
    }

    /// The body of a page that must be there.
    [[nodiscard]] std::string page(std::string target) {
        backlite::ui::Response response = ask(target);
        if (response.status != 200) throw std::runtime_error(fmt::format("{}: {}", target, response.status));
        return response.body;
    }

    [[nodiscard]] nlohmann::json json(std::string target) {
        const backlite::ui::Response response = ask(std::move(target), {{"Accept", "application/json"}});
        if (header_of(response, "Content-Type") != "application/json") throw std::runtime_error(response.body);
        return nlohmann::json::parse(response.body);
    }

    [[nodiscard]] backlite::Admin admin() const {
        return backlite::Admin{backlite::ClientConfig{.database = database.config.database, .clock = clock}};
    }

    /// Sends an order as a form, without a token of its own.
    [[nodiscard]] backlite::ui::Response post(std::string body, backlite::ui::Headers more = {},
                                              std::string target = "/act") {
        backlite::ui::Request request = get(std::move(target), std::move(more));
        request.method = "POST";
        request.body = std::move(body);
        if (!backlite::ui::only_header(request.headers, "Content-Type")) {
            request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
        }
        return dashboard->handle(request);
    }

    /// The same with the token that its pages have now.
    [[nodiscard]] backlite::ui::Response order(const std::string& body, backlite::ui::Headers more = {}) {
        return post(body + "&token=" + json("/token")["token"].get<std::string>(), std::move(more));
    }

    void add(const TaskRow& row) { database.add(row); }
    void finish(const FinishedRow& row) { add_finished(database.connection.handle(), row); }

    TestDatabase database{};
    std::shared_ptr<backlite::testing::ManualClock> clock =
        std::make_shared<backlite::testing::ManualClock>(backlite::detail::from_ms(backlite::detail::Ms{now}));
    std::shared_ptr<RecordingLogger> logger = std::make_shared<RecordingLogger>();
    std::unique_ptr<backlite::ui::Dashboard> dashboard{};
};

/// What a page is made of, taken apart as a browser would, as far as our pages go.
struct Markup {
    std::map<std::string, std::size_t> elements{};  ///< tags by name
    std::set<std::string> attributes{};             ///< "element attribute"
    std::vector<std::string> links{};               ///< values of href, src and action
    std::string text{};                             ///< character data, references decoded
    std::string fault{};                            ///< why it is not well formed; empty: it is
};

[[nodiscard]] inline std::string without_references(std::string_view text) {
    std::string plain;
    while (!text.empty()) {
        if (text.front() == '&') {
            bool known = false;
            for (const auto& [name, c] : {std::pair<std::string_view, char>{"&amp;", '&'},
                                          {"&lt;", '<'},
                                          {"&gt;", '>'},
                                          {"&quot;", '"'},
                                          {"&#39;", '\''}}) {
                if (!text.starts_with(name)) continue;
                plain += c;
                text.remove_prefix(name.size());
                known = true;
                break;
            }
            if (known) continue;
        }
        plain += text.front();
        text.remove_prefix(1);
    }
    return plain;
}

[[nodiscard]] inline Markup parse_markup(std::string_view html) {
    Markup markup;
    std::vector<std::string> open;
    const std::set<std::string> empty_elements{"meta", "link", "input", "br", "wbr"};
    const auto name_char = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (!html.starts_with("<!DOCTYPE html>")) markup.fault = "no doctype";
    html.remove_prefix(std::min(html.size(), std::size_t{15}));
    while (!html.empty() && markup.fault.empty()) {
        const std::size_t next = html.find('<');
        markup.text += without_references(html.substr(0, next));
        if (next == std::string_view::npos) break;
        html.remove_prefix(next + 1);
        const bool closes = html.starts_with('/');
        if (closes) html.remove_prefix(1);
        std::string name;
        while (!html.empty() && name_char(html.front())) {
            name += html.front();
            html.remove_prefix(1);
        }
        if (name.empty()) {
            markup.fault = "a < that begins no element";
            break;
        }
        bool self_closed = false;
        while (!html.empty() && html.front() != '>') {
            if (html.front() == ' ' || html.front() == '/') {
                self_closed = html.front() == '/';
                html.remove_prefix(1);
                continue;
            }
            std::string attribute;
            while (!html.empty() && name_char(html.front())) {
                attribute += html.front();
                html.remove_prefix(1);
            }
            if (attribute.empty()) {
                markup.fault = "in <" + name + ">: " + std::string{html.substr(0, 20)};
                return markup;
            }
            markup.attributes.insert(name + ' ' + attribute);
            if (!html.starts_with('=')) continue;
            if (!html.starts_with("=\"")) {
                markup.fault = "unquoted " + attribute;
                return markup;
            }
            html.remove_prefix(2);
            const std::size_t end = html.find('"');
            if (end == std::string_view::npos) {
                markup.fault = "open " + attribute;
                return markup;
            }
            const std::string value = without_references(html.substr(0, end));
            if (attribute == "href" || attribute == "src" || attribute == "action") markup.links.push_back(value);
            html.remove_prefix(end + 1);
        }
        if (html.empty()) {
            markup.fault = "open <" + name;
            break;
        }
        html.remove_prefix(1);
        if (closes) {
            if (open.empty() || open.back() != name) {
                markup.fault = "</" + name + "> in <" + (open.empty() ? "" : open.back()) + ">";
                break;
            }
            open.pop_back();
            continue;
        }
        ++markup.elements[name];
        if (!self_closed && !empty_elements.contains(name)) open.push_back(name);
    }
    if (markup.fault.empty() && !open.empty()) markup.fault = "open <" + open.back() + ">";
    return markup;
}

}  // namespace backlite_test
