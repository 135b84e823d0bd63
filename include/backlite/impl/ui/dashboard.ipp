// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/dashboard.hpp>.

#include <backlite/platform/file_identity.hpp>
#include <backlite/ui/dashboard.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Dashboard::Dashboard(std::string file, DashboardConfig config)
    : config_(checked(std::move(config))),
      token_(config_.token.empty() ? random_token() : config_.token),
      clock_(config_.clock ? config_.clock : std::make_shared<Clock>()),
      log_(config_.logger),
      file_(std::move(file), config_.open, config_.busy_timeout),
      pages_({config_.page_size, config_.payloads, config_.redact}, log_),
      actions_(config_.actions, config_.audit, clock_, log_) {
    if (file_.name().empty()) throw ConfigError("Dashboard: the file's name is empty");
    if (file_.name().find('\0') != std::string::npos) throw ConfigError("Dashboard: the file's name holds a NUL");
    if (!actions_) return;
    const std::string acted_on = actions_.file();
    if (backlite::platform::resolve(acted_on) != backlite::platform::resolve(file_.name())) {
        throw ConfigError(fmt::format("DashboardConfig::actions is on \"{}\", and the dashboard shows \"{}\"", acted_on,
                                      file_.name()));
    }
}

BACKLITE_DECL Response Dashboard::handle(const Request& request, std::string_view base) noexcept {
    try {
        return finished(request, guarded(request, base));
    } catch (...) {
        Response response;
        response.status = 503;
        return response;
    }
}

BACKLITE_DECL DashboardConfig Dashboard::checked(DashboardConfig config) {
    if (config.page_size < 1 || config.page_size > 200) {
        throw ConfigError(fmt::format("DashboardConfig::page_size is not between 1 and 200: {}", config.page_size));
    }
    if (config.deadline <= Duration::zero()) {
        throw ConfigError(fmt::format("DashboardConfig::deadline is not positive: {} ms", config.deadline.count()));
    }
    if (config.busy_timeout < Duration::zero() || config.busy_timeout > std::chrono::hours{1}) {
        throw ConfigError(fmt::format("DashboardConfig::busy_timeout cannot work: {} ms", config.busy_timeout.count()));
    }
    if (!config.hosts.empty() && !config.authorization.check) {
        throw ConfigError(
            fmt::format("DashboardConfig::hosts names \"{}\" but there is no authorization: whoever reaches "
                        "it by that name could read every task",
                        config.hosts.front()));
    }
    for (std::string& host : config.hosts) host = detail::lower(host);
    check_path("DashboardConfig::link_prefix", config.link_prefix);
    if (!config.token.empty()) {
        std::string as_link;
        append_encoded(as_link, config.token);
        if (config.token.size() < 16 || as_link != config.token) {
            throw ConfigError("DashboardConfig::token is not 16 or more of A-Z a-z 0-9 - . _ ~");
        }
    }
    return config;
}

BACKLITE_DECL DashboardConfig Dashboard::with_clients(const ClientConfig& client, DashboardConfig config) {
    if (!config.logger) config.logger = client.logger;
    if (!config.clock) config.clock = client.clock;
    if (!config.open) config.open = client.open;
    return config;
}

