// SPDX-License-Identifier: MIT
#pragma once
// Recurrence: when the slots of a schedule are, and which of them run.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/base/times.hpp>
#include <backlite/core/calendar.hpp>
#include <backlite/schedule_rules.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The first of `start + step`, `start + 2 * step` and so on that is after `time`, in whatever unit; nullopt if the
/// type ends before. `step` is above zero.
[[nodiscard]] std::optional<std::int64_t> next_in_steps(std::int64_t start, std::int64_t step,
                                                        std::int64_t time) noexcept;

/// A period that `Every` takes. Errors: ConfigError naming one that is zero, below, or of more than 100 years.
[[nodiscard]] Duration valid_period(Duration period);

/// Which slots of a schedule run that nobody looked at in time.
struct MissedRule {
    Misfire misfire = Misfire::once;
    std::size_t max_missed = 100;  ///< of Misfire::all: if more were missed, the latest so many run
};

/// What a look at a schedule finds.
struct DueSlots {
    std::vector<detail::Ms> run{};     ///< these run now, oldest first
    bool left_out = false;             ///< whether others were missed that do not run
    std::optional<detail::Ms> next{};  ///< the first slot of the future; nullopt: there is none
};

/// When the slots of a schedule are, as it is defined and stored. Constant after construction.
/// Threads: any.
class Recurrence {
public:
    /// A slot is missed if nobody looked at it within that time.
    static constexpr Duration on_time = std::chrono::seconds{1};

    /// A cron expression in a zone, or "@every 900000ms" without one. `begun`: what periods count from.
    /// Errors: ConfigError that names what cannot be read.
    Recurrence(std::string_view spec, std::string_view zone, detail::Ms begun);

    /// The spec of a period.
    [[nodiscard]] static std::string spec_of(Duration period);

    [[nodiscard]] const std::string& spec() const noexcept { return spec_; }
    [[nodiscard]] const std::string& zone() const noexcept { return zone_; }
    [[nodiscard]] detail::Ms begun() const noexcept { return begun_; }

    /// Where periods count from a time that is after `now`: the same by a start that is not. Calendars have none.
    void begin_by(detail::Ms now) noexcept;

    /// The first slot after `time`; nullopt: there is none before times end.
    [[nodiscard]] std::optional<detail::Ms> next(detail::Ms time) const;

    /// What is due at `now`, if `first` is the first slot that nobody has looked at. Costs the same however many were
    /// missed, but for those that run.
    [[nodiscard]] DueSlots due(detail::Ms first, detail::Ms now, const MissedRule& rule) const;

private:
    /// The last slot before `end`. `first` is a slot before it.
    [[nodiscard]] detail::Ms last_before(detail::Ms end, detail::Ms first) const;

    std::string spec_;
    std::string zone_;
    detail::Ms begun_;
    Duration period_{};  ///< zero: by the calendar
    std::shared_ptr<const Calendar> calendar_{};
};

/// What is stored of when a schedule runs.
///
/// The slots before `next` are done with, and none behind it is, but for a gap. A gap before `next` holds slots that
/// were left out because their time seemed to be past: if the clock turns out to have been ahead, they are to come
/// after all. A gap from `next` on holds slots that were seen to while the clock was ahead: they do not run again.
struct SlotPlace {
    std::string spec{};
    std::string zone{};
    detail::Ms begun{};
    std::optional<detail::Ms> next{};       ///< the first slot that nobody has looked at
    std::optional<detail::Ms> gap_from{};   ///< nullopt, as the next: there is no gap
    std::optional<detail::Ms> gap_until{};  ///< its end, which is not of it
    std::optional<detail::Ms> last{};       ///< the last slot that has run

    friend bool operator==(const SlotPlace&, const SlotPlace&) = default;
};

/// What is to be stored when a schedule is defined at `now`. Its place stays while its times do; with other times, and
/// if it is new (`stored` is nullopt), its slots count from `now`: no slot of the past runs.
/// Errors: ConfigError that names what cannot be read.
[[nodiscard]] SlotPlace place_of(const std::optional<SlotPlace>& stored, std::string_view spec, std::string_view zone,
                                 detail::Ms now);

/// The same for a schedule whose pause ends at `now`: slots of the pause do not run.
[[nodiscard]] SlotPlace resumed(const SlotPlace& stored, detail::Ms now);

/// What a look at a schedule finds, and what is to be stored then.
struct SlotLook {
    std::vector<detail::Ms> run{};  ///< these run now, oldest first
    bool left_out = false;          ///< whether others were missed that do not run
    SlotPlace place{};
};

/// What is due at `now`. `longest`: slots so late or later do not run; zero: they may be as late as they want.
/// Errors: ConfigError that names what cannot be read.
[[nodiscard]] SlotLook look(const SlotPlace& stored, detail::Ms now, const MissedRule& rule, Duration longest);

/// What is to be stored of a schedule because the clock had been ahead of `now`; nullopt: nothing else than is.
/// Errors: as above.
[[nodiscard]] std::optional<SlotPlace> reopened(const SlotPlace& stored, detail::Ms now);

/// How much later than its slot a task starts: 0 to `most`, the same in every process for a schedule's name and a slot.
[[nodiscard]] Duration jitter_of(std::string_view name, detail::Ms slot, Duration most) noexcept;

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/recurrence.ipp>
#endif
