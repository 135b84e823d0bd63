// SPDX-License-Identifier: MIT
#pragma once
// AddOp: what `Client::add` returns; says when and where tasks are added, and adds them.

#include <chrono>
#include <cstddef>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/add_target.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/parents.hpp>
#include <backlite/task.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Tasks that are encoded but not added yet. Keeps no reference to the values it was made from.
/// The chain functions may come in any order; of `wait` and `at` the last counts.
/// Threads: one at a time. Must not outlive its client.
class AddOp {
public:
    /// Used by `Client::add`.
    explicit AddOp(detail::AddTarget& target) noexcept : target_(&target) {}
    /// A moved-from AddOp adds nothing.
    AddOp(AddOp&&) noexcept = default;
    /// Drops the tasks that this one has not saved yet.
    AddOp& operator=(AddOp&&) noexcept = default;
    AddOp(const AddOp&) = delete;
    AddOp& operator=(const AddOp&) = delete;
    ~AddOp() = default;

    /// The tasks become due this long after `save`; any unit, rounded up to milliseconds.
    template <class Rep, class Period>
    [[nodiscard]] AddOp& wait(std::chrono::duration<Rep, Period> duration) & {
        at_.reset();
        wait_ = to_duration(duration);
        return *this;
    }
    /// The tasks become due at this time, rounded up to milliseconds; one in the past means at once.
    template <class Unit>
    [[nodiscard]] AddOp& at(std::chrono::time_point<std::chrono::system_clock, Unit> time) & {
        wait_.reset();
        at_ = detail::to_due_ms(time);
        return *this;
    }
    /// The priority of these tasks, -1000 to 1000, in place of their queues' own: of two due tasks the one of the
    /// higher priority starts first, but see ClientConfig::ageing. Retries and snoozes keep it. Errors, at `save`:
    /// ConfigError for another number.
    [[nodiscard]] AddOp& priority(int priority) & {
        priority_ = priority;
        return *this;
    }
    /// The tasks end as expired if they have not started so long after they are due first, in place of their queues'
    /// own QueueConfig::expires_after; any unit, rounded up to milliseconds. Zero: never. Of this and `expires_at` the
    /// last counts.
    template <class Rep, class Period>
    [[nodiscard]] AddOp& expires_after(std::chrono::duration<Rep, Period> duration) & {
        expires_at_.reset();
        expires_after_ = to_duration(duration);
        return *this;
    }
    /// The tasks end as expired if they have not started by this time, rounded up to milliseconds; one in the past
    /// means that they never start.
    template <class Unit>
    [[nodiscard]] AddOp& expires_at(std::chrono::time_point<std::chrono::system_clock, Unit> time) & {
        expires_after_.reset();
        expires_at_ = detail::to_due_ms(time);
        return *this;
    }
    /// The unique key of the one task, in place of its own: at most 1,024 bytes of UTF-8 without NUL. What becomes of a
    /// second task with it says its queue's QueueConfig::unique; of a queue that says nothing the first one is kept.
    /// Errors, at `save`: UsageError for several tasks, or a key that cannot be used.
    [[nodiscard]] AddOp& unique(std::string key) & {
        key_ = std::move(key);
        return *this;
    }
    /// The partition of the tasks, in place of their own: the key that their queue's `limits` count by. At most 1,024
    /// bytes of UTF-8 without NUL; "" is one as well. Errors, at `save`: UsageError for one that cannot be used.
    [[nodiscard]] AddOp& partition(std::string partition) & {
        partition_ = std::move(partition);
        return *this;
    }
    /// Notes a tag of the tasks: at most 1,024 bytes of UTF-8 without NUL. Several calls add up. Processors find them
    /// by Context::tags, people in lists. They stay as long as the task, or its kept row. Errors, at `save`: UsageError
    /// for a tag that cannot be used.
    [[nodiscard]] AddOp& tag(std::string tag) & {
        tags_.push_back(std::move(tag));
        return *this;
    }
    /// Notes what the host knows of the tasks and the task does not say itself, such as a trace that it belongs to.
    /// Names and values are UTF-8, and processors find them by Context::metadata. Of several calls, and of a name given
    /// twice, the last counts. They stay as long as the task, or its kept row.
    /// Errors, at `save`: EncodeError if they are not UTF-8, or take more than `max_payload` bytes of JSON.
    [[nodiscard]] AddOp& metadata(std::map<std::string, std::string> metadata) & {
        metadata_ = std::move(metadata);
        return *this;
    }
    /// Adds inside the transaction that is open on `database`, a connection to the client's own file. The tasks are in
    /// the file when and if that transaction commits, and as durable as its connection makes it; the client's
    /// dispatcher sees the commit by itself.
    /// Errors, at `save`: UsageError if no transaction is open; ConfigError if the file is another; BusyError at once
    /// if the transaction is deferred and cannot become a write transaction; StorageError if the client has stopped
    /// itself or the file needs a newer library by now. The host's own work in it survives an error, unless the message
    /// says that SQLite rolled everything back.
    [[nodiscard]] AddOp& tx(SQLite::Database& database) & {
        database_ = &database;
        return *this;
    }
    /// Adds inside a transaction of the library: a Transaction, or whatever else has a connection as its `database()`.
    template <class Tx>
        requires requires(Tx& transaction, SQLite::Database*& database) { database = &transaction.database(); }
    [[nodiscard]] AddOp& tx(Tx& transaction) & { return tx(transaction.database()); }
    /// The tasks of `add` start only once all of these have ended, whatever queues and clients those are of. If one has
    /// failed, or was cancelled, or has expired, `on_failure` says what becomes of them; an id that is neither
    /// unfinished nor kept has succeeded. Several calls add up; of the same id, the one that cancels counts. An expiry
    /// counts while they wait, too. One that is not added, because another has its unique key, changes nothing of that.
    /// Errors, at `save`: UsageError for an id without text.
    [[nodiscard]] AddOp& after(std::span<const TaskId> ids, OnParentFailure on_failure = OnParentFailure::cancel) & {
        for (const TaskId& id : ids) after_.push_back({id, on_failure});
        return *this;
    }
    /// The same for one task.
    [[nodiscard]] AddOp& after(const TaskId& id, OnParentFailure on_failure = OnParentFailure::cancel) & {
        return after(std::span{&id, 1}, on_failure);
    }
    /// One more task, which starts once those of `add`, or of the `then` before it, have succeeded; it ends as
    /// cancelled if one of them does not. Its id follows theirs in what `save` returns.
    template <class T>
    [[nodiscard]] AddOp& then(const T& task) & {
        static_assert(detail::check_task<T>());
        add_stage();
        push(task);
        return *this;
    }
    /// Gives up waiting for the write, or for room in a queue, and throws Cancelled, once the token fires; a write that
    /// has begun is finished.
    [[nodiscard]] AddOp& stop_token(std::stop_token token) & {
        stop_ = std::move(token);
        return *this;
    }

