// SPDX-License-Identifier: MIT
#pragma once
// The current attempt, as its processor sees it.

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/codec.hpp>
#include <backlite/base/guards.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Why an attempt is asked to stop.
enum class StopReason {
    none,        ///< it is not
    timeout,     ///< its queue's timeout has passed
    stopping,    ///< the client stops, and will not wait longer
    claim_lost,  ///< the claim was taken back; whatever the attempt returns changes nothing
    cancelled,   ///< somebody cancelled the task; it ends so, unless it succeeds all the same
};

[[nodiscard]] constexpr std::string_view to_string(StopReason reason) noexcept {
    switch (reason) {
        case StopReason::timeout: return "timeout";
        case StopReason::stopping: return "stopping";
        case StopReason::claim_lost: return "claim lost";
        case StopReason::cancelled: return "cancelled";
        case StopReason::none: break;
    }
    return "none";
}

namespace detail {

/// What runs an attempt, as its Context knows it. Threads: one at a time.
class AttemptRun {
public:
    AttemptRun() = default;
    AttemptRun(const AttemptRun&) = delete;
    AttemptRun& operator=(const AttemptRun&) = delete;

    /// What is to be written if it succeeds now, with a result in JSON, or none; and since when its task was due.
    [[nodiscard]] virtual AttemptResult success(std::string result) const = 0;
    [[nodiscard]] virtual Ms due() const noexcept = 0;

    /// What it says of how far it is. Errors: std::bad_alloc.
    virtual void progress(double fraction, std::string_view message) = 0;

    /// Its end is about to be committed: the claim is neither shown to live nor missed any more. Or it was not
    /// committed.
    virtual void ending(bool begins) noexcept = 0;

    /// It was: whatever the processor still does changes nothing.
    virtual void ended(AttemptResult&& success) noexcept = 0;
    [[nodiscard]] virtual bool over() const noexcept = 0;

    /// The token fires so long from now, with StopReason::timeout, and not at the time that was said before; zero:
    /// it does not.
    virtual void arm(std::chrono::milliseconds timeout) = 0;

protected:
    ~AttemptRun() = default;
};

/// The stop token of one attempt, and why it fired. Only the first reason counts.
/// Threads: any.
class StopSignal {
public:
    /// True if this call was the first. Runs the token's callbacks on this thread: call it without a lock.
    bool fire(StopReason reason) noexcept;

    [[nodiscard]] StopReason reason() const noexcept { return reason_.load(); }
    [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }

    /// A place in a list of those that are to be fired, which so needs no memory. For whoever keeps the list: a signal
    /// is in one at most.
    struct Place {
        std::shared_ptr<StopSignal> next{};
        StopReason reason = StopReason::none;  ///< none: it is in no list
    };
    [[nodiscard]] Place& place() noexcept { return place_; }

private:
    Place place_{};
    std::stop_source source_{};
    std::atomic<StopReason> reason_{StopReason::none};
};

}  // namespace detail

/// One attempt at one task. Lives as long as the processor's call.
/// Threads: its functions may be called from any thread that the processor hands it to.
class Context {
public:
    /// What the library fills in.
    struct Attempt {
        const std::weak_ptr<engine::Engine>& engine;
        const TaskId& task_id;
        const std::string& queue;
        int attempt;
        int max_attempts;
        const detail::StopSignal& stop;
        std::optional<std::chrono::steady_clock::time_point> deadline;
        int priority = 0;
        /// Zero: the task is in no file, and what it saves lives as long as this object.
        std::int64_t claim = 0;
        detail::AttemptRun* run = nullptr;  ///< null: nobody runs it
        std::string_view partition{};
    };

    /// For the library, and for tests of processors.
    explicit Context(Attempt attempt) : attempt_(std::move(attempt)) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    /// A handle on the client that runs the task, for adding more. It works as long as the attempt runs, also after the
    /// client was destroyed inside a task of its own. Its header is <backlite/client_handle.hpp>.
    /// Errors: UsageError in a test of a processor that gives it no client.
    [[nodiscard]] ClientHandle client() const;

    /// What a task of type `T` returned that this one has waited for, by `AddOp::after` or `then`; nullopt if it did
    /// not succeed, is not kept by its queue's retention, or returned nothing. Its header is
    /// <backlite/client_handle.hpp>. Errors: as `client` and ClientHandle::result. Blocks for a short read.
    template <class T>
    [[nodiscard]] auto parent_result(const TaskId& id) const;

    /// The same over all attempts: use it as idempotency key.
    [[nodiscard]] const TaskId& task_id() const noexcept { return attempt_.task_id; }

    /// The name of the task's queue.
    [[nodiscard]] const std::string& queue() const noexcept { return attempt_.queue; }

    /// The number of this attempt, from 1: attempts spent before, plus one. A crash or a snooze spends none.
    [[nodiscard]] int attempt() const noexcept { return attempt_.attempt; }

    /// The task's priority: as it was added with, -1000 to 1000, whatever it has gained since by ageing.
    [[nodiscard]] int priority() const noexcept { return attempt_.priority; }

