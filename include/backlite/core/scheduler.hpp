// SPDX-License-Identifier: MIT
#pragma once
// What a started client does next: which outcomes it writes, what it claims and keeps house of, and when it wakes up.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/claim_policy.hpp>
#include <backlite/core/clock_watch.hpp>
#include <backlite/core/pool_load.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/set_apart.hpp>
#include <backlite/core/slot_plans.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/plan.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// What the clocks say at one moment.
struct Moment {
    using Steady = std::chrono::steady_clock;

    Steady::time_point steady{};  ///< by the client's clock: leases, purges
    Steady::time_point real{};    ///< by the machine's: what SQLite refuses waits by it, whatever a test's clock says
    TimePoint wall{};             ///< by the client's clock: what is due

    [[nodiscard]] detail::Ms wall_ms() const { return detail::to_ms(wall); }

    /// When `steady` will be what it is at that time by the machine's clock, or by the wall clock.
    [[nodiscard]] Steady::time_point by_real(Steady::time_point time) const noexcept {
        return saturating_add(steady, std::chrono::ceil<Duration>(time - real));
    }
    [[nodiscard]] Steady::time_point by_wall(detail::Ms time) const {
        const detail::Ms now = wall_ms();
        return time <= now ? steady : saturating_add(steady, time - now);
    }

    [[nodiscard]] static Moment of(const Clock& clock) noexcept {
        return {clock.steady_now(), Steady::now(), clock.now()};
    }
};

/// Decides, and does nothing: it starts no thread, looks at no clock and reads no file. A round is `plan`, one
/// transaction, `claimed`, `written` and `refused`; a transaction that failed changed nothing, and the next round plans
/// anew. Outcomes stay until they are written.
/// Threads: the dispatcher's, but for `Agenda::lower` and `none_due`.
class Scheduler {  // NOLINT(clang-analyzer-optin.performance.Padding): there is one in a client
public:
    using Steady = std::chrono::steady_clock;

    Scheduler(const ClientConfig& config, const QueueRegistry& queues, const detail::SafeLogger& tell)
        : config_(config),
          queues_(queues),
          tell_(tell),
          agenda_(queues),
          claims_(config.num_workers),
          apart_(queues, tell),
          slots_(queues, config.max_payload, tell),
          mending_(queues.size(), Agenda::nothing) {}
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    /// Before the first round.
    void begin(const Moment& now) noexcept;

    [[nodiscard]] Agenda& agenda() noexcept { return agenda_; }
    [[nodiscard]] const Agenda& agenda() const noexcept { return agenda_; }
    [[nodiscard]] SetApart& apart() noexcept { return apart_; }

    /// The wall clock was set, back if negative. A clock that is set back must not leave tasks waiting for a time that
    /// they were due at already; one that is set ahead is not believed: true if the file is to be read anew.
    [[nodiscard]] bool clock_was_set(Duration by, const Moment& now);

    /// Whether the next look at the file is to find `FileState::known`.
    [[nodiscard]] bool doubts_clock() const noexcept { return doubtful_; }

    /// What a look at the file found. REQUIRES: `Agenda::merge` came before that look.
    void found(store::FileState state, const Moment& now);

    /// Adds outcomes: `take(outcomes)` appends them. Errors: those of `take`, which then has changed nothing.
    template <class Take>
    void collect(Take&& take) {
        const std::size_t before = outcomes_.size();
        take(outcomes_);
        measure(before);
    }
    /// Makes room for so many more, so that `give_back` needs no memory. Errors: std::bad_alloc.
    void make_room(std::size_t outcomes) { outcomes_.reserve(outcomes_.size() + outcomes); }
    /// The claim of a task that was not started is to be given back.
    void give_back(detail::ClaimedTask task);
    /// A claimed task has ended without being started. REQUIRES: there is room for it.
    void ended(store::EndedAttempt task) { outcomes_.push_back(std::move(task)); }
    /// Claims waited for a worker for so long that others may have one free: none is claimed ahead for a while.
    void waited_too_long(const Moment& now) noexcept { claims_.suspend(now.wall_ms()); }
    /// Outcomes and tasks whose wait after a refusal is over are tried again; whether the file is to be read anew.
    [[nodiscard]] bool take_up_refused(const Moment& now);

