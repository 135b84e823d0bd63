// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/layout.hpp>.

#include <backlite/ui/layout.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html ago(const View& view, Ms time) {
    Html html;
    html.put(R"(<time datetime="{}" title="{}" data-ago>{}</time>)", iso_text(time), utc_text(time),
             relative_text(time, view.now));
    return html;
}

BACKLITE_DECL Html exact_time(Ms time) {
    Html html;
    html.put(R"(<time datetime="{}" title="{}" data-local>{}</time>)", iso_text(time), utc_text(time), utc_text(time));
    return html;
}

BACKLITE_DECL Html clock_time(const View& view, Ms time) {
    const bool dated = span_between(time, view.now) > std::chrono::hours{20};
    Html html;
    html.put(R"(<time datetime="{}" title="{}" data-clock="{}">{}</time>)", iso_text(time), utc_text(time),
             dated ? "day" : "minute", dated ? utc_text(time).substr(5, 11) : utc_clock(time));
    return html;
}

BACKLITE_DECL Html ago(const View& view, const std::optional<Ms>& time) {
    if (time) return ago(view, *time);
    Html html;
    html.put(R"(<span class="none">–</span>)");
    return html;
}

BACKLITE_DECL Html badge(const TaskLine& line) {
    Html html;
    html.put(R"(<span class="badge {}">{}</span>)", state_text(line), state_text(line));
    return html;
}

BACKLITE_DECL std::string zone_text(std::chrono::minutes zone) {
    if (zone == zone.zero()) return "UTC";
    const std::chrono::hh_mm_ss size{zone};
    return fmt::format("UTC{}{:02}:{:02}", size.is_negative() ? '-' : '+', size.hours().count(),
                       size.minutes().count());
}

BACKLITE_DECL std::string age_text(Ms time, Ms now) {
    const Us age = span_between(time, now);
    const auto whole = std::chrono::floor<std::chrono::seconds>(age < age.zero() ? age.zero() : age);
    return whole == whole.zero() ? "0 s" : span_text(whole);
}

BACKLITE_DECL std::string short_line(std::string_view text, std::size_t limit) {
    std::string line;
    for (const char c : text) {
        const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (blank && (line.empty() || line.back() == ' ')) continue;
        line += blank ? ' ' : c;
        if (line.size() > limit + 4) break;
    }
    return short_text(line, limit);
}

BACKLITE_DECL Link list_of(const View& view, State state) {
    switch (state) {
        case State::claimed: return Link(view.base, "/running");
        case State::succeeded: return Link(view.base, "/succeeded");
        case State::failed: return Link(view.base, "/failed");
        case State::waiting:
        case State::scheduled: break;
    }
    return Link(view.base, "/upcoming");
}

BACKLITE_DECL std::string short_name(std::string_view name, std::size_t limit) {
    if (name.empty()) return "(no name)";
    if (name.size() <= limit) return visible_name(name);
    const std::string_view first = cut(name, limit * 3 / 4);
    std::string_view last = name.substr(name.size() - limit / 4);
    while (!last.empty() && (static_cast<unsigned char>(last.front()) & 0xc0U) == 0x80U) last.remove_prefix(1);
    return visible_name(first) + "…" + visible_name(last);
}

BACKLITE_DECL Html breakable(std::string_view name) {
    Html html;
    while (!name.empty()) {
        const std::size_t sign = name.find_first_of("_-./:");
        const std::size_t size = sign == std::string_view::npos ? name.size() : sign + 1;
        html.text(name.substr(0, size));
        name.remove_prefix(size);
        if (!name.empty()) html.put("<wbr>");
    }
    return html;
}

BACKLITE_DECL Html queue_link(std::string_view queue, const Link& link) {
    Html html;
    const Html shown = breakable(short_name(queue, 60));
    if (queue.size() > 200 || queue.empty()) {
        html.put(R"(<span class="queue">{}</span>)", shown);
        return html;
    }
    if (queue.size() > 60) {
        html.put(R"(<a class="queue" href="{}" title="{}">{}</a>)", link, visible_name(queue), shown);
        return html;
    }
    html.put(R"(<a class="queue" href="{}">{}</a>)", link, shown);
    return html;
}

BACKLITE_DECL std::string short_id(std::string_view id) {
    if (id.empty()) return "(no id)";
    const bool uuid = id.size() == 36 && id.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
    if (uuid) return fmt::format("{}…{}", id.substr(0, 8), id.substr(24));
    return short_name(id, 40);
}

