// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/list_address.hpp>.

#include <backlite/ui/list_address.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::optional<Ms> parse_time(std::string_view text, std::chrono::minutes zone) noexcept {
    using namespace std::chrono;
    const auto digits = [&](std::size_t at, std::size_t count) -> int {
        int value = 0;
        for (std::size_t i = at; i < at + count; ++i) {
            if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
            value = value * 10 + (text[i] - '0');
        }
        return value;
    };
    if (const std::optional<std::int64_t> ms = parse_integer(text)) return Ms{*ms};
    if (text.size() != 10 && text.size() != 16 && text.size() != 19) return std::nullopt;
    const int y = digits(0, 4), m = digits(5, 2), d = digits(8, 2);
    if (y < 0 || m < 0 || d < 0 || text[4] != '-' || text[7] != '-') return std::nullopt;
    const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
    if (!date.ok()) return std::nullopt;
    int h = 0, min = 0, s = 0;
    if (text.size() > 10) {
        h = digits(11, 2);
        min = digits(14, 2);
        if (h < 0 || h > 23 || min < 0 || min > 59 || text[10] != 'T' || text[13] != ':') return std::nullopt;
    }
    if (text.size() > 16) {
        s = digits(17, 2);
        if (s < 0 || s > 59 || text[16] != ':') return std::nullopt;
    }
    return Ms{} + (sys_days{date}.time_since_epoch() + hours{h} + minutes{min} - zone + seconds{s});
}

BACKLITE_DECL bool read_cursor(const Target& target, std::optional<Cursor>& cursor) {
    const std::string_view text = target.get("after");
    if (text.empty()) return true;
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos) return false;
    const std::optional<std::int64_t> key = parse_integer(text.substr(0, dot));
    const std::optional<std::int64_t> row = parse_integer(text.substr(dot + 1));
    if (!key || !row) return false;
    cursor = Cursor{Ms{*key}, *row, std::string{target.get("behind")}};
    return true;
}

BACKLITE_DECL std::optional<Window> window_of(const View& view) noexcept {
    Window window;
    if (const std::string_view at = view.get("ended"); !at.empty()) {
        const std::size_t dot = at.find('.');
        const std::optional<std::int64_t> start = parse_integer(at.substr(0, dot));
        const std::optional<std::int64_t> length =
            dot == std::string_view::npos ? std::nullopt : parse_integer(at.substr(dot + 1));
        constexpr std::int64_t most = std::int64_t{1} << 40;
        if (!start || !length || *start < 0 || *start > most || *length < 1 || *length > most) return std::nullopt;
        const backlite::detail::Minute from{*start};
        window.since = start_of(from);
        window.until = start_of(from + std::chrono::minutes{*length}) - Duration{1};
    }
    for (const bool first : {true, false}) {
        const std::string_view text = view.get(first ? "since" : "until");
        if (text.empty()) continue;
        const std::optional<Ms> time = parse_time(text, view.zone());
        if (!time) return std::nullopt;
        (first ? window.since : window.until) = time;
    }
    return window;
}

BACKLITE_DECL Link same_list(const View& view, Link link) {
    link.param("q", view.get("q")).param("queue", view.get("queue")).param("state", view.get("state"));
    link.param("period", view.get("period")).param("since", view.get("since")).param("until", view.get("until"));
    link.param("ended", view.get("ended"));
    return link.param("zone", view.get("zone")).param("order", view.get("order"));
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
