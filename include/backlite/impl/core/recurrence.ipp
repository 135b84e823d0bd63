// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/recurrence.hpp>.

#include <algorithm>
#include <charconv>
#include <cstdint>

#include <backlite/base/format.hpp>
#include <backlite/base/hash.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/platform/random.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL std::optional<std::int64_t> next_in_steps(std::int64_t start, std::int64_t step,
                                                        std::int64_t time) noexcept {
    if (time < start) return start > detail::most_number - step ? std::nullopt : std::optional{start + step};
    // From the one end of the type to the other it is more than a signed number holds.
    const std::uint64_t since = static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(start);
    const auto left = step - static_cast<std::int64_t>(since % static_cast<std::uint64_t>(step));
    if (time > detail::most_number - left) return std::nullopt;
    return time + left;
}

BACKLITE_DECL Duration valid_period(Duration period) {
    constexpr Duration longest = std::chrono::hours{24} * 36'525;
    if (period <= Duration::zero()) {
        throw ConfigError(detail::format("a period of {} ms: it must be above zero", {period.count()}));
    }
    if (period > longest) {
        throw ConfigError(detail::format("a period of {} ms: 100 years are the longest", {period.count()}));
    }
    return period;
}

/// The period in "@every 900000ms"; nullopt if this is something else.
BACKLITE_DECL std::optional<Duration> period_in(std::string_view spec) {
    constexpr std::string_view begin = "@every ";
    if (spec.substr(0, begin.size()) != begin) return std::nullopt;
    const std::string_view text = spec.substr(begin.size());
    std::int64_t ms = 0;
    const auto [end, error_code] = std::from_chars(text.data(), text.data() + text.size(), ms);
    if (error_code != std::errc{} ||
        std::string_view(end, static_cast<std::size_t>(text.data() + text.size() - end)) != "ms") {
        throw ConfigError(
            detail::format("\"{}\" is no period: such as \"@every 900000ms\" is one", {detail::shown(spec, 64)}));
    }
    return valid_period(Duration{ms});
}

BACKLITE_DECL std::string Recurrence::spec_of(Duration period) {
    return detail::format("@every {}ms", {valid_period(period).count()});
}

BACKLITE_DECL Recurrence::Recurrence(std::string_view spec, std::string_view zone, detail::Ms begun)
    : spec_(spec), zone_(zone), begun_(begun) {
    if (const auto period = period_in(spec)) {
        period_ = *period;
    } else {
        calendar_ = std::make_shared<const Calendar>(spec, zone);
    }
}

BACKLITE_DECL std::optional<detail::Ms> Recurrence::next(detail::Ms time) const {
    if (period_ != Duration::zero()) {
        const auto found = next_in_steps(begun_.count(), period_.count(), time.count());
        return found ? std::optional{detail::Ms{*found}} : std::nullopt;
    }
    const TimePoint from = detail::from_ms(time);
    const auto found = calendar_->next(std::chrono::floor<std::chrono::seconds>(from));
    // Where TimePoint ends, times do: what is behind it would come back as another one.
    if (!found || *found > std::chrono::floor<std::chrono::seconds>((TimePoint::max)())) return std::nullopt;
    return detail::to_ms(*found);
}

BACKLITE_DECL detail::Ms Recurrence::last_before(detail::Ms end, detail::Ms first) const {
    // The last slot before `end` is the earliest time whose next slot is not before it.
    detail::Ms low = first;
    detail::Ms high = end - Duration{1};
    while (low < high) {
        const detail::Ms middle = low + (high - low) / 2;
        const auto slot = next(middle);
        if (slot && *slot < end) {
            low = *slot;
        } else {
            high = middle;
        }
    }
    return low;
}

BACKLITE_DECL DueSlots Recurrence::due(detail::Ms first, detail::Ms now, const MissedRule& rule) const {
    DueSlots found{.next = first};
    const detail::Ms missed_before = now - on_time;
    if (first < missed_before) {
        std::size_t left = rule.max_missed;
        if (rule.misfire != Misfire::all) left = rule.misfire == Misfire::once ? 1 : 0;
        detail::Ms end = missed_before;
        for (; left > 0 && first < end; --left) {
            end = last_before(end, first);
            found.run.push_back(end);
        }
        std::reverse(found.run.begin(), found.run.end());
        found.left_out = first < end;
        found.next = next(missed_before - Duration{1});
    }
    while (found.next && *found.next <= now) {
        found.run.push_back(*found.next);
        found.next = next(*found.next);
    }
    return found;
}

BACKLITE_DECL void Recurrence::begin_by(detail::Ms now) noexcept {
    if (period_ == Duration::zero() || begun_ <= now) return;
    const Duration ahead = begun_ - now;
    begun_ = begun_ - ahead;
    const Duration over = ahead % period_;
    if (over > Duration::zero()) begun_ = begun_ - (period_ - over);
}