    /// As above, in a chain that starts with `add`.
    template <class Rep, class Period>
    [[nodiscard]] AddOp&& wait(std::chrono::duration<Rep, Period> duration) && {
        return std::move(wait(duration));
    }
    /// As above, in a chain that starts with `add`.
    template <class Unit>
    [[nodiscard]] AddOp&& at(std::chrono::time_point<std::chrono::system_clock, Unit> time) && {
        return std::move(at(time));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& priority(int priority) && { return std::move(this->priority(priority)); }
    /// As above, in a chain that starts with `add`.
    template <class Rep, class Period>
    [[nodiscard]] AddOp&& expires_after(std::chrono::duration<Rep, Period> duration) && {
        return std::move(expires_after(duration));
    }
    /// As above, in a chain that starts with `add`.
    template <class Unit>
    [[nodiscard]] AddOp&& expires_at(std::chrono::time_point<std::chrono::system_clock, Unit> time) && {
        return std::move(expires_at(time));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& unique(std::string key) && { return std::move(unique(std::move(key))); }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& partition(std::string partition) && {
        return std::move(this->partition(std::move(partition)));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& tag(std::string tag) && { return std::move(this->tag(std::move(tag))); }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& metadata(std::map<std::string, std::string> metadata) && {
        return std::move(this->metadata(std::move(metadata)));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& tx(SQLite::Database& database) && { return std::move(tx(database)); }
    /// As above, in a chain that starts with `add`.
    template <class Tx>
        requires requires(Tx& transaction, SQLite::Database*& database) { database = &transaction.database(); }
    [[nodiscard]] AddOp&& tx(Tx& transaction) && { return std::move(tx(transaction.database())); }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& after(std::span<const TaskId> ids, OnParentFailure on_failure = OnParentFailure::cancel) && {
        return std::move(after(ids, on_failure));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& after(const TaskId& id, OnParentFailure on_failure = OnParentFailure::cancel) && {
        return std::move(after(id, on_failure));
    }
    /// As above, in a chain that starts with `add`.
    template <class T>
    [[nodiscard]] AddOp&& then(const T& task) && {
        return std::move(then(task));
    }
    /// As above, in a chain that starts with `add`.
    [[nodiscard]] AddOp&& stop_token(std::stop_token token) && { return std::move(stop_token(std::move(token))); }

    /// Adds all the tasks or none, once; their ids, in the order in which the tasks were given. Of one that was not
    /// added because another has its unique key, the id of that one.
    /// Without `tx` they are on disk when it returns: safe from the death of the process, and with Durability::full
    /// from a power cut.
    /// Errors: EncodeError if one of the tasks could not be encoded or is larger than `max_payload`; ConfigError for a
    /// time or an expiry that is negative or too far off, or a priority out of its bounds; UsageError for a second
    /// call, for a unique key that cannot be used, and without `tx` on a thread that has a Transaction open on the
    /// file, and for an id without text in `after`; DuplicateError with Conflict::reject; QueueFullError if a bounded
    /// queue has no room, by `tx` also where adds wait for it (Overflow::wait), and for more tasks than its bound;
    /// Cancelled; BusyError after `busy_timeout`; FullError and StorageError, see `added()`; ForkError. Blocks until
    /// the write is committed, with Overflow::wait until there is room: on a worker's thread no longer than its client
    /// runs, then it throws Cancelled.
    std::vector<TaskId> save();

    /// The same, and says what became of each task. What it says of one added by `tx` holds once that is committed.
    std::vector<AddResult> save_results();

    /// Encodes one more task. An error is kept for `save`; then nothing of this call is added.
    template <class T>
    void push(const T& task) noexcept {
        if (error_) return;
        try {
            const QueueConfig& config = detail::queue_config<T>();
            const std::string& queue = config.name;
            std::string payload = detail::encode(task, queue);
            if (payload.size() > target_->max_payload()) {
                throw EncodeError(
                    detail::format("queue \"{}\": a task has {} bytes of JSON, more than ClientConfig::max_payload "
                                   "({})",
                                   {queue, payload.size(), target_->max_payload()}),
                    queue);
            }
            if (const auto why = detail::why_unreadable<T>(payload)) target_->tell_unreadable(queue, *why);
            std::shared_ptr<detail::UniqueAdd> unique;
            if (config.unique.conflict != Conflict::none) {
                unique = rule_of(config);
                unique->key = detail::unique_key(task, payload);
            }
            config_ = &config;
            expires_ = expires_ || config.expires_after != Duration::zero();
            tasks_.push_back({{},
                              queue,
                              std::move(payload),
                              detail::type_name<T>(),
                              config.priority,
                              config.expires_after,
                              {},
                              std::move(unique),
                              {}});
            if (config.max_waiting > 0) {
                tasks_.back().bounded = &config;
                bounded_ = true;
            }
            set_partition(tasks_.back(), config, detail::partition_of(task));
        } catch (...) {
            error_ = std::current_exception();
        }
    }

    /// Used by `Client::schedule`: the one task, encoded. Errors: EncodeError, as `save`.
    [[nodiscard]] detail::NewTask take_task() && {
        if (error_) std::rethrow_exception(error_);
        return std::move(tasks_.front());
    }

    /// Makes room for that many tasks.
    void reserve(std::size_t count) { tasks_.reserve(count); }

private:
    friend class Flow;

    /// Used by `Flow::map`: a flow waits for the tasks. Their keys do not count.
    void join(detail::Parents::Join join);

    struct Times {
        detail::Ms now{};
        std::optional<detail::Ms> wait_until{};
    };

    /// Whatever can fail before the write.
    [[nodiscard]] Times prepare();

    void write(const Times& times);

    [[nodiscard]] std::optional<detail::Ms> due_time(TimePoint now) const;

    /// What becomes of a task with a key, and of its key.
    [[nodiscard]] static std::shared_ptr<detail::UniqueAdd> rule_of(const QueueConfig& config);

    /// Errors: UsageError.
    void set_key();

    /// What is pushed next starts after what was pushed since the last stage.
    void add_stage() noexcept;

    /// Errors: UsageError naming the queue.
    void set_parents();

    /// Errors: ConfigError naming the value and the queue.
    void set_debounce(TimePoint now);

    /// Gives a task a partition, if it has one or its queue's limits ask for it.
    static void set_partition(detail::NewTask& task, const QueueConfig& config, std::string partition);

    /// Errors: UsageError.
    void set_partitions();

    /// Errors: ConfigError naming the value and the queue.
    void set_priority();

    /// Errors: UsageError, EncodeError.
    void set_labels();

    /// Errors: QueueFullError if they are more than their queue ever has room for.
    void check_bounds() const;

    /// `due`: when the tasks are due first, rounded up, unless they are debounced. Errors: ConfigError naming the value
    /// and the queue.
    void set_expiry(detail::Ms due);

    /// The rest of the error matters more than the name: without memory for the name the error goes without it.
    void name_queue(Error& error) const noexcept;

    detail::AddTarget* target_;
    std::vector<detail::NewTask> tasks_{};
    std::exception_ptr error_{};
    std::optional<Duration> wait_{};
    std::optional<detail::Ms> at_{};
    std::optional<int> priority_{};
    std::optional<Duration> expires_after_{};
    std::optional<detail::Ms> expires_at_{};
    bool expires_ = false;  ///< a queue of these tasks has an expiry
    bool bounded_ = false;  ///< a queue of these tasks has a bound
    std::vector<std::string> tags_{};
    std::map<std::string, std::string> metadata_{};
    std::optional<std::string> key_{};
    std::vector<detail::Parents::Parent> after_{};
    std::vector<std::size_t> stages_{};    ///< where each one after the first begins
    const QueueConfig* config_ = nullptr;  ///< of the last task; lives as long as the program
    std::optional<std::string> partition_{};
    SQLite::Database* database_ = nullptr;
    std::stop_token stop_{};
    bool saved_ = false;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/add_op.ipp>
#endif
