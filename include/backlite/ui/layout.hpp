// SPDX-License-Identifier: MIT
#pragma once
// The frame around every page, and the small pieces that pages share: times, counts, states, links.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <backlite/ui/html.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/request.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// What a page is made for.
struct View {
    std::string base{};       ///< in front of each link
    std::string title{};      ///< what is shown: the file's name without its folder, or what the host says
    std::string asset_tag{};  ///< changes with the assets
    Ms now{};                 ///< of this page
    const Target* target = nullptr;
    bool schedules = false;    ///< they have a page
    bool operates = false;     ///< whoever looks may act
    std::string form_token{};  ///< what its forms must bring then
    std::string notice{};      ///< what was just done

    [[nodiscard]] std::string_view get(std::string_view name) const noexcept { return target->get(name); }

    /// By how much the reader's clock is ahead of UTC, as the address says; UTC if it says nothing that can be.
    [[nodiscard]] std::chrono::minutes zone() const noexcept {
        constexpr std::chrono::minutes most = std::chrono::hours{14};
        const std::chrono::minutes zone{parse_integer(get("zone")).value_or(0)};
        return zone >= -most && zone <= most ? zone : zone.zero();
    }
};

/// The time as a person reads it, with the exact one behind it. The script turns it to the reader's zone and keeps it
/// up to date.
[[nodiscard]] Html ago(const View& view, Ms time);

[[nodiscard]] Html exact_time(Ms time);

/// The time of day, with its date unless it was within the last hours.
[[nodiscard]] Html clock_time(const View& view, Ms time);

[[nodiscard]] Html ago(const View& view, const std::optional<Ms>& time);

[[nodiscard]] inline std::string count_text(const Count& count) {
    return grouped(count.number) + (count.more ? "+" : "");
}

[[nodiscard]] Html badge(const TaskLine& line);

/// `UTC`, or `UTC+05:30`.
[[nodiscard]] std::string zone_text(std::chrono::minutes zone);

/// The span since `time`, as in "longest waits 3 min".
[[nodiscard]] std::string age_text(Ms time, Ms now);

/// Text for one line: what is longer is cut, with a sign.
[[nodiscard]] inline std::string short_text(std::string_view text, std::size_t limit) {
    const std::string_view kept = cut(text.substr(0, text.find('\n')), limit);
    return std::string{kept} + (kept.size() < text.size() ? "…" : "");
}

/// The beginning of a text on one line, whatever blanks and line ends are in it.
[[nodiscard]] std::string short_line(std::string_view text, std::size_t limit);

/// The page that lists tasks of that state.
[[nodiscard]] Link list_of(const View& view, State state);

/// The page about one queue. `period`: the one that its charts cover, if it is not the usual one.
[[nodiscard]] inline Link about_queue(const View& view, std::string_view queue, std::string_view period = {}) {
    return Link(view.base, "/").param("queue", queue).param("period", period);
}

/// A name in which everything can be seen; of a long one the beginning and the end.
[[nodiscard]] std::string short_name(std::string_view name, std::size_t limit);

/// A name that may be broken behind the signs in it, rather than within a word.
[[nodiscard]] Html breakable(std::string_view name);

/// The name of a queue, leading to a page that has to do with it. A name that is too long for a link is shown without.
[[nodiscard]] Html queue_link(std::string_view queue, const Link& link);

/// The name of a queue, leading to those of its tasks that are in that state.
[[nodiscard]] inline Html queue_link(const View& view, std::string_view queue, State state) {
    return queue_link(queue, list_of(view, state).param("queue", queue));
}

/// An id for a column: of a UUID the end, which tells it from others of the same moment.
[[nodiscard]] std::string short_id(std::string_view id);

/// The id of a task, leading to its page.
[[nodiscard]] Html task_link(const View& view, const TaskLine& line);

namespace detail {

void put_nav(Html& html, const View& view, std::string_view current);

}  // namespace detail

/// A whole page. `current`: the entry of the navigation that it belongs to, if any.
[[nodiscard]] std::string whole_page(const View& view, std::string_view heading, std::string_view current,
                                     const Html& content);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/layout.ipp>
#endif
