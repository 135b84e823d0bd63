// SPDX-License-Identifier: MIT
#pragma once
// The first page: whether all is well, which queue falls behind, and who works.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/act_forms.hpp>
#include <backlite/ui/history.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/models.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

namespace detail {

struct Totals {
    Count waiting{}, scheduled{}, retrying{}, claimed{}, failed{}, finished{};
    std::optional<std::uint64_t> running = 0;
    std::optional<Ms> oldest_due{}, next_due{};
    std::string_view oldest_queue{};
};

[[nodiscard]] Totals totals_of(const Overview& overview);

inline void put_tile(Html& html, const Link& link, std::string_view name, std::string_view number, const Html& note,
                     std::string_view tone) {
    html.put(R"(<a class="tile {}" href="{}"><span>{}</span><b>{}</b><small>{}</small></a>)", tone, link, name, number,
             note);
}

/// A task that has been due for longer is worth a second look.
[[nodiscard]] inline bool is_late(const View& view, const std::optional<Ms>& due) {
    return due && span_between(*due, view.now) > std::chrono::minutes{1};
}

/// What is behind the tile of what waits: for how long, since when, and where.
[[nodiscard]] Html oldest_note(const View& view, const Overview& overview, const Totals& totals);

void put_tiles(Html& html, const View& view, const Overview& overview, const NamedPeriod& period);

void sort_queues(std::vector<const QueueSummary*>& queues, std::string_view key);

/// How many tasks run, and how many more are claimed.
[[nodiscard]] std::string claimed_text(const QueueSummary& queue);

/// `most_bytes`: no queue is shown once the page is that large, of which the charts may be half.
void put_queues(Html& html, const View& view, const Overview& overview, const NamedPeriod& period,
                std::size_t most_bytes);

void put_processes(Html& html, const View& view, const Overview& overview);

/// All of the page but what is said of the file itself.
[[nodiscard]] Html overview_body(const View& view, const Overview& overview, const NamedPeriod& period);

/// Whether there is nothing to say about the one queue of this overview.
[[nodiscard]] bool is_unknown(const Overview& overview);

}  // namespace detail

/// REQUIRES: `period_of(view)` is there.
[[nodiscard]] Html overview_page(const View& view, const Overview& overview);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/overview_page.ipp>
#endif