    /// The task's partition; "" if it was added without one.
    [[nodiscard]] std::string_view partition() const noexcept { return attempt_.partition; }

    /// How many attempts the queue allows.
    [[nodiscard]] int max_attempts() const noexcept { return attempt_.max_attempts; }

    /// Fires at the timeout, at a hard stop, when a stop's deadline has passed, and when the claim is lost.
    /// A `std::stop_callback` on it runs on a thread of the library: keep it short. One that throws ends the process,
    /// by the standard's rule ([stopcallback.cons]).
    [[nodiscard]] std::stop_token stop_token() const noexcept { return attempt_.stop.token(); }

    /// Why the token fired.
    [[nodiscard]] StopReason stop_reason() const noexcept { return attempt_.stop.reason(); }

    /// When the timeout fires the token; nullopt: the queue has none.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept {
        return attempt_.deadline;
    }

    /// Keeps a value with the task until it has finished, over failed attempts, crashes and restarts: what it has done
    /// so far, so that the next attempt goes on there. Of each name the last value counts. A save is progress: the
    /// crashes of the task are counted anew from it. A failed task that is kept with its payload keeps its values too.
    /// `name`: at most 200 bytes of UTF-8 without control characters, and it does not begin with "backlite:".
    /// `V`: convertible to JSON. It may be called when the task is asked to stop.
    /// Errors: ConfigError for such a name, EncodeError for a value that cannot be written or is larger than
    /// `max_payload`, both before anything is written; ClaimLost if the claim was taken back; UsageError on a thread
    /// that has a Transaction open on the file; BusyError, StorageError. Blocks until it is committed.
    template <class V>
    void save(std::string_view name, const V& value) const {
        static_assert(detail::Fieldless<V> || detail::WritableAs<V, detail::JsonOf<V>>,
                      "backlite: this value cannot be written as JSON: give its type a to_json(nlohmann::json&, const "
                      "T&) in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
        check_name("save", name);
        put(name, detail::encode_value(value, [&](const std::string& why) { cannot_encode(name, why); }));
    }

    /// What was saved last under this name, in this attempt or an earlier one; nullopt: nothing.
    /// Errors: ConfigError for a name that cannot be saved; Error naming it if what is there cannot be read as a `V`;
    /// StorageError. Blocks for a short read.
    template <class V>
    [[nodiscard]] std::optional<V> load(std::string_view name) const {
        static_assert(std::default_initializable<V> && std::movable<V> && detail::JsonConvertible<V>,
                      "backlite: this type cannot be read from JSON: it needs a default constructor, a to_json and a "
                      "from_json in its own namespace, or NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
        check_name("load", name);
        const std::optional<std::string> json = find(name);
        if (!json) return std::nullopt;
        std::string why;
        try {
            return detail::decode<V>(*json);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (...) {
            why = detail::current_error();
        }
        cannot_read(name, why);
    }

    /// Says how far the task is, for those who look: `ClientHandle::progress`, Admin, the dashboard. `fraction`: 0
    /// to 1. `message`: UTF-8, of which 500 bytes count. Call it as often as you like: it never waits for the file, and
    /// the last word is written behind the task, once a second at most. What was said in the last second before the
    /// task's end may not be. Errors: UsageError for a fraction that is none, or a message that is not UTF-8;
    /// std::bad_alloc.
    void progress(double fraction, std::string_view message = {}) const;

    /// The tags that the task was added with, sorted. Errors: StorageError. Blocks for a short read, once.
    [[nodiscard]] const std::vector<std::string>& tags() const;

    /// The metadata that the task was added with. What another program has put there counts as far as it is a JSON
    /// object; of values that are no text it is their JSON. Errors: StorageError. Blocks for a short read, once.
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const;

    /// Used by `Flow`: whether the task is in a file, and claimed.
    [[nodiscard]] bool has_claim() const noexcept { return attempt_.claim != 0; }

private:
    friend Transaction;
    friend class Flow;
    friend class engine::FlowState;

    void arm(std::chrono::milliseconds timeout) const {
        if (attempt_.run != nullptr) attempt_.run->arm(timeout);
    }

    /// Errors: ConfigError for a name that no saved value may have.
    void check_name(const char* call, std::string_view name) const;
    void put(std::string_view name, std::string json) const;
    [[nodiscard]] std::optional<std::string> find(std::string_view name) const;
    [[noreturn]] void cannot_encode(std::string_view name, const std::string& why) const;
    [[noreturn]] void throw_claim_lost(const char* call) const;
    [[noreturn]] void cannot_read(std::string_view name, const std::string& why) const;

    struct Labels {
        std::vector<std::string> tags{};
        std::map<std::string, std::string> metadata{};
    };

    /// Reads them once. They do not change afterwards.
    const Labels& labels(const char* call) const;

    Attempt attempt_;
    mutable detail::Mutex mutex_{};
    mutable std::unique_ptr<const Labels> labels_ BACKLITE_GUARDED_BY(mutex_){};  ///< null: not read yet
    /// Without a claim: what was saved.
    mutable std::vector<detail::SavedValue> loose_ BACKLITE_GUARDED_BY(mutex_){};
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/context.ipp>
#endif
