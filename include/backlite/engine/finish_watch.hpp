// SPDX-License-Identifier: MIT
#pragma once
// Who waits for tasks to finish, how they are told, and what is remembered of those that are gone.

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/status.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// The calls that wait for a task, and the callbacks, which one thread calls; it is started for the first of them. Who
/// ends tasks tells this after the commit. Of commits that nobody tells of, those of others say that somebody has
/// committed: then whoever waits looks into the file.
/// Threads: any. No user code, logging or SQL under its mutex, which is the last of any order.
class FinishWatch : public std::enable_shared_from_this<FinishWatch> {
public:
    using Steady = std::chrono::steady_clock;
    using Callback = std::function<void(const FinishedTask&)>;
    /// Where a task stands in the file, and its error. Errors: StorageError.
    using LookUp = std::function<FinishedTask(const TaskId&)>;

    /// How many tasks that were not kept are remembered.
    static constexpr std::size_t most = 4'096;
    /// For how long a client that ends still calls the callbacks of tasks that have finished.
    static constexpr Duration end_patience{1'000};

    /// A task that this client has ended.
    struct Ended {
        const TaskId* id = nullptr;
        TaskStatus status{};
        std::string_view error{};
        bool kept = false;  ///< its row says so too
        bool look = false;  ///< the error may be another one, in its row
    };

    FinishWatch(std::shared_ptr<platform::ThreadList> own, LookUp look_up, detail::SafeLogger log)
        : own_(std::move(own)), look_up_(std::move(look_up)), log_(std::move(log)) {}
    FinishWatch(const FinishWatch&) = delete;
    FinishWatch& operator=(const FinishWatch&) = delete;
    ~FinishWatch() = default;

    /// A transaction of this client's that may end tasks, from before its commit until they are told of. While there is
    /// one, nobody says of a task that it is not there.
    /// Threads: one.
    class Commit {
    public:
        explicit Commit(FinishWatch& watch) noexcept;
        Commit(const Commit&) = delete;
        Commit& operator=(const Commit&) = delete;
        ~Commit();

        /// It is committed, and has ended this task. Without memory a callback is called a little later.
        void ended(const Ended& task) noexcept;

        /// The same for tasks that have ended as cancelled; the file says why.
        template <class Tasks>
        void cancelled(const Tasks& tasks) noexcept {
            for (const auto& task : tasks) ended({.id = &task.id, .status = TaskStatus::cancelled, .look = true});
        }

        /// The same for a cycle with these outcomes. REQUIRES: they are not forgotten yet.
        void ended(const std::vector<store::EndedAttempt>& outcomes, const store::CyclePlan& plan,
                   const store::CycleResult& result) noexcept;

    private:
        friend FinishWatch;

        FinishWatch& watch_;
        // guarded by the mutex of the watch
        std::uint64_t number_ = 0;
        Commit* previous_ = nullptr;
        Commit* next_ = nullptr;
    };

    /// A call that waits for one task.
    /// Threads: one.
    class Waiter {
    public:
        /// `id` outlives it. From now on it is told. Errors: UsageError on the dispatcher's thread.
        Waiter(FinishWatch& watch, const TaskId& id, std::stop_token stop);
        Waiter(const Waiter&) = delete;
        Waiter& operator=(const Waiter&) = delete;
        ~Waiter();

        /// How the task has ended, if this client has ended it meanwhile.
        [[nodiscard]] std::optional<TaskStatus> told() const;

        /// Waits until it is told, or the file is to be looked into again. False if `until` or the stop came first.
        [[nodiscard]] bool sleep(Steady::time_point until);

        /// The file does not have the task: what is known of it once the commits that run are over. nullopt: `until` or
        /// the stop came first.
        [[nodiscard]] std::optional<TaskStatus> missing(Steady::time_point until);

    private:
        friend FinishWatch;

        struct Stop {
            Waiter& waiter;
            void operator()() const noexcept;
        };

        FinishWatch& watch_;
        const TaskId& id_;
        std::condition_variable changed_{};
        // guarded by the mutex of the watch
        std::optional<TaskStatus> told_{};
        bool look_ = false;
        bool stopped_ = false;
        Duration pause_{1};  ///< until the next look, where nobody tells of commits
        std::optional<std::stop_callback<Stop>> stop_{};
    };

    /// How a task has ended; nullopt: it had not when `patience` was over, or the stop was asked for. `status`: what
    /// the file says now, may throw.
    [[nodiscard]] std::optional<TaskStatus> wait(const TaskId& id, Duration patience, std::stop_token stop,
                                                 const std::function<TaskStatus()>& status);

    /// Calls it once on the thread of the callbacks: when the task has finished, or at once. Errors: Error if the
    /// system has no thread to give.
    void on_finished(const TaskId& id, Callback callback);

    /// Somebody has committed: tasks may have finished of which nobody tells. Costs nothing if nobody waits.
    void committed() noexcept;

    /// Whether anybody waits.
    [[nodiscard]] bool awaited() const noexcept { return waiting_.load() > 0; }

    /// On the dispatcher's thread: from now on, and until it is over, somebody tells of commits.
    void begin() noexcept;
    void end() noexcept;

    /// Callbacks of tasks that have finished are called, for `end_patience` at most; the one that runs is waited for
    /// without limit, but on its own thread. The others are dropped, and whoever waits looks once more.
    void close() noexcept;

private:
    struct Due {
        FinishedTask task{};
        Callback callback{};
    };

    /// Of a longer id nothing is remembered; only other programs make such.
    struct Remembered {
        std::array<char, 38> text{};
        std::uint8_t size = 0;
        std::uint8_t status = 0;
    };

    void ended_locked(const Ended& task) noexcept BACKLITE_REQUIRES(mutex_);
    void remember_locked(const Ended& task) noexcept BACKLITE_REQUIRES(mutex_);
    [[nodiscard]] TaskStatus recall_locked(std::string_view id) const noexcept BACKLITE_REQUIRES(mutex_);
    void tell_locked(const Ended& task) noexcept BACKLITE_REQUIRES(mutex_);
    void look_all_locked() noexcept BACKLITE_REQUIRES(mutex_);
    /// Whether commits that began before `number` run.
    [[nodiscard]] bool runs_before_locked(std::uint64_t number) const noexcept BACKLITE_REQUIRES(mutex_) {
        return first_ != nullptr && first_->number_ < number;
    }

    /// The callbacks' thread.
    void run();
    /// The lock is held at entry and at exit, not in between.
    void call_one(detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);
    void look(detail::UniqueLock& lock) BACKLITE_REQUIRES(mutex_);
    /// Takes the next that is to be looked for. False if there is none.
    [[nodiscard]] bool next_to_find(std::string& id) BACKLITE_REQUIRES(mutex_);
    void call(const Due& due);

    // constant after construction
    const std::shared_ptr<platform::ThreadList> own_;
    const LookUp look_up_;
    const detail::SafeLogger log_;
    const platform::ForkGuard guard_{};

    std::atomic<std::size_t> waiting_{0};  ///< calls and callbacks; changed under the mutex

    detail::Mutex mutex_{};
    std::condition_variable changed_{};  ///< for the callbacks' thread
    std::condition_variable settled_{};  ///< a commit is over
    std::size_t settling_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::vector<Remembered> ring_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t next_remembered_ BACKLITE_GUARDED_BY(mutex_) = 0;
    Commit* first_ BACKLITE_GUARDED_BY(mutex_) = nullptr;  ///< in the order of their numbers
    Commit* last_ BACKLITE_GUARDED_BY(mutex_) = nullptr;
    std::uint64_t next_number_ BACKLITE_GUARDED_BY(mutex_) = 1;
    std::unordered_multimap<std::string_view, Waiter*> waiters_ BACKLITE_GUARDED_BY(mutex_){};
    std::unordered_multimap<std::string, Callback> callbacks_ BACKLITE_GUARDED_BY(mutex_){};
    std::vector<std::string> to_find_ BACKLITE_GUARDED_BY(mutex_){};
    std::vector<Due> due_ BACKLITE_GUARDED_BY(mutex_){};  ///< those before `next_due_` were called
    std::size_t next_due_ BACKLITE_GUARDED_BY(mutex_) = 0;
    bool find_all_ BACKLITE_GUARDED_BY(mutex_) = false;
    bool failed_ BACKLITE_GUARDED_BY(mutex_) = false;  ///< the last look
    bool told_of_commits_ BACKLITE_GUARDED_BY(mutex_) = false;
    bool closed_ BACKLITE_GUARDED_BY(mutex_) = false;
    Steady::time_point end_ BACKLITE_GUARDED_BY(mutex_){};
    std::thread::id dispatcher_ BACKLITE_GUARDED_BY(mutex_){};
    std::jthread thread_ BACKLITE_GUARDED_BY(mutex_){};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/finish_watch.ipp>
#endif
