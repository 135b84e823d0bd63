// SPDX-License-Identifier: MIT
#pragma once
// Lists of tasks: running, upcoming, succeeded, failed, and what a search found.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/ui/access.hpp>
#include <backlite/ui/act_forms.hpp>
#include <backlite/ui/history.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/list_address.hpp>
#include <backlite/ui/models.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

namespace detail {

inline constexpr std::size_t most_choices = 100;

void put_queue_field(Html& html, const View& view, const std::vector<std::string>& queues);

void put_state_field(Html& html, const View& view, std::initializer_list<std::string_view> states);

/// From and to which time, by the clock that `zone` in the address names. The script puts the reader's there.
void put_window_fields(Html& html, const View& view);

void put_form_end(Html& html, const View& view, const Link& action);

/// What narrows a list of unfinished tasks, as a form that sends itself by GET.
void put_filter(Html& html, const View& view, const Link& action, const std::vector<std::string>& queues, bool states);

enum class Columns { claimed, upcoming, succeeded, failed, found };

void put_head(Html& html, const View& view, std::initializer_list<std::string_view> names);

inline std::string duration_text(const TaskLine& line) { return line.duration ? span_text(*line.duration) : "–"; }

/// Text with each place marked where it is like `part`, whatever the case of ASCII letters.
[[nodiscard]] Html marked(std::string_view text, std::string_view part);

/// The beginning of a payload, or what stands around a match in it; of what is no text, or large, its size. The last
/// error follows.
void put_payload(Html& html, const TaskLine& line, std::string_view part = {});

/// Who runs a task, and whether that still lives; a dead one's tasks are taken back by the next client.
std::string process_text(const TaskLine& line, const std::vector<Process>& processes);

void put_table(Html& html, const View& view, const std::vector<TaskLine>& lines, Columns columns,
               const std::vector<Process>& processes = {});

/// `goes_on`: the script may follow it by itself.
void put_pages(Html& html, const Link& first, const std::optional<Link>& next, bool is_first, bool goes_on,
               std::string_view newest, std::string_view older);

/// How far a look came, and what it left out. `order`: the same list in any order.
void put_looked_at(Html& html, const TaskList& list, std::string_view direction, const Link& order);

}  // namespace detail

[[nodiscard]] Html running_page(const View& view, const TaskList& list);

namespace detail {

/// That the list is empty, and what would put a task there.
void put_nothing_upcoming(Html& html, std::string_view state, std::string_view where);

}  // namespace detail

[[nodiscard]] Html upcoming_page(const View& view, const TaskList& list);

/// How many there are in a list of finished tasks, as far as that is known: those that are kept, and those that were
/// counted as they finished. `window`: what the list is narrowed to, if the address names a period.
void put_sum(Html& html, const View& view, const TaskList& list, std::string_view window, std::string_view verb);

/// `state`: succeeded or failed.
[[nodiscard]] Html finished_page(const View& view, const TaskList& list, State state);

[[nodiscard]] Html search_page(const View& view, const Found& found);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/list_pages.ipp>
#endif
