// SPDX-License-Identifier: MIT
#pragma once
// What those who look at a file are shown, as plain values between SQL on one side and HTML, JSON and metrics on the
// other.
// Texts are as the rows hold them, any bytes, cut to a bound.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// A count that stops where going on would cost too much.
struct Count {
    std::uint64_t number = 0;
    bool more = false;  ///< the count is bounded: there are `number` or more

    friend bool operator==(const Count&, const Count&) = default;
};

/// Where a task stands, in the words of the pages.
enum class State { waiting, scheduled, claimed, succeeded, failed };

[[nodiscard]] constexpr std::string_view to_string(State state) noexcept {
    switch (state) {
        case State::waiting: return "waiting";
        case State::scheduled: return "scheduled";
        case State::claimed: return "claimed";
        case State::succeeded: return "succeeded";
        case State::failed: break;
    }
    return "failed";
}

/// A task that a worker is inside of, as its record says.
struct Inside {
    std::uint64_t claim = 0;
    std::uint64_t id_hash = 0;
    std::uint64_t batch = 0;  ///< of a record: above zero, it is of all tasks of this batch, and the others are zero

    friend bool operator==(const Inside&, const Inside&) = default;
};

/// One started client, as it wrote itself down.
struct Process {
    std::int64_t owner = 0;
    unsigned slot = 0;
    std::int64_t workers = 0;
    detail::Ms started_at{};
    std::int64_t version = 0;
    std::optional<bool> alive{};                  ///< nullopt: could not be told
    std::optional<std::vector<Inside>> inside{};  ///< what its workers are inside of; nullopt: could not be told
};

/// Whether a worker is inside of a claimed task: one that is not was fetched only, and waits in its process for a
/// worker, or for its outcome to be written. nullopt if that cannot be told, as of claims of Go programs.
[[nodiscard]] std::optional<bool> is_entered(const std::vector<Process>& processes, std::optional<std::int64_t> owner,
                                             const Inside& task) noexcept;

struct QueueSummary {
    std::string name{};
    Count waiting{};                           ///< due, not claimed
    Count scheduled{};                         ///< due later, retries among them
    Count retrying{};                          ///< scheduled after a failed attempt
    Count claimed{};                           ///< held by a process
    std::optional<std::uint64_t> running = 0;  ///< of those, the ones a worker is inside of; nullopt: not known
    std::optional<detail::Ms> oldest_due{};    ///< of the waiting
    std::optional<detail::Ms> next_due{};      ///< of the scheduled
    // Of the period; see Overview::counted:
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;
    std::uint64_t attempts = 0;   ///< that ended
    detail::Us total_duration{};  ///< of the attempts
    std::uint64_t added = 0;      ///< only from the statistics
};

/// What happened in a stretch of time.
struct Counted {
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;    ///< for good
    std::uint64_t attempts = 0;  ///< that ended
    detail::Us duration{};       ///< of the attempts
    // Only from the statistics:
    std::uint64_t added = 0;
    std::uint64_t retried = 0;  ///< failed attempts that another follows
    std::uint64_t started = 0;  ///< attempts
    Duration wait{};            ///< from due to start, of those started

    Counted& operator+=(const Counted& other) noexcept;
};

/// One step of a chart's time.
struct Bucket : Counted {
    detail::Us max_duration{};  ///< of one attempt; 0 if that is not known
    std::uint64_t due = 0;      ///< of the tasks still to come; bucket 0 begins now
    std::uint64_t backlog = 0;  ///< unfinished tasks at its end; only where Overview::counted
};

/// One day by somebody's clock.
struct Day {
    detail::Ms from{};
    detail::Ms counted_from{};  ///< later than `from`: what happened before was not counted, or not looked at
    Counted counted{};
};

/// What an overview covers: `length` of finished tasks, and as much of tasks to come, each in `steps` buckets.
struct Period {
    Duration length = std::chrono::hours{1};
    std::size_t steps = 60;
};

struct Overview {
    std::vector<QueueSummary> queues{};
    bool newer_file = false;   ///< a newer library made the file: it may hold what is not understood
    bool of_one = false;       ///< of one queue, which is the only one in `queues`; all numbers are its own
    bool more_queues = false;  ///< there are queues that are not in `queues`
    std::vector<Process> processes{};
    bool knows_processes = false;  ///< false for files of Go programs
    Duration step{};               ///< width of a bucket
    detail::Ms from{};             ///< start of the first bucket of finished tasks
    std::vector<Bucket> buckets{};
    /// From the statistics, of all tasks; else from the finished tasks that are kept, each for one attempt.
    bool counted = false;
    detail::Ms counted_from{};                ///< where the statistics begin
    detail::Ms covered_from{};                ///< what finished before this was not looked at, or not counted
    bool finished_cut = false;                ///< more may have finished in the period than were counted
    bool due_cut = false;                     ///< more tasks may be to come than were counted
    bool backlog_cut = false;                 ///< more may be unfinished now than were counted
    bool rows_cut = false;                    ///< only the first rows of a file without our indexes were looked at
    std::vector<std::string> paused{};        ///< queues that are paused, by name
    std::vector<Day> days{};                  ///< newest first; none where the statistics are not there
    std::optional<detail::Ms> next_change{};  ///< when time alone changes what is shown
};

/// What is measured of a file.
struct Metrics {
    Overview overview{};
    std::int64_t database_bytes = 0;
    std::optional<std::int64_t> log_bytes{};  ///< of the write-ahead log; nullopt: there is none
    std::string_view sqlite_version{};
};

