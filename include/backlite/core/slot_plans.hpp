// SPDX-License-Identifier: MIT
#pragma once
// SlotPlans: which slots of which schedules a started client runs next.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/safe_logger.hpp>
#include <backlite/base/setback.hpp>
#include <backlite/base/times.hpp>
#include <backlite/core/agenda.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/core/schedule_changes.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/slots.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Any started client runs the slots of all schedules, whether it has registered their queues or not: a slot needs
/// nothing but what is stored. Whose transaction comes first has run it, the others find the row changed.
///
/// A schedule that cannot be read, or whose slot the database refuses, is told once and set apart: it is tried again
/// after a second, and after twice as long each time, at most a minute. Nothing else waits for it.
/// Threads: the dispatcher's.
class SlotPlans {
public:
    using Steady = std::chrono::steady_clock;

    /// How much one look takes up.
    static constexpr std::size_t most_schedules = 500;
    static constexpr std::size_t most_bytes = std::size_t{16} << 20;

    SlotPlans(const QueueRegistry& queues, std::size_t max_payload, const detail::SafeLogger& tell)
        : queues_(queues), max_payload_(max_payload), tell_(tell) {}

    /// What a look at the file found: the first slot that nobody has looked at.
    void found(std::optional<detail::Ms> first) noexcept { next_ = first.value_or(store::never); }

    /// The clock was ahead, or may have been before the start: slots that were left out then may be to come.
    void clock_was_ahead() noexcept { gaps_ = true; }

    /// What was refused is to be written again once its wait is over. Needs no memory.
    void take_up(Steady::time_point real) noexcept;

    /// Whether the due schedules are to be read: `read` takes what `query` asks for.
    [[nodiscard]] bool unread(detail::Ms wall, Steady::time_point real) const noexcept {
        return plans_.empty() && (gaps_wanted() || next_ <= wall || retry_at() <= real);
    }
    [[nodiscard]] store::DueQuery query(detail::Ms wall, Steady::time_point real);

    /// Decides. What is decided stays so until it is written: a slot was looked at in time though the file is busy.
    /// Errors: std::bad_alloc; then the next look finds the same.
    void read(store::DueSchedules due, detail::Ms wall, Steady::time_point real);

    /// What is to be written.
    [[nodiscard]] const std::vector<store::SlotPlan>& plans() const noexcept { return plans_; }

    /// It is, as `results` say. `expiry` falls to the first expiry of what was added. Whether the file is to be read
    /// anew. Needs no memory but for what was refused, which without memory is found again.
    [[nodiscard]] bool written(std::vector<store::SlotResult>& results, Agenda& agenda, detail::Ms& expiry,
                               Steady::time_point real) noexcept;

    /// When there is something to do, by the wall clock and by the machine's.
    [[nodiscard]] detail::Ms next() const noexcept {
        return gaps_wanted() || !plans_.empty() ? detail::Ms::earliest() : next_;
    }
    [[nodiscard]] Steady::time_point retry_at() const noexcept;

    /// A plan without slots, which leaves the times of the row as they are.
    [[nodiscard]] static store::SlotPlan plan_of(store::ScheduleRow row, const ScheduleOptions& options);

    /// When a task of a slot, which is due at `due`, is not to start any more; nullopt: never.
    [[nodiscard]] static std::optional<detail::Ms> expiry_of(const ScheduleOptions& options, detail::Ms slot,
                                                             detail::Ms due) noexcept;

private:
    struct Apart {
        std::string name{};
        detail::Ms next{};
        std::string error{};
        std::optional<store::SlotPlan> plan{};  ///< was refused
        detail::Setback setback{};
        bool tried = false;  ///< again, of which nothing is known yet
    };

    /// Without a schedule there is no gap.
    [[nodiscard]] bool gaps_wanted() const noexcept { return gaps_ && next_ != store::never; }
    [[nodiscard]] store::SlotPlan decide(store::ScheduleRow row, detail::Ms wall);
    [[nodiscard]] static std::optional<store::SlotPlan> decide_gap(store::ScheduleRow row, detail::Ms wall);
    /// Told if it is new, or fails for another reason.
    void keep(const std::string& name, detail::Ms next, std::string_view error, std::optional<store::SlotPlan> plan,
              Steady::time_point now);
    void forget(const std::string& name) noexcept;
    void tell_run(const store::SlotPlan& plan, const store::SlotResult& result) const noexcept;

    const QueueRegistry& queues_;
    const std::size_t max_payload_;
    const detail::SafeLogger& tell_;
    IdGenerator ids_{};
    detail::Ms next_ = store::never;
    bool gaps_ = true;
    std::vector<store::SlotPlan> plans_{};
    std::vector<Apart> apart_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/slot_plans.ipp>
#endif
