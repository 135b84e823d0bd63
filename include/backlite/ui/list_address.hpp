// SPDX-License-Identifier: MIT
#pragma once
// The address of a list of tasks: what narrows it, and where it goes on.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include <backlite/ui/layout.hpp>
#include <backlite/ui/models.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// `2026-03-01`, `2026-03-01T08:15` or `2026-03-01T08:15:30`, as forms send it, by a clock that is `zone` ahead of UTC;
/// or milliseconds since the epoch.
[[nodiscard]] std::optional<Ms> parse_time(std::string_view text, std::chrono::minutes zone = {}) noexcept;

/// The cursor in an address: `after`, with the queue beside it in `behind`. nullopt in `cursor` if there is none.
/// False if there is one that is none of ours.
[[nodiscard]] bool read_cursor(const Target& target, std::optional<Cursor>& cursor);

inline Link& add_cursor(Link& link, const Cursor& cursor) {
    return link.param("after", fmt::format("{}.{}", cursor.key.count(), cursor.row))
        .param("behind", cut(cursor.queue, 500));
}

/// From and to which time a list goes, both ends in it.
struct Window {
    std::optional<Ms> since{};
    std::optional<Ms> until{};
};

/// The window that the address names: by `since` and `until`, see parse_time, or by `ended`, which bars of charts use:
/// a minute since the epoch, a dot, and how many minutes. nullopt if it cannot be understood.
[[nodiscard]] std::optional<Window> window_of(const View& view) noexcept;

/// A list's address with all that narrows it, at its beginning.
[[nodiscard]] Link same_list(const View& view, Link link);

/// The address where that list goes on.
[[nodiscard]] inline Link next_page(const Link& list, const Cursor& next) {
    Link link = list;
    return add_cursor(link, next);
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/list_address.ipp>
#endif
