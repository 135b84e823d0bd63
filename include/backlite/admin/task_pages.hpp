// SPDX-License-Identifier: MIT
#pragma once
// What Admin reads of a file: pages of tasks, one task, the queues.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <backlite/admin/database_view.hpp>
#include <backlite/admin_values.hpp>
#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/views/task_facts.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

using store::Cursor;
using store::Filter;
using store::State;

/// Reads one state of a file. Threads: those of `queries`, one at a time. Errors: as DatabaseView::read; ConfigError
/// for values that cannot be asked for.
class TaskPages {
public:
    static constexpr std::size_t most_on_page = 10'000;
    static constexpr std::size_t most_text = 10'000;
    static constexpr std::int64_t most_bytes = 2'147'483'647;  ///< of a value: SQLite has no larger ones

    /// `database`: its name, for asking who is alive. `now` is wall-clock UTC.
    /// REQUIRES: `queries` and `database` live as long.
    TaskPages(Queries& queries, const std::string& database, detail::Ms now) noexcept
        : queries_(queries), database_(database), now_(now) {}

    /// Errors: ConfigError naming a value that no list takes.
    static void check_that(const TaskFilter& filter);
    static void check_that(const Page& page);

    /// By the index that suits the filter: what is due later or now by due time, what runs by claim, what failed by its
    /// end, the rest as it was added, the last first, unfinished tasks before finished ones; by tag or id: by id.
    [[nodiscard]] TaskPage tasks(const TaskFilter& filter, const Page& page);

    /// nullopt: there is none.
    [[nodiscard]] std::optional<TaskDetails> task(const std::string& id);

    [[nodiscard]] std::vector<QueueInfo> queues();

    [[nodiscard]] std::vector<ClientInfo> clients();

private:
    /// Where a list is: which one, and behind what.
    struct Place;

    [[nodiscard]] static Place first_place(const TaskFilter& filter);
    [[nodiscard]] static PageToken token_of(const Place& place);
    [[nodiscard]] static Place place_of(const PageToken& token, const TaskFilter& filter);

    [[nodiscard]] TaskPage by_id(const TaskFilter& filter, const Page& page);

    /// The next lines of the list of `place`.
    [[nodiscard]] store::TaskList next_lines(const TaskFilter& filter, const Place& place, std::size_t limit);

    [[nodiscard]] TaskRow row_of(const store::TaskLine& line, const store::sqlite::TaskFacts& facts) const;

    [[nodiscard]] std::vector<Blocker> reasons(std::int64_t hold) const;

    /// Unknown counts as alive: nobody is to be sent after a fault that may not be one.
    [[nodiscard]] bool any_client_lives();

    /// Why nobody claims tasks of these queues that are due, by name, as far as that stands in rows of the queues.
    /// `names` is sorted.
    [[nodiscard]] std::vector<std::vector<Blocker>> closed(const std::vector<std::string>& names);

    Queries& queries_;
    const std::string& database_;
    const detail::Ms now_;
};

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/task_pages.ipp>
#endif
