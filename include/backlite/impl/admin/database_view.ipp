// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/database_view.hpp>.

#include <backlite/admin/database_view.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

BACKLITE_DECL bool Turns::enter(Duration patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    detail::UniqueLock lock(mutex_);
    if (free_ > 0) {
        --free_;
        return true;
    }
    Waiter waiter;
    waiting_.push_back(&waiter);
    while (!waiter.admitted) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= end) {
            waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
            return false;
        }
        const std::chrono::steady_clock::duration cap = detail::longest_wait();
        waiter.turn.wait_until(lock.native(), end - now > cap ? now + cap : end);
    }
    return true;
}

BACKLITE_DECL void Turns::leave() noexcept {
    const detail::LockGuard lock(mutex_);
    if (waiting_.empty()) {
        ++free_;
        return;
    }
    waiting_.front()->admitted = true;
    waiting_.front()->turn.notify_one();
    waiting_.erase(waiting_.begin());
}

BACKLITE_DECL std::string DatabaseView::version() {
    const detail::LockGuard lock(watch_mutex_);
    if (!watch_ || watch_->identity() != platform::identify(name_)) {
        watch_.reset();
        watch_ = std::make_unique<ReadConnection>(name_, open_, busy_timeout_, bounds_);
        ++generation_;
    }
    try {
        return fmt::format("{:x}.{}.{}", nonce_, generation_, watch_->data_version());
    } catch (...) {
        watch_.reset();
        throw;
    }
}

BACKLITE_DECL std::unique_ptr<ReadConnection> DatabaseView::take() {
    const platform::FileIdentity now = platform::identify(name_);
    {
        std::vector<std::unique_ptr<ReadConnection>> stale;  // closed after the mutex is free
        const detail::LockGuard lock(mutex_);
        while (!idle_.empty()) {
            std::unique_ptr<ReadConnection> reader = std::move(idle_.back());
            idle_.pop_back();
            if (reader->identity() == now) return reader;
            stale.push_back(std::move(reader));
        }
    }
    return std::make_unique<ReadConnection>(name_, open_, busy_timeout_, bounds_);
}

BACKLITE_DECL std::vector<std::unique_ptr<ReadConnection>> DatabaseView::room() {
    std::vector<std::unique_ptr<ReadConnection>> readers;
    readers.reserve(most_at_once);
    return readers;
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
