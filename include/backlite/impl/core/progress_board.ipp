// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/progress_board.hpp>.

#include <algorithm>

#include <backlite/core/progress_board.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL bool ProgressBoard::say(std::size_t worker, const detail::ClaimedTask& task, double fraction,
                                      std::string_view message, detail::Ms at, Steady::time_point now) {
    Place& place = places_[worker];
    Steady::time_point next{};
    {
        const detail::LockGuard lock(place.mutex);
        detail::ProgressNote& note = place.note;
        note.message.assign(message);
        if (note.claim.number != task.claim || note.claim.id != task.id) {
            note.claim.id = task.id;
            note.claim.number = task.claim;
        }
        note.fraction = fraction;
        note.at = at;
        note.worker = worker;
        ++note.number;
        if (place.unwritten.exchange(true, std::memory_order_relaxed)) return false;
        next = (std::max)(place.next, now);
    }
    // If it was as early before, the dispatcher knows: else every task of a worker that speaks at once would wake it.
    return lower(next);
}

BACKLITE_DECL void ProgressBoard::left(std::size_t worker) noexcept {
    Place& place = places_[worker];
    if (!place.unwritten.load(std::memory_order_relaxed)) return;
    const detail::LockGuard lock(place.mutex);
    place.unwritten.store(false, std::memory_order_relaxed);
}

BACKLITE_DECL std::vector<detail::ProgressNote> ProgressBoard::due(Steady::time_point now) {
    std::vector<detail::ProgressNote> notes;
    if (next() > now) return notes;
    for (Place& place : places_) {
        const detail::LockGuard lock(place.mutex);
        if (place.unwritten.load(std::memory_order_relaxed) && place.next <= now) notes.push_back(place.note);
    }
    if (notes.empty()) find_next();  // they have ended
    return notes;
}

BACKLITE_DECL void ProgressBoard::written(const std::vector<detail::ProgressNote>& notes,
                                          Steady::time_point now) noexcept {
    if (notes.empty()) return;
    for (const detail::ProgressNote& note : notes) {
        Place& place = places_[note.worker];
        const detail::LockGuard lock(place.mutex);
        place.next = saturating_add(now, pause);
        if (place.note.number == note.number) place.unwritten.store(false, std::memory_order_relaxed);
    }
    find_next();
}

BACKLITE_DECL bool ProgressBoard::lower(Steady::time_point time) noexcept {
    Steady::rep known = next_.load(std::memory_order_relaxed);
    const Steady::rep wanted = time.time_since_epoch().count();
    while (wanted < known) {
        if (next_.compare_exchange_weak(known, wanted, std::memory_order_acq_rel)) return true;
    }
    return false;
}

BACKLITE_DECL void ProgressBoard::find_next() noexcept {
    // What a task says meanwhile is seen here, or lowers it afterwards.
    next_.store((Steady::time_point::max)().time_since_epoch().count(), std::memory_order_release);
    for (Place& place : places_) {
        const detail::LockGuard lock(place.mutex);
        if (place.unwritten.load(std::memory_order_relaxed)) static_cast<void>(lower(place.next));
    }
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
