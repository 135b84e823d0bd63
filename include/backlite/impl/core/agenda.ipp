// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/agenda.hpp>.

#include <backlite/core/agenda.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL bool Agenda::lower(std::string_view queue, detail::Ms due, std::size_t tasks) {
    const std::size_t index = queues_.find(queue);
    if (index == queues_.size()) {
        stray_added_.store(true, std::memory_order_relaxed);
        return false;
    }
    const detail::LockGuard lock(mutex_);
    lowered_[index] = (std::min)(lowered_[index], due);
    if (!gatherings_.empty()) due = start_locked(index, due, tasks);
    earliest_lowered_ = (std::min)(earliest_lowered_, due);
    return due < interest_;
}

BACKLITE_DECL detail::Ms Agenda::start_locked(std::size_t queue, detail::Ms due, std::size_t tasks) {
    const BatchOptions* const batch = queues_[queue].batch();
    if (batch == nullptr) return due;
    Gathering& gathering = gatherings_[queue];
    gathering.came += static_cast<std::int64_t>(tasks);
    return gathering.came < gathering.lacking ? due + batch->max_wait : due;
}

BACKLITE_DECL bool Agenda::lower_expiry(detail::Ms expires_at) {
    const detail::LockGuard lock(mutex_);
    lowered_expiry_ = (std::min)(lowered_expiry_, expires_at);
    return expires_at < known_expiry_;
}

BACKLITE_DECL detail::Ms Agenda::first_expiry(detail::Ms known) {
    const detail::LockGuard lock(mutex_);
    return known_expiry_ = (std::min)(known, std::exchange(lowered_expiry_, store::never));
}

BACKLITE_DECL bool Agenda::doze(detail::Ms interest, std::uint64_t seen) {
    const detail::LockGuard lock(mutex_);
    interest_ = interest;
    seen_ = seen;
    for (std::size_t i = 0; i < gatherings_.size(); ++i) {
        gatherings_[i].lacking = heads_[i].lacking;
        if (gatherings_[i].came == 0 || gatherings_[i].came < heads_[i].lacking) continue;
        earliest_lowered_ = (std::min)(earliest_lowered_, lowered_[i]);  // it has become full meanwhile
    }
    return earliest_lowered_ >= interest;
}

BACKLITE_DECL void Agenda::merge() {
    const detail::LockGuard lock(mutex_);
    interest_ = nothing;
    if (std::exchange(earliest_lowered_, store::never) == store::never) return;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
        const std::int64_t tasks = gatherings_.empty() ? 1 : std::exchange(gatherings_[i].came, 0);
        heads_[i].came(std::exchange(lowered_[i], store::never), tasks);
    }
}

BACKLITE_DECL void Agenda::release_held(bool crashed_running, bool worker_free) noexcept {
    for (store::QueueHead& head : heads_) {
        if (!crashed_running) head.came(std::exchange(head.held_due, store::never));
        if (worker_free) head.came(std::exchange(head.worker_due, store::never));
    }
}

BACKLITE_DECL const store::QueueHead* Agenda::earliest() const noexcept {
    const store::QueueHead* first = nullptr;
    for (const store::QueueHead& head : heads_) {
        if (head.starts() == store::never) continue;
        if (first == nullptr || head.starts() < first->starts()) first = &head;
    }
    return first;
}

BACKLITE_DECL const store::QueueHead* Agenda::next(detail::Ms now, Duration ageing) const noexcept {
    const store::QueueHead* next = nullptr;
    std::optional<store::Rank> first;
    for (const store::QueueHead& head : heads_) {
        const auto rank = store::first_rank(head, now, ageing);
        if (!rank || (first && *first <= *rank)) continue;
        first = rank;
        next = &head;
    }
    return next == nullptr ? earliest() : next;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