/// A task in a list. Which fields hold anything depends on its state.
struct TaskLine {
    State state = State::waiting;
    std::string id{};
    bool id_cut = false;  ///< the id is longer than what `id` holds, or NULL: no page can be named by it
    std::string queue{};
    detail::Ms created_at{};
    detail::Ms due{};                         ///< unfinished tasks
    std::optional<detail::Ms> claimed_at{};   ///< claimed
    std::optional<std::int64_t> owner{};      ///< claimed by this library
    std::uint64_t claim = 0;                  ///< claimed by this library
    std::optional<bool> entered{};            ///< claimed: a worker is inside of it; nullopt: not known
    std::optional<detail::Ms> executed_at{};  ///< start of the last attempt
    std::optional<detail::Us> duration{};     ///< finished
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
    std::string error{};      ///< beginning of it
    std::int64_t ending = 0;  ///< failed: the number of a TaskState, of the kinds of failures; 0: not known
    std::int64_t row = 0;
    // Where a list shows it:
    std::optional<std::uint64_t> payload_size{};  ///< nullopt: there is none
    std::string payload{};  ///< its beginning, or what stands around a match; empty if it is large
};

/// Where a task stands, as exactly as it is known.
[[nodiscard]] inline std::string_view state_text(const TaskLine& line) noexcept {
    if (line.state == State::failed && line.ending == 8) return "cancelled";
    if (line.state == State::failed && line.ending == 9) return "expired";
    if (line.state != State::claimed || !line.entered) return to_string(line.state);
    return *line.entered ? "running" : "fetched";
}

/// When the last attempt of a finished task ended; nullopt if that is not known.
[[nodiscard]] inline std::optional<detail::Ms> finished_at(const TaskLine& line) noexcept {
    if (!line.executed_at) return std::nullopt;
    return *line.executed_at + std::chrono::duration_cast<Duration>(line.duration.value_or(detail::Us::zero()));
}

/// Where a list goes on: after the row with these values. Rows are renumbered by VACUUM; a page that is asked for after
/// one may begin a little off.
struct Cursor {
    detail::Ms key{};  ///< the time that the list is sorted by; 0 where it is sorted by row
    std::int64_t row = 0;
    std::string queue{};

    friend bool operator==(const Cursor&, const Cursor&) = default;
};

struct TaskList {
    std::vector<TaskLine> lines{};
    std::optional<Cursor> next{};
    std::uint64_t looked_at = 0;             ///< rows, where a filter had to look at them one by one
    bool gave_up = false;                    ///< the next page goes on looking: this one may be short, or empty
    std::optional<detail::Ms> looked_to{};   ///< the time of the last row that was looked at, if it gave up
    bool by_order = false;                   ///< rows far from their place in the order of time were not looked at
    bool rows_cut = false;                   ///< only the first rows of a file without our indexes were looked at
    std::optional<Count> total{};            ///< of the list, where it is known
    std::optional<std::uint64_t> running{};  ///< of a list of claimed tasks; nullopt: not known
    std::optional<Count> happened{};         ///< how many the statistics counted in the window, kept or not
    bool ids_only = false;                   ///< a text was not looked for in payloads and errors
    std::vector<std::string> queues{};       ///< names to choose from
    bool more_queues = false;                ///< there are queues that were not looked through
    std::optional<detail::Ms> next_change{};
    std::vector<Process> processes{};
};

/// What a search found. Parts that were not looked through are nullopt.
struct Found {
    std::vector<TaskLine> by_id{};
    std::optional<TaskList> unfinished{};
    std::optional<TaskList> finished{};
    std::vector<std::string> queues{};
    std::vector<std::string> named{};  ///< queues with the text in their name
    bool ids_only = false;             ///< payloads and errors were not searched
    std::string fault{};               ///< what in the question could not be understood
};

struct TaskDetail {
    TaskLine line{};
    std::optional<detail::Ms> wait_until{};
    std::optional<detail::Ms> expires_at{};
    std::string error{};
    std::uint64_t error_size = 0;
    bool has_payload = false;
    std::string payload{};  ///< beginning of it
    std::uint64_t payload_size = 0;
    detail::Ms now{};
};

/// What a list is narrowed to. Empty and nullopt: not.
struct Filter {
    std::string queue{};
    std::optional<State> state{};
    std::string text{};  ///< in id, error or payload, ASCII letters of either case
    bool in_payload = true;
    bool in_error = true;
    std::optional<detail::Ms> since{};
    std::optional<detail::Ms> until{};
    std::optional<std::int64_t> ending{};  ///< of failed ones only those: the number of a TaskState
    bool any_order = false;  ///< look through all rows, also where the order of time says that there can be none
};

/// How far counts and looks go. Tests set other bounds, so that they need fewer rows.
struct Bounds {
    std::int64_t counted = 100'000;            ///< unclaimed rows that are counted for a page, of all queues together
    std::int64_t retries = 20'000;             ///< unclaimed rows that are looked at for retries, likewise
    std::int64_t to_come = 200'000;            ///< due times that are put into a chart
    std::int64_t claimed = 100'000;            ///< claimed rows
    std::int64_t held = 100'000;               ///< held rows that are counted, of all queues together
    std::int64_t finished = 200'000;           ///< finished rows that are looked at where there are no statistics
    std::int64_t unindexed = 1'000'000;        ///< rows of a table without this library's indexes
    std::int64_t looked_at = 100'000;          ///< rows that a filter passes over for one page
    std::chrono::milliseconds look_time{100};  ///< how long it does so at most
};

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/model.ipp>
#endif
