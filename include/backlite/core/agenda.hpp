// SPDX-License-Identifier: MIT
#pragma once
// When each registered queue has its next task, as far as this client knows.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Two sources that must not overwrite each other: what the dispatcher read from the file (`heads`), and the adds that
/// this client has committed since (`lower`, from any thread). `merge` moves the second into the first; it comes before
/// each look at the file, so that an add committed after that look is still in the second when the look is over.
/// Threads: `lower` and `none_due` from any; everything else from the dispatcher's.
class Agenda {
public:
    static constexpr detail::Us unmeasured = std::chrono::seconds{10};

    explicit Agenda(const QueueRegistry& queues)
        : queues_(queues), heads_(queues.heads()), lowered_(queues.size(), store::never) {
        for (store::QueueHead& head : heads_) head.cost = unmeasured;
        if (std::any_of(heads_.begin(), heads_.end(), [](const auto& head) { return head.batch > 0; })) {
            gatherings_.resize(heads_.size());
        }
    }
    Agenda(const Agenda&) = delete;
    Agenda& operator=(const Agenda&) = delete;

    /// Tasks of `queue` that are due at `due` are in the file, so many at most. Whether the dispatcher sleeps past
    /// that.
    [[nodiscard]] bool lower(std::string_view queue, detail::Ms due, std::size_t tasks = 1);

    /// An own commit added a task that expires then. Whether the dispatcher is to be woken for it. Threads: any.
    [[nodiscard]] bool lower_expiry(detail::Ms expires_at);

    /// The first expiry: what the dispatcher knows of, or one that was committed since the last call.
    [[nodiscard]] detail::Ms first_expiry(detail::Ms known);

    /// Whether tasks of queues that are not registered were committed since the last call.
    [[nodiscard]] bool stray_added() noexcept { return stray_added_.exchange(false, std::memory_order_relaxed); }

    /// The dispatcher is about to sleep, and wants to be woken for tasks that are due before `interest`. False if there
    /// is one already. `seen`: how many commits of others there were when it last read the file.
    [[nodiscard]] bool doze(detail::Ms interest, std::uint64_t seen);

    /// Whether no task is due at `now`: the dispatcher sleeps because it knew of none, and none was committed since, by
    /// this client or by others, of whose commits there were `foreign` so far. False if that is not known. Threads:
    /// any.
    [[nodiscard]] bool none_due(detail::Ms now, std::uint64_t foreign) {
        const detail::LockGuard lock(mutex_);
        return now < interest_ && now < earliest_lowered_ && seen_ == foreign;
    }

    void merge();

    [[nodiscard]] const std::vector<store::QueueHead>& heads() const noexcept { return heads_; }

    /// What a look at the file found. REQUIRES: `merge` came before that look.
    void set(std::vector<store::QueueHead> heads) { heads_ = std::move(heads); }

    /// Tasks that the crash rules held back are due again once what they waited for has come: nothing runs that has
    /// crashed, or a worker is free. What is known of them is lost in no other way, so nobody has to tell this client.
    void release_held(bool crashed_running, bool worker_free) noexcept;

    /// Whether a task waits for a worker to become free.
    [[nodiscard]] bool worker_wanted() const noexcept {
        return std::any_of(heads_.begin(), heads_.end(),
                           [](const store::QueueHead& head) { return head.worker_due != store::never; });
    }

    /// Claims of this client are about to end: queues in which as many run as may do have room again, perhaps.
    void slots_may_be_free() noexcept {
        for (store::QueueHead& head : heads_) head.full = false;
    }

    /// Whether a queue, or a partition, waits for a time of the wall clock, which may be set.
    [[nodiscard]] bool waits_for_time() const noexcept {
        return next_opening() != store::never ||
               std::any_of(heads_.begin(), heads_.end(),
                           [](const store::QueueHead& head) { return head.opens != detail::Ms::earliest(); });
    }

    /// When the next partition opens; `never`: none is closed.
    [[nodiscard]] detail::Ms next_opening() const noexcept {
        detail::Ms first = store::never;
        for (const store::QueueHead& head : heads_) first = (std::min)(first, head.partition_opens);
        return first;
    }

    /// Whether partitions have limits, or are closed.
    [[nodiscard]] bool has_partitions() const noexcept {
        return std::any_of(heads_.begin(), heads_.end(),
                           [](const store::QueueHead& head) { return head.has_partitions(); });
    }

    /// Whether a queue is left alone.
    void block(std::size_t queue, bool blocked) noexcept { heads_[queue].blocked = blocked; }

    void note(std::size_t queue, detail::Ms due) noexcept { heads_[queue].came(due); }

    /// A task of the queue ran that long: a moving average over about eight.
    void measured(std::size_t queue, detail::Us us) {
        detail::Us& cost = heads_[queue].cost;
        cost = (std::max)(cost == unmeasured ? us : cost + (us - cost) / 8, detail::Us{1});
    }

    /// The queue whose next task is due first; null if no queue has one.
    [[nodiscard]] const store::QueueHead* earliest() const noexcept;

    /// The queue that a claim begins with: of those whose next task is due at `now` the one of the first rank, as far
    /// as that is known; if none is due, the earliest.
    [[nodiscard]] const store::QueueHead* next(detail::Ms now, Duration ageing) const noexcept;

    /// Earlier than any due time: the dispatcher needs no waking.
    static constexpr detail::Ms nothing = detail::Ms::earliest();

private:
    /// Adds to a queue of batches.
    struct Gathering {
        std::int64_t came = 0;     ///< since the last merge
        std::int64_t lacking = 0;  ///< of those, for a full batch, as the dispatcher fell asleep
    };

    /// When tasks that have come can start, as far as is known.
    [[nodiscard]] detail::Ms start_locked(std::size_t queue, detail::Ms due, std::size_t tasks)
        BACKLITE_REQUIRES(mutex_);

    // constant after construction
    const QueueRegistry& queues_;

    // dispatcher thread only
    std::vector<store::QueueHead> heads_;

    std::atomic<bool> stray_added_{false};
    detail::Mutex mutex_{};
    std::vector<detail::Ms> lowered_ BACKLITE_GUARDED_BY(mutex_);
    std::vector<Gathering> gatherings_ BACKLITE_GUARDED_BY(mutex_){};  ///< by queue; empty: none is of batches
    detail::Ms earliest_lowered_ BACKLITE_GUARDED_BY(mutex_) = store::never;
    detail::Ms interest_ BACKLITE_GUARDED_BY(mutex_) = nothing;
    std::uint64_t seen_ BACKLITE_GUARDED_BY(mutex_) = 0;
    detail::Ms lowered_expiry_ BACKLITE_GUARDED_BY(mutex_) = store::never;
    detail::Ms known_expiry_ BACKLITE_GUARDED_BY(mutex_) = store::never;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/agenda.ipp>
#endif
