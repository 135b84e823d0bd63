// SPDX-License-Identifier: MIT
#pragma once
// What each page asks of a file: one function for each, which answers with a model.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/admin/database_view.hpp>
#include <backlite/admin_values.hpp>
#include <backlite/store/model.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

using store::Count;
using store::Cursor;
using store::Filter;
using store::Found;
using store::Metrics;
using store::Overview;
using store::Period;
using store::Process;
using store::State;
using store::TaskDetail;
using store::TaskLine;
using store::TaskList;

/// Which of the tasks that are not claimed.
enum class Upcoming { all, waiting, scheduled, retrying };

/// Which part of a list, and how much of each task.
struct Extent {
    std::optional<Cursor> after{};   ///< it goes on behind this; nullopt: it begins
    std::size_t limit = 50;          ///< so many tasks
    std::int64_t payload_bytes = 0;  ///< payloads that are no larger are read, and none is shown as more than it is
};

/// Reads one state of a file; the models say which of the claimed tasks run. Payloads and errors are as they are
/// stored: whoever shows them says what may be seen. Threads: those of `queries`, one at a time. Errors: as
/// DatabaseView::read.
class PageReads {
public:
    static constexpr std::int64_t most_counted = 10'000;  ///< of what waits, beside a list of it

    /// `database`: its name, for asking who is alive. `now` is wall-clock UTC.
    /// REQUIRES: `queries` and `database` live as long.
    PageReads(Queries& queries, const std::string& database, detail::Ms now) noexcept
        : queries_(queries), database_(database), now_(now) {}

    /// `queue`: the one that it is of; all if empty. `zone`: of its days, how far it is ahead of UTC.
    [[nodiscard]] Overview overview(Period period, const std::string& queue, std::chrono::minutes zone);

    /// Claimed tasks of one queue, or of all if `queue` is empty.
    [[nodiscard]] TaskList running(const std::string& queue, const Extent& extent);

    [[nodiscard]] TaskList upcoming(const std::string& queue, Upcoming which, const Extent& extent);

    /// REQUIRES: `filter.state` is succeeded or failed.
    [[nodiscard]] TaskList finished(const Filter& filter, const Extent& extent);

    /// Names of queues to choose from.
    [[nodiscard]] std::vector<std::string> queues();

    /// Which parts of the tasks a search looks through.
    struct Parts {
        bool by_id = false;  ///< by the beginning of their id, in both of the others
        bool unfinished = false;
        bool finished = false;
    };

    /// The model's `queues` are names to choose from, its `named` those with the text in them.
    [[nodiscard]] Found search(const Filter& filter, Parts parts, const Extent& extent);

    /// One task, with up to `bound` bytes of its payload and as many of its error; nullopt if there is none.
    [[nodiscard]] std::optional<TaskDetail> task(const std::string& id, std::int64_t bound);

    /// How many tasks these filters of Admin find, up to `most`, and as far as a second goes.
    /// REQUIRES: the file has this library's tables.
    [[nodiscard]] Count count(const std::vector<TaskFilter>& filters, std::uint64_t most);

    [[nodiscard]] Metrics metrics();

    /// The due time of the task that has waited longest; nullopt if none waits.
    [[nodiscard]] std::optional<detail::Ms> oldest_due() { return queries_.queues.oldest_due(now_); }

private:
    /// With what their records say.
    std::vector<Process> processes();

    static std::optional<bool> entered(const TaskLine& line, const std::vector<Process>& processes);

    /// Adds to lines what a list shows beside them.
    void complete(std::vector<TaskLine>& lines, const std::vector<Process>& processes, std::int64_t payload_bytes);

    /// How many tasks were counted as they finished so in the window of a list; nullopt if it has none, or if that is
    /// not known.
    std::optional<Count> happened(const Filter& filter);

    /// Some queues that have `text` in their name, whatever the case of its ASCII letters: of those with unclaimed
    /// tasks, and those that were counted lately.
    std::vector<std::string> queues_named(const std::string& text, const std::vector<std::string>& names);

    Queries& queries_;
    const std::string& database_;
    const detail::Ms now_;
};

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/page_reads.ipp>
#endif
