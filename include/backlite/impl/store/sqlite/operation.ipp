// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/operation.hpp>.

#include <backlite/store/sqlite/operation.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL Operation::Operation(Kind a_kind, void* work, void (*call)(void*, Repository&),
                                   const Patience& its_patience) noexcept
    : kind(a_kind),
      patience(its_patience),
      deadline(saturating_add(Steady::now(), its_patience.busy_timeout)),
      work_(work),
      call_(call) {}

BACKLITE_DECL void Operation::tell(State state) noexcept {
    const detail::LockGuard lock(door_);
    set(state);
    changed_.notify_one();
}

BACKLITE_DECL void Operation::sleep(Steady::time_point time) {
    // Most waits are over within a commit: yielding a few times is cheaper than a sleep and a wake-up.
    for (int i = 0; i < 8 && (state() == State::waiting || state() == State::taken); ++i) std::this_thread::yield();
    detail::UniqueLock lock(door_);
    changed_.wait_until(lock.native(), time, [this] { return state() != State::waiting && state() != State::taken; });
}

BACKLITE_DECL void OperationList::push_back(Operation& operation) noexcept {
    (last_ == nullptr ? first_ : last_->next) = &operation;
    last_ = &operation;
    ++size_;
}

BACKLITE_DECL Operation* OperationList::pop_front() noexcept {
    Operation* const taken = first_;
    if (taken != nullptr) remove(*taken);
    return taken;
}

BACKLITE_DECL void OperationList::remove(const Operation& operation) noexcept {
    Operation* before = nullptr;
    for (Operation* at = first_; at != nullptr; before = std::exchange(at, at->next)) {
        if (at != &operation) continue;
        (before == nullptr ? first_ : before->next) = at->next;
        if (last_ == at) last_ = before;
        at->next = nullptr;
        --size_;
        return;
    }
}

BACKLITE_DECL void OperationList::prepend(OperationList& others) noexcept {
    if (others.empty()) return;
    others.last_->next = first_;
    first_ = std::exchange(others.first_, nullptr);
    if (last_ == nullptr) last_ = others.last_;
    others.last_ = nullptr;
    size_ += std::exchange(others.size_, 0U);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