/// A gap of slots that were seen to while the clock was ahead, which `next` has not reached yet.
BACKLITE_DECL bool gap_is_ahead(const SlotPlace& place) noexcept {
    return place.gap_from && place.gap_until && place.next && *place.gap_from >= *place.next;
}

/// `next` becomes that slot, or the first one behind the gap if it is in it. Slots from `from` to `until` were left out
/// before it; the same time twice: none were.
BACKLITE_DECL void move_on(SlotPlace& place, const Recurrence& of, std::optional<detail::Ms> next, detail::Ms from,
                           detail::Ms until) {
    if (gap_is_ahead(place)) {
        const detail::Ms done_from = *place.gap_from;
        const detail::Ms done_until = *place.gap_until;
        if (next && *next < done_from) {  // what is left out now is remembered no more: the gap ahead counts
            place.next = next;
            return;
        }
        if (next && *next < done_until) next = of.next(done_until - Duration{1});
        until = (std::min)(until, done_from);
        place.gap_from.reset();
        place.gap_until.reset();
    }
    place.next = next;
    if (from >= until) return;
    place.gap_from = from;
    place.gap_until = until;
}

BACKLITE_DECL SlotPlace place_of(const std::optional<SlotPlace>& stored, std::string_view spec, std::string_view zone,
                                 detail::Ms now) {
    const Recurrence defined{spec, zone, now};
    if (stored && stored->spec == spec && stored->zone == zone) return *stored;
    SlotPlace place = stored.value_or(SlotPlace{});
    place.spec = defined.spec();
    place.zone = defined.zone();
    place.begun = now;
    const std::optional<detail::Ms> next = defined.next(now);
    const detail::Ms unseen = place.last ? *place.last + Duration{1} : detail::Ms::earliest();
    if (!gap_is_ahead(place)) {
        place.gap_from.reset();
        place.gap_until.reset();
    }
    move_on(place, defined, next, unseen, next.value_or(unseen));
    return place;
}

BACKLITE_DECL SlotPlace resumed(const SlotPlace& stored, detail::Ms now) {
    SlotPlace place = stored;
    const Recurrence of{place.spec, place.zone, place.begun};
    const std::optional<detail::Ms> next = of.next(now);
    if (!place.next || (next && *next <= *place.next)) return place;
    move_on(place, of, next, *place.next, next.value_or(*place.next));
    return place;
}

BACKLITE_DECL SlotLook look(const SlotPlace& stored, detail::Ms now, const MissedRule& rule, Duration longest) {
    SlotLook found{.place = stored};
    if (!stored.next || *stored.next > now) return found;
    const Recurrence of{stored.spec, stored.zone, stored.begun};
    DueSlots due = of.due(*stored.next, now, rule);
    if (gap_is_ahead(stored)) {
        std::erase_if(due.run,
                      [&](detail::Ms slot) noexcept { return slot >= *stored.gap_from && slot < *stored.gap_until; });
    }
    if (longest > Duration::zero()) {
        const auto late = std::erase_if(due.run, [&](detail::Ms slot) noexcept { return now - slot >= longest; });
        due.left_out = due.left_out || late > 0;
    }
    found.left_out = due.left_out;
    const detail::Ms end = due.run.empty() ? due.next.value_or(*stored.next) : due.run.front();
    move_on(found.place, of, due.next, *stored.next, due.left_out ? end : *stored.next);
    found.run = std::move(due.run);
    return found;
}

BACKLITE_DECL std::optional<SlotPlace> reopened(const SlotPlace& stored, detail::Ms now) {
    if (!stored.next || !stored.gap_from || !stored.gap_until || gap_is_ahead(stored)) return std::nullopt;
    Recurrence of{stored.spec, stored.zone, stored.begun};
    of.begin_by(now);
    const auto next = of.next((std::max)(now, *stored.gap_from - Duration{1}));
    if (!next || *next >= *stored.gap_until) return std::nullopt;
    SlotPlace place = stored;
    place.begun = of.begun();
    place.next = next;
    if (*stored.gap_until < *stored.next) {
        place.gap_from = stored.gap_until;
        place.gap_until = stored.next;
    } else {
        place.gap_until = next;
        if (*place.gap_from >= *place.gap_until) place.gap_from = place.gap_until = std::nullopt;
    }
    return place;
}

BACKLITE_DECL Duration jitter_of(std::string_view name, detail::Ms slot, Duration most) noexcept {
    if (most <= Duration::zero()) return Duration::zero();
    const std::uint64_t state = detail::fnv1a(name) + platform::random_step * static_cast<std::uint64_t>(slot.count());
    const std::uint64_t choices = static_cast<std::uint64_t>(most.count()) + 1;
    return Duration{static_cast<std::int64_t>(platform::random_of(state) % choices)};
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