BACKLITE_DECL Html task_link(const View& view, const TaskLine& line) {
    Html html;
    if (line.id_cut || line.id.empty()) {
        html.put("<code>{}</code>", short_id(line.id));
        return html;
    }
    html.put(R"(<a class="id" data-open href="{}"><code>{}</code></a>)", Link(view.base, "/task/").part(line.id),
             short_id(line.id));
    return html;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

BACKLITE_DECL void put_nav(Html& html, const View& view, std::string_view current) {
    const auto item = [&](const Link& link, std::string_view name) {
        if (name == current) {
            html.put(R"(<a href="{}" aria-current="page">{}</a>)", link, name);
        } else {
            html.put(R"(<a href="{}">{}</a>)", link, name);
        }
    };
    html.put(R"(<nav aria-label="Pages">)");
    item(Link(view.base, "/"), "Overview");
    item(Link(view.base, "/running"), "Running");
    item(Link(view.base, "/upcoming"), "Upcoming");
    item(Link(view.base, "/succeeded"), "Succeeded");
    item(Link(view.base, "/failed"), "Failed");
    if (view.schedules) item(Link(view.base, "/schedules"), "Schedules");
    html.put("</nav>");
}

}  // namespace detail
}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string whole_page(const View& view, std::string_view heading, std::string_view current,
                                     const Html& content) {
    Html html;
    html.put(R"(<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{} · {}</title>)", heading,
             view.title);
    html.put(R"(<meta name="viewport" content="width=device-width,initial-scale=1">)"
             R"(<meta name="color-scheme" content="light dark">)");
    // The script sets the chosen theme before the page is drawn; it is kept for ever, so nothing waits for it but once.
    html.put(R"(<script src="{}"></script>)", Link(view.base, "/assets/").part(view.asset_tag + ".js"));
    html.put(R"(<link rel="stylesheet" href="{}"><link rel="icon" href="{}" type="image/svg+xml"></head><body>)",
             Link(view.base, "/assets/").part(view.asset_tag + ".css"),
             Link(view.base, "/assets/").part(view.asset_tag + ".svg"));
    html.put(R"(<a class="skip" href="#main">Skip to content</a><header><div class="bar">)");
    html.put(R"(<a class="brand" href="{}"><b>backlite</b> <span>{}</span></a>)", Link(view.base, "/"),
             short_text(view.title, 40));
    html.put(R"(<form role="search" action="{}"><input type="search" name="q" value="{}" maxlength="200" )"
             R"(placeholder="Search tasks" aria-label="Search tasks" id="q"></form>)",
             Link(view.base, "/search"), cut(view.get("q"), 200));
    html.put(
        R"(<div class="live" id="live" hidden><span id="state" role="status"></span>)"
        R"(<label>Update <select id="rate" aria-label="Update every"><option value="0">paused</option>)"
        R"(<option value="1">1 s</option><option value="2">2 s</option><option value="5">5 s</option>)"
        R"(<option value="30">30 s</option></select></label>)"
        R"(<button id="theme" type="button" aria-label="Light or dark" title="Light or dark">◐</button>)"
        R"(<button id="help" type="button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts: ?">?</button>)"
        R"(</div></div>)");
    detail::put_nav(html, view, current);
    html.put(R"(<p id="lost" role="status" aria-live="polite"></p>)");
    html.put(R"(</header><main id="main" tabindex="-1"><h1>{}</h1>)", heading);
    if (!view.notice.empty()) html.put(R"(<p class="notice" role="status">{}</p>)", view.notice);
    html.put("{}</main>", content);
    html.put(R"(<footer><span>As of {}</span> <span id="zone">Times are UTC.</span> <span>{}</span></footer>)",
             exact_time(view.now), view.operates ? "You may act." : "Read-only view.");
    html.put(
        R"(<dialog id="keys"><h2>Keyboard</h2><dl><dt><kbd>/</kbd></dt><dd>search</dd><dt><kbd>j</kbd> <kbd>k</kbd></dt>)"
        R"(<dd>next, previous task</dd><dt><kbd>Enter</kbd></dt><dd>open it</dd><dt><kbd>n</kbd> <kbd>b</kbd></dt>)"
        R"(<dd>next page, back</dd><dt><kbd>p</kbd></dt><dd>pause updates</dd><dt><kbd>r</kbd></dt><dd>update now</dd>)"
        R"(<dt><kbd>o</kbd> <kbd>w</kbd> <kbd>u</kbd> <kbd>s</kbd> <kbd>f</kbd></dt>)"
        R"(<dd>the pages above</dd><dt><kbd>?</kbd></dt><dd>this list</dd></dl>)"
        R"(<form method="dialog"><button>Close</button></form></dialog></body></html>)");
    return std::move(html).take();
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
