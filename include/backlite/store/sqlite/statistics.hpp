// SPDX-License-Identifier: MIT
#pragma once
// SQL that counts what happens to each queue's tasks, by the minute and by the half hour, for a week.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Tasks that are added at `now`.
[[nodiscard]] std::vector<store::Tally> tally(std::span<const detail::NewTask> tasks, detail::Ms now);

/// The tallies of one transaction's outcomes.
class Tallies {
public:
    /// `queues`: how many there are; each is named by its index.
    explicit Tallies(std::size_t queues) : latest_(queues, none) {}

    /// One attempt that is over. `queue`: its index, and its name.
    void count(std::size_t queue, std::string_view name, detail::Ms due, const detail::AttemptResult& outcome);

    [[nodiscard]] const std::vector<store::Tally>& all() const noexcept { return all_; }

private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    // They keep sums of nonsense from overflowing.
    static constexpr Duration longest_waited{std::int64_t{1} << 50};
    static constexpr detail::Us longest_ran{std::int64_t{1} << 50};

    /// The same queue is nearly always asked for in the same minute as before.
    store::Tally& at(std::size_t queue, std::string_view name, detail::Minute minute);

    std::vector<store::Tally> all_{};
    std::vector<std::size_t> latest_;  ///< by queue: the tally that was asked for last
};

/// Half hours are there so that a day or a week is drawn from few rows.
///
/// The minutes also tell how late it has been according to the file, which a clock that is ahead is compared with.
class Statistics {
public:
    static constexpr std::chrono::minutes kept = std::chrono::days{7};
    static constexpr std::int64_t spans[] = {1, 30};  ///< minutes

    /// `swept`: the minute in which old rows were looked for last; nullopt: they are not looked for.
    explicit Statistics(sqlite3* db, std::optional<detail::Minute> swept = detail::Minute{}) noexcept
        : db_{db}, swept_(swept) {}

    /// Adds to what is there, and deletes some of what is older than a week, once a minute. REQUIRES: inside a write
    /// transaction. Errors: StorageError; the caller rolls back.
    void add(std::span<const store::Tally> tallies);

    /// The latest minute in which something happened; nullopt: nothing ever has.
    [[nodiscard]] std::optional<detail::Minute> latest_minute() { return latest_minute(detail::Minute::latest()); }

    /// The latest minute that has come beyond doubt, if a clock says that it is `minute`: the last in the file that is
    /// an hour older. In a file that knows of nothing older it is `minute`.
    [[nodiscard]] detail::Minute known_minute(detail::Minute minute) {
        return latest_minute(minute - std::chrono::hours{1}).value_or(minute);
    }

private:
    [[nodiscard]] std::optional<detail::Minute> latest_minute(detail::Minute until);

    Handle db_;
    std::optional<detail::Minute> swept_;
    // A sum at its end stays there: SQLite would refuse more, and with it all that the transaction writes.
    Statement add_{
        "INSERT INTO main.backlite_stats (span, start, queue, added, started, succeeded, failed, retried, wait_ms, "
        "run_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (span, start, queue) DO UPDATE SET "
        "added = min(added, 9223372036854775807 - ?4) + ?4, "
        "started = min(started, 9223372036854775807 - ?5) + ?5, "
        "succeeded = min(succeeded, 9223372036854775807 - ?6) + ?6, "
        "failed = min(failed, 9223372036854775807 - ?7) + ?7, "
        "retried = min(retried, 9223372036854775807 - ?8) + ?8, "
        "wait_ms = min(wait_ms, 9223372036854775807 - ?9) + ?9, "
        "run_us = min(run_us, 9223372036854775807 - ?10) + ?10"};
    Statement sweep_{
        "DELETE FROM backlite_stats WHERE (span, start, queue) IN (SELECT span, start, queue FROM backlite_stats "
        "WHERE span = ?1 AND start < ?2 ORDER BY span, start, queue LIMIT 1000)"};
    Statement latest_{"SELECT start FROM backlite_stats WHERE span = 1 AND start <= ?1 ORDER BY start DESC LIMIT 1"};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/statistics.ipp>
#endif
