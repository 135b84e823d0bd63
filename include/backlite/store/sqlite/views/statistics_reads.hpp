// SPDX-License-Identifier: MIT
#pragma once
// The SQL behind charts and days: what the statistics counted, of all queues or of one.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/store/model.hpp>
#include <backlite/store/sqlite/statement.hpp>
#include <backlite/store/sqlite/views/schema_features.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Rows of all queues are looked at up to a bound. Rows of one queue are asked for one by one, so that it does not
/// matter how many other queues there are.
/// Threads: those of its connection, one at a time. Errors: StorageError; SQLITE_INTERRUPT when the time is up.
class StatisticsReads {
public:
    static constexpr std::int64_t most_rows = 20'000;  ///< of all queues
    static constexpr std::size_t most_days = 7;        ///< as long as rows are kept

    /// REQUIRES: `db` lives as long, and `shape` is what it holds.
    StatisticsReads(sqlite3* db, const SchemaFeatures& shape) : db_(db), shape_(shape) {}
    StatisticsReads(const StatisticsReads&) = delete;
    StatisticsReads& operator=(const StatisticsReads&) = delete;

    /// The width of the rows that such a step is drawn from.
    [[nodiscard]] static constexpr std::chrono::minutes span_for(Duration step) noexcept {
        return std::chrono::minutes{step < std::chrono::minutes{30} ? 1 : 30};
    }

    /// When the counting began, of any queue; nullopt if nothing is counted.
    [[nodiscard]] std::optional<detail::Ms> begin(std::chrono::minutes span);

    /// Calls `each(start, queue, counted)` for rows that begin at `from` or later, newest first. `queue`: all if empty.
    /// `last`: of one queue, later rows are not looked for. Returns since when no row is left out.
    template <class Each>
    detail::Ms read(std::chrono::minutes span, detail::Ms from, detail::Ms last, const std::string& queue,
                    Each&& each) {
        if (!queue.empty()) {
            for (detail::Ms at = last - last % span; at >= from; at = at - span) {
                Run run(db_, of_queue_, {span.count(), detail::minute_of(at), queue});
                if (run.step()) each(at, std::string_view{queue}, counted(run));
            }
            return from;
        }
        std::int64_t looked_at = 0;
        detail::Ms covered_from = from;
        for (Run run(db_, of_all_, {span.count(), detail::minute_of(from), most_rows}); run.step();) {
            const detail::Ms at = start_of(detail::Minute{run.integer(0)});
            if (++looked_at == most_rows) covered_from = (std::max)(from, at + span);
            if (at >= from) each(at, run.bytes(8), counted(run));
        }
        return covered_from;
    }

    /// How many tasks were counted as they succeeded, or `failed` for good, from one time to another, whole minutes.
    /// nullopt if nothing was counted then.
    [[nodiscard]] std::optional<Count> finished(detail::Ms since, detail::Ms until, detail::Ms now,
                                                const std::string& queue, bool failed);

    /// The day of `now` and those before it, newest first, as far back as they are counted. `zone`: by how much the
    /// clock that the days go by is ahead of UTC. A half hour belongs to the day in which it begins.
    [[nodiscard]] std::vector<Day> days(detail::Ms now, std::chrono::minutes zone, const std::string& queue);

    /// Adds names of queues that were counted within the last day, as far as they are among the last 2,000 rows.
    void add_names(detail::Ms now, std::set<std::string>& names) {
        if (!shape_.counts) return;
        for (Run run(db_, names_, {detail::minute_of(now) - std::chrono::days{1}}); run.step();)
            names.emplace(run.bytes(0));
    }

private:
    /// When a minute begins. A damaged file may hold any: it is held an hour inside what a time can be.
    static detail::Ms start_of(detail::Minute minute) {
        constexpr detail::Minute last = detail::minute_of(detail::Ms::latest()) - std::chrono::hours{1};
        return detail::start_of((std::clamp)(minute, detail::Minute{}, last));
    }

    static Counted counted(Run& run);

    sqlite3* db_;
    const SchemaFeatures shape_;
    Statement first_{"SELECT start FROM backlite_stats WHERE span = ?1 ORDER BY start LIMIT 1"};
    Statement of_all_{
        "SELECT start, added, started, succeeded, failed, retried, wait_ms, run_us, queue FROM backlite_stats "
        "WHERE span = ?1 AND start >= ?2 ORDER BY start DESC, queue DESC LIMIT ?3"};
    Statement of_queue_{
        "SELECT start, added, started, succeeded, failed, retried, wait_ms, run_us FROM backlite_stats "
        "WHERE span = ?1 AND start = ?2 AND queue = ?3"};
    Statement names_{
        "SELECT DISTINCT queue FROM (SELECT queue FROM backlite_stats WHERE span = 30 AND start >= ?1 "
        "ORDER BY start DESC, queue DESC LIMIT 2000)"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/views/statistics_reads.ipp>
#endif