BACKLITE_DECL void Dashboard::check_path(std::string_view what, std::string_view path) {
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

BACKLITE_DECL Response Dashboard::guarded(const Request& request, std::string_view base) {
    const bool orders = request.method == "POST" && actions_;
    if (!orders && request.method != "GET" && request.method != "HEAD") {
        Response response = plain(405, actions_ ? "GET, HEAD and POST are all that is answered.\n"
                                                : "This dashboard only shows: GET and HEAD are all it answers.\n");
        response.headers.emplace_back("Allow", actions_ ? "GET, HEAD, POST" : "GET, HEAD");
        return response;
    }
    const auto [named, path] = split_target(request.target);
    const std::optional<std::string_view> host = only_header(request.headers, "Host");
    if (!host || !host_is_allowed(*host, config_.hosts) || (!named.empty() && !host_is_allowed(named, config_.hosts))) {
        return plain(421,
                     "This dashboard is not known by that name. Names other than localhost are set in "
                     "DashboardConfig::hosts.\n");
    }
    if (request.headers.size() > 200) return plain(431, "Too many headers.\n");
    Call call{request};
    const TargetFault fault = parse_target(path, base, call.target);
    const Access access = access_of(request, *host, call.target);
    if (access == Access::none) return refused(request);
    switch (fault) {
        case TargetFault::too_long: return plain(414, "The address is too long.\n");
        case TargetFault::malformed: return plain(400, "The address cannot be understood.\n");
        case TargetFault::outside: return plain(404, "There is nothing here.\n");
        case TargetFault::none: break;
    }
    call.view.base = config_.link_prefix + std::string{base};
    if (!orders && !authorizes() && same_secret(call.target.get("token"), token_)) return welcome(call, *host);
    call.view.title = config_.title.empty() ? file_.name().substr(file_.name().rfind('/') + 1) : config_.title;
    call.view.asset_tag = asset_tag();
    call.view.now = backlite::detail::to_ms(clock_->now());
    call.view.target = &call.target;
    const std::optional<std::string_view> accept = only_header(request.headers, "Accept");
    call.json = accept && accept->substr(0, json_type.size()) == json_type;
    call.host = *host;
    call.view.schedules = static_cast<bool>(actions_);
    if (actions_ && access == Access::operate) {
        call.who = name_of(request);
        call.view.operates = true;
        call.view.form_token = actions_.form_token(call.who, call.view.now);
        call.view.notice = actions_.signed_text(call.target.get("did"));
    }
    return route(call);
}

BACKLITE_DECL Access Dashboard::access_of(const Request& request, std::string_view host, const Target& target) {
    if (!authorizes()) {
        if (!is_loopback(request.remote_addr)) return Access::none;
        if (brings_token(request, host, target)) return Access::operate;
        return is_health(target) ? Access::read : Access::none;
    }
    try {
        const Access access = (config_.authorization.check)(request);
        return access == Access::operate || access == Access::read ? access : Access::none;
    } catch (const std::exception& error) {
        log_(LogLevel::failure, "dashboard authorization threw", {{"error", error.what()}});
    } catch (...) {
        log_(LogLevel::failure, "dashboard authorization threw");
    }
    return Access::none;
}

BACKLITE_DECL std::string Dashboard::name_of(const Request& request) const {
    std::string name;
    try {
        if (config_.authorization.who) name = (config_.authorization.who)(request);
    } catch (const std::exception& error) {
        log_(LogLevel::failure, "dashboard authorization threw", {{"error", error.what()}});
    } catch (...) {
        log_(LogLevel::failure, "dashboard authorization threw");
    }
    return name.empty() ? request.remote_addr : name;
}

BACKLITE_DECL bool Dashboard::brings_token(const Request& request, std::string_view host, const Target& target) const {
    return same_secret(target.get("token"), token_) || brings_bearer(request) ||
           has_cookie(request.headers, cookie_name(host), token_);
}

BACKLITE_DECL bool Dashboard::brings_bearer(const Request& request) const {
    constexpr std::string_view scheme = "bearer ";
    const std::string_view given = only_header(request.headers, "Authorization").value_or("");
    return same_name(given.substr(0, scheme.size()), scheme) && same_secret(given.substr(scheme.size()), token_);
}

BACKLITE_DECL std::string Dashboard::cookie_name(std::string_view host) {
    const std::size_t port = host.find_last_of(":]");
    return port == std::string_view::npos || host[port] == ']' ? "backlite"
                                                               : fmt::format("backlite-{}", host.substr(port + 1));
}

BACKLITE_DECL Response Dashboard::welcome(const Call& call, std::string_view host) const {
    Response response = plain(200, "The address without the token comes next.\n");
    response.headers.emplace_back("Refresh", "0; url=" + Link(call.view.base, "/").str());
    response.headers.emplace_back("Referrer-Policy", "no-referrer");
    response.headers.emplace_back("Set-Cookie",
                                  fmt::format("{}={}; Path={}; HttpOnly; SameSite=Strict", cookie_name(host), token_,
                                              call.view.base.empty() ? "/" : call.view.base));
    return response;
}

BACKLITE_DECL Response Dashboard::refused(const Request& request) const {
    if (!authorizes() && request.remote_addr.empty()) {
        return plain(403,
                     "Not allowed. Only local requests are answered, and this one has no address: the server must set "
                     "Request::remote_addr.\n");
    }
    if (!authorizes()) {
        return plain(403,
                     "Not allowed. Open the address that the program has printed: it holds a token. Programs on "
                     "this machine send the token as \"Authorization: Bearer TOKEN\".\n");
    }
    if (config_.authorization.challenge.empty()) return plain(403, "Not allowed.\n");
    Response response = plain(401, "Not allowed.\n");
    response.headers.emplace_back("WWW-Authenticate", config_.authorization.challenge);
    return response;
}

BACKLITE_DECL Response Dashboard::finished(const Request& request, Response response) {
    const auto add = [&](const char* name, const char* value) { response.headers.emplace_back(name, value); };
    add("Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    add("X-Content-Type-Options", "nosniff");
    add("X-Frame-Options", "DENY");
    if (!only_header(response.headers, "Referrer-Policy")) add("Referrer-Policy", "same-origin");
    add("Cross-Origin-Resource-Policy", "same-origin");
    add("Cross-Origin-Opener-Policy", "same-origin");
    add("Accept-Ranges", "none");
    if (!only_header(response.headers, "Cache-Control")) add("Cache-Control", "no-store");
    if (request.method == "HEAD") {
        if (response.status != 304)
            response.headers.emplace_back("Content-Length", fmt::to_string(response.body.size()));
        response.body.clear();
    }
    return response;
}

BACKLITE_DECL Response Dashboard::with(int status, std::string_view type, std::string body) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", type);
    response.body = std::move(body);
    return response;
}

BACKLITE_DECL Response Dashboard::route(Call& call) {
    const std::vector<std::string>& path = call.target.path;
    const std::string_view first = path.empty() ? std::string_view{} : std::string_view{path[0]};
    const View& view = call.view;
    const auto task_of = [&](const std::string& id) {
        return live(
            call, [&](admin::PageReads& reads) { return pages_.task(view, reads, id); }, task_page, task_json);
    };
    const auto finished_as = [&](State state) {
        return live(
            call, [&](admin::PageReads& reads) { return pages_.finished(view, reads, state); },
            [&](const View& at, const TaskList& list) { return finished_page(at, list, state); },
            [&](const View& at, const TaskList& list) { return finished_json(at, list, state); });
    };
    const auto page_of = [&](auto read, auto html, auto json) {
        return live(
            call, [&](admin::PageReads& reads) { return (pages_.*read)(view, reads); }, html, json);
    };
    try {
        if (call.request.method == "POST") return ordered(call);
        if (path.empty()) return page_of(&Pages::overview, overview_page, overview_json);
        if (path.size() == 2) {
            if (first == "assets") return asset(call, path[1]);
            const std::string id{Link::read_part(path[1])};
            if (first == "task") return task_of(id);
            if (first == "payload") return payload(call, id);
        }
        if (path.size() != 1) return missing(call);
        if (first == "running") return page_of(&Pages::running, running_page, running_json);
        if (first == "upcoming") return page_of(&Pages::upcoming, upcoming_page, upcoming_json);
        if (first == "succeeded") return finished_as(State::succeeded);
        if (first == "failed") return finished_as(State::failed);
        if (first == "search") return page_of(&Pages::search, search_page, search_json);
        if (first == "health") return health(call);
        if (first == "metrics") return metrics(call);
        if (first == "token" && view.operates) return token_for_programs(call);
        if (first == "schedules" && actions_) {
            return live(
                call,
                [&](admin::PageReads&) {
                    return Sheet<std::vector<ScheduleInfo>>{
                        {200, "Schedules", "Schedules", view.now + std::chrono::seconds{15}}, actions_.schedules()};
                },
                schedules_page, schedules_json);
        }
        return missing(call);
    } catch (const admin::FileError& trouble) {
        return troubled(call, trouble.kind(), trouble.what());
    } catch (const StorageError& error) {
        return troubled(call, admin::reason_of(error), error.what());
    } catch (const std::exception& error) {
        return troubled(call, UnavailableReason::other, error.what());
    } catch (...) {
        return troubled(call, UnavailableReason::other, "an exception of an unknown type");
    }
}

BACKLITE_DECL Response Dashboard::not_modified(std::string_view tag) {
    Response response;
    response.status = 304;
    response.headers.emplace_back("ETag", fmt::format("\"{}\"", tag));
    response.headers.emplace_back("Vary", "Accept");
    return response;
}

BACKLITE_DECL std::string_view Dashboard::current_tag(const Headers& headers, std::string_view version, Ms now) {
    for (const auto& [name, value] : headers) {
        if (!same_name(name, "If-None-Match")) continue;
        std::string_view rest = value;
        for (std::size_t open = 0; (open = rest.find('"')) != std::string_view::npos;) {
            rest.remove_prefix(open + 1);
            const std::size_t close = rest.find('"');
            if (close == std::string_view::npos) break;
            const std::string_view tag = rest.substr(0, close);
            rest.remove_prefix(close + 1);
            const std::size_t dot = tag.rfind('.');
            if (dot == std::string_view::npos || tag.substr(0, dot) != version) continue;
            const std::optional<std::int64_t> until = parse_integer(tag.substr(dot + 1));
            if (until && now < Ms{*until}) return tag;
        }
    }
    return {};
}

BACKLITE_DECL Response Dashboard::respond(const Call& call, const Page& page) {
    Response response = call.json ? with(page.head.status, json_type, page.json.text())
                                  : with(page.head.status, html_type,
                                         whole_page(call.view, page.head.heading, page.head.nav, page.html));
    response.headers.emplace_back("Vary", "Accept");
    return response;
}

BACKLITE_DECL Response Dashboard::message(const Call& call, int status, std::string heading, std::string_view text,
                                          std::string_view advice) {
    Page page;
    page.head.status = status;
    page.head.heading = std::move(heading);
    page.head.fault = text;
    page.head.advice = advice;
    put_fault(call, page);
    if (status == 503 && !call.json) page.html.put(R"(<p><a href="">Try again</a></p>)");
    return respond(call, page);
}

BACKLITE_DECL void Dashboard::put_fault(const Call& call, Page& page) {
    if (call.json) {
        page.json = {{"error", page.head.fault}};
    } else {
        page.html = message_page(page.head.fault, page.head.advice);
    }
}

BACKLITE_DECL Response Dashboard::troubled(const Call& call, UnavailableReason kind, std::string_view what) {
    const std::uint64_t number = ++troubles_;
    log_(LogLevel::warning, "dashboard cannot show the file",
         {{"number", fmt::to_string(number)}, {"error", std::string{what}}});
    const Excuse excuse = excuse_for(kind);
    const std::string note =
        fmt::format("{}{}The log has more under number {}.", excuse.advice, excuse.advice.empty() ? "" : " ", number);
    Response response = message(call, 503, "Not available", excuse.text, note);
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

BACKLITE_DECL Response Dashboard::refused_order(const Call& call, int status, std::string_view heading,
                                                std::string text) {
    log_(LogLevel::warning, "dashboard refused an action",
         {{"why", text}, {"who", call.who}, {"address", call.request.remote_addr}});
    return message(call, status, std::string{heading}, text, "Nothing was changed.");
}

BACKLITE_DECL Response Dashboard::ordered(Call& call) {
    if (call.target.path.size() != 1 || call.target.path[0] != "act") {
        Response response = message(call, 405, "Not here", "Actions are sent to /act.", "");
        response.headers.emplace_back("Allow", "GET, HEAD");
        return response;
    }
    const Request& request = call.request;
    const std::string type = detail::lower(only_header(request.headers, "Content-Type").value_or(""));
    const std::string_view kind = std::string_view{type}.substr(0, type.find(';'));
    const bool form = kind == "application/x-www-form-urlencoded";
    if (kind == json_type) call.json = true;
    if (!call.view.operates) return refused_order(call, 403, "Not allowed", "You may look, and not act.");
    if (!is_from_own_page(request.headers, call.host, config_.hosts)) {
        return refused_order(call, 403, "Not allowed", "This comes from a page that is none of this dashboard.");
    }
    if (request.body.size() > most_body) return refused_order(call, 413, "Too large", "That is too much at once.");
    if (!form && kind != json_type) {
        return refused_order(call, 415, "Not understood", "Actions are forms, or application/json.");
    }
    const std::optional<Fields> fields = form ? form_fields(request.body) : json_fields(request.body);
    if (!fields) return refused_order(call, 400, "Not understood", "The fields cannot be understood.");
    Order order;
    if (const std::string fault = read_order(*fields, order); !fault.empty()) {
        return refused_order(call, 400, "Not understood", fault);
    }
    const bool known =
        actions_.knows(order.token, call.who, call.view.now) || (!authorizes() && brings_bearer(request));
    if (!known) {
        return refused_order(call, 403, "Not allowed",
                             "The page is too old, or is none of this dashboard: load it again.");
    }
    Pages::Wanted wanted;
    View list = call.view;
    list.target = &order.where;
    if (order.all) {
        wanted = pages_.wanted(list, order.list);
        if (!wanted.fault.empty()) return refused_order(call, 400, "Not understood", wanted.fault);
    } else if (!is_of_tasks(order.act)) {
        wanted.words = is_of_queue(order.act) ? std::string{order.where.get("queue")} : order.schedule;
    } else {
        constexpr std::size_t most_named = 20;
        for (std::size_t i = 0; i < order.ids.size() && i < most_named; ++i) {
            wanted.words += fmt::format("{}{}", i == 0 ? "" : ", ", short_name(order.ids[i], 60));
        }
        if (order.ids.size() > most_named) wanted.words += ", …";
    }
    if (!order.needs_confirmation() || order.confirmed) return carry_out(call, order, wanted.filters, wanted.words);
    const Count count =
        order.all ? look(call, [&](admin::PageReads& reads) { return reads.count(wanted.filters, most_counted); })
                  : Count{order.ids.size(), false};
    Page page;
    page.head.heading = "Are you sure?";
    if (call.json) {
        page.json = {{"action", to_string(order.act)}, {"done", false}, {"found", detail::count_json(count)}};
    } else {
        page.html = confirm_page(call.view, order, wanted.words, count);
    }
    return respond(call, page);
}

BACKLITE_DECL Response Dashboard::carry_out(Call& call, const Order& order, const std::vector<TaskFilter>& filters,
                                            const std::string& words) {
    Done done;
    try {
        done = actions_.carry_out(order, filters, words, call.who);
    } catch (const ConfigError& error) {
        return message(call, 400, "Not understood", error.what(), "");
    }
    if (call.json) {
        return with(200, json_type,
                    Json{{"action", to_string(order.act)},
                         {"done", true},
                         {"count", done.affected.count},
                         {"skipped", done.affected.skipped},
                         {"more", done.more}}
                        .text());
    }
    Response response = plain(303, "Done.\n");
    Link next = page_of(call.view, order);
    next.param("did", actions_.with_signature(done_text(done)));
    response.headers.emplace_back("Location", next.str());
    return response;
}

BACKLITE_DECL Response Dashboard::token_for_programs(const Call& call) {
    Json actions = Json::array();
    for (const Act act : all_acts) actions.push_back(to_string(act));
    return with(200, json_type, Json{{"token", call.view.form_token}, {"actions", actions}}.text());
}

BACKLITE_DECL std::string Dashboard::asset_tag() {
    static const std::uint64_t hash =
        backlite::detail::fnv1a(stylesheet) ^ backlite::detail::fnv1a(script) * 3 ^ backlite::detail::fnv1a(icon) * 5;
    return fmt::format("{:016x}", hash);
}

BACKLITE_DECL Response Dashboard::asset(const Call& call, std::string_view name) {
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

BACKLITE_DECL Response Dashboard::payload(Call& call, const std::string& id) {
    constexpr std::int64_t most = std::int64_t{64} * 1'024 * 1'024;
    const Shown shown = look(call, [&](admin::PageReads& reads) { return pages_.payload(reads, id, most); });
    if (shown.how == Shown::How::absent) return message(call, 404, "Not found", "There is no such payload.", "");
    if (shown.how == Shown::How::hidden) return message(call, 403, "Hidden", "This payload is hidden here.", "");
    if (shown.kind != PayloadKind::binary) return with(200, text_type, shown.text);
    Response response = with(200, "application/octet-stream", shown.text);
    response.headers.emplace_back("Content-Disposition", "attachment; filename=\"payload.bin\"");
    return response;
}

BACKLITE_DECL Response Dashboard::health(Call& call) {
    const std::string_view text = call.target.get("max_age");
    const std::optional<std::int64_t> given = text.empty() ? std::int64_t{600} : parse_integer(text);
    if (!given || *given < 0) {
        constexpr std::string_view fault = "max_age must be a number of seconds.";
        if (call.json) return with(400, json_type, Json{{"error", fault}}.text());
        return plain(400, std::string{fault} + "\n");
    }
    const std::chrono::seconds most{*given};
    const std::optional<Ms> oldest = look(
        call, [](admin::PageReads& reads) { return reads.oldest_due(); }, admin::DatabaseView::For::monitors);
    const auto age = std::chrono::duration_cast<Duration>(oldest ? span_between(*oldest, call.view.now) : Us::zero());
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(age);
    const bool well = whole <= most;
    if (call.json) {
        return with(well ? 200 : 503, json_type,
                    Json{{"status", well ? "ok" : "late"}, {"oldest_due_age_ms", age}, {"max_age_s", most}}.text());
    }
    return plain(well ? 200 : 503,
                 fmt::format("{}\noldest due task waits {} s\n", well ? "ok" : "late", whole.count()));
}

BACKLITE_DECL Response Dashboard::metrics(Call& call) {
    const backlite::detail::LockGuard lock(metrics_mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (metrics_.empty() || now - metrics_made_ > std::chrono::seconds{1}) {
        const Metrics found = look(
            call, [](admin::PageReads& reads) { return reads.metrics(); }, admin::DatabaseView::For::monitors);
        metrics_ = metrics_text(found, call.view.now);
        metrics_made_ = now;
    }
    return with(200, "text/plain; version=0.0.4; charset=utf-8", metrics_);
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