    [[nodiscard]] const std::vector<store::EndedAttempt>& outcomes() const noexcept { return outcomes_; }
    /// When outcomes should be written: at once, unless workers still have more than enough to do.
    [[nodiscard]] static Steady::time_point outcomes_at(const PoolLoad& load) noexcept {
        if (load.finished == 0) return (Steady::time_point::max)();
        return load.low ? load.oldest_finished : load.oldest_finished + linger;
    }
    /// The wall clock may have been set back since the attempts ended: their times are no later than they would be now.
    void hold_to_clock(TimePoint now) noexcept;
    [[nodiscard]] bool refused_before(const store::CyclePlan& plan) const noexcept;

    /// What `plan` needs besides the time. The last two cost something, and are asked for only where they are wanted.
    struct Inputs {
        PoolLoad load{};
        bool stopping = false;  ///< nothing is claimed or purged any more
        std::int64_t owner = 0;
        std::vector<detail::ClaimKey> claims{};  ///< all that are in memory; only if `lease_due`
        std::optional<detail::Ms> expiry{};      ///< when the next kept task expires; only if `purge_due`
    };

    /// Whether the schedules that are due are to be read, and which; `read` takes what is found. Comes before `plan`.
    [[nodiscard]] std::optional<store::DueQuery> schedules_due(const Moment& now);
    void read(store::DueSchedules due, const Moment& now) { slots_.read(std::move(due), now.wall_ms(), now.real); }

    [[nodiscard]] bool lease_due(const Moment& now) const noexcept { return now.steady >= next_lease_; }
    [[nodiscard]] bool purge_due(const Moment& now) const noexcept { return now.steady >= next_purge_; }

    /// What the next transaction does besides writing the outcomes. Without work in it, the times of what was due have
    /// moved on. Errors: std::bad_alloc.
    [[nodiscard]] store::CyclePlan plan(Inputs in, const Moment& now);

    /// The transaction is committed: what it claimed may start. Comes before `written`. Needs no memory.
    void claimed(const store::CyclePlan& plan, store::CycleResult& result) noexcept;

    /// What must not get lost: outcomes are forgotten or kept for another try, due times noted. Whether the file is to
    /// be read anew. Needs no memory. Leases that were lost are the caller's to see to.
    [[nodiscard]] bool written(const store::CyclePlan& plan, store::CycleResult& result, const Moment& now) noexcept;

    /// Comes last: the claims that were refused are left out for a while. Errors: std::bad_alloc; then the next claim
    /// finds them again.
    void refused(const store::CycleResult& result, const Moment& now);

    /// When there is something to do that nobody tells of. `count_at`: when adds are to be counted, by the machine's
    /// clock. `interest`: adds that are due before it end the sleep.
    [[nodiscard]] Steady::time_point wake_time(const PoolLoad& load, bool others_known, Steady::time_point count_at,
                                               const Moment& now, detail::Ms& interest);
    /// The same once the client stops.
    [[nodiscard]] Steady::time_point wake_time_stopping(const PoolLoad& load, bool others_known,
                                                        const Moment& now) const;

    /// Whether no outcome waits to be written.
    [[nodiscard]] bool all_written() const noexcept { return outcomes_.empty() && apart_.outcomes().empty(); }

    /// Tells of each outcome that will not be written.
    void tell_unwritten() const;

private:
    /// How long outcomes may wait while workers have more to do.
    static constexpr Duration linger{2};
    /// How often expired tasks are looked for among those that stay, if there are any.
    static constexpr Duration expired_again{500};

    /// How often what is known of partitions is looked through, at most.
    static constexpr Duration partitions_again{1000};

    [[nodiscard]] Duration lease_interval() const { return (std::max)(config_.release_after / 3, Duration{1}); }

    /// How long the wall clock is watched before tasks are deleted on its word alone.
    [[nodiscard]] Duration watched_before_purge() const {
        return (std::min)(config_.cleanup_interval, Duration{std::chrono::hours{1}});
    }

    void measure(std::size_t from);

    /// Whatever waits is looked through for times that a wrong clock has made.
    void mend_everything(const Moment& now);

    /// When the next piece of what waits is looked through for times that a wrong clock has made. By a clock of before
    /// this library, everything has such times: it is behind, and was not seen to be set.
    [[nodiscard]] Steady::time_point mend_at(detail::Ms wall) const noexcept;

    [[nodiscard]] bool note_mended(store::CycleResult& result, const Moment& now);

    /// When the next purge is: sooner than usual if the clock is still being watched.
    [[nodiscard]] Steady::time_point purge_after(Steady::time_point now) const;

    void note_purge(const store::CycleResult& result, const Moment& now);

    /// When tasks that wait are to be ended because they have expired.
    [[nodiscard]] Steady::time_point expire_at(const Moment& now) const;

    void note_expired(const store::CyclePlan& plan, const store::CycleResult& result, const Moment& now);

    /// When children of tasks that have ended are to be seen to, or parents looked for that are gone.
    [[nodiscard]] Steady::time_point children_at(const Moment& now) const;

    void note_children(const store::CyclePlan& plan, store::CycleResult& result, const Moment& now);

    void note_outcome(store::EndedAttempt& finished, detail::Ms wall);

    /// When to wake up whatever else there is: for leases, and for what was refused.
    [[nodiscard]] Steady::time_point house_time(const PoolLoad& load, bool others_known, const Moment& now) const;

    void tell_of(const store::EndedAttempt& finished, LogLevel level, std::string_view what) const {
        tell_(level, what, {{"id", finished.resolved.id.str()}, {"queue", queues_[finished.queue].config().name}});
    }

    // constant after construction
    const ClientConfig& config_;
    const QueueRegistry& queues_;
    const detail::SafeLogger& tell_;

    Agenda agenda_;
    ClaimPolicy claims_;
    SetApart apart_;
    SlotPlans slots_;
    std::vector<store::EndedAttempt> outcomes_{};  ///< not written yet
    Steady::time_point planned_{};                 ///< when the round that runs was planned
    Steady::time_point next_lease_{};
    Steady::time_point next_purge_{};
    int purge_past_ = 0;                                ///< expired tasks of this purge that may not be deleted
    detail::Ms next_expired_ = store::never;            ///< when the next task expires that waits; may be too early
    detail::Ms expired_from_ = detail::Ms::earliest();  ///< those that have expired before are seen to
    int expired_past_ = 0;                              ///< so many since then may not be ended
    Steady::time_point expire_rest_{};                  ///< none is ended before
    bool stale_keys_ = false;                           ///< see FileState
    std::optional<detail::Ms> ownerless_{};             ///< when the oldest claim without owner was taken
    int lapsed_ = 0;                                    ///< such claims that were given back, and are not told of yet
    bool children_ = false;                             ///< parents have ended whose children are to be seen to
    std::optional<std::string>
        sweep_{};  ///< behind which one parents are looked for that are gone; nullopt: they are not
    Steady::time_point next_sweep_{};
    int sweeps_ = 0;        ///< how many cycles the sweep has taken so far
    Duration jump_back_{};  ///< how far the wall clock was set back, until its effect is undone
    /// By queue: how far what waits was looked through for times that a wrong clock has made; empty: all was.
    std::vector<detail::Ms> mending_;
    bool mend_all_ = false;  ///< there is a sign of a wrong clock: piece after piece, and not one a second
    Steady::time_point next_mend_{};
    detail::Minute latest_mended_ = detail::Minute::earliest();  ///< the latest minute known at that
    ClockTrust trust_{};
    bool doubtful_ = true;  ///< the wall clock is to be compared with the file
    /// When what is known of partitions is looked through.
    Steady::time_point next_partitions_ = (Steady::time_point::max)();
    Steady::time_point last_partitions_{};  ///< when it was
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/scheduler.ipp>
#endif
