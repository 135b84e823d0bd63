// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/log_relay.hpp>.

#include <backlite/engine/log_relay.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL LogRelay::~LogRelay() {
    {
        const detail::LockGuard lock(mutex_);
        closing_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

BACKLITE_DECL bool LogRelay::keep(LogLevel level, std::string_view message, std::span<const LogField> fields) noexcept {
    try {
        Event event{level, std::string{message}, {}};
        for (const LogField& field : fields) event.fields.emplace_back(field.key, field.value);
        const detail::LockGuard lock(mutex_);
        if (events_.size() >= most) return false;
        events_.push_back(std::move(event));
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

BACKLITE_DECL void LogRelay::run() noexcept {
    detail::UniqueLock lock(mutex_);
    for (;;) {
        if (!events_.empty()) {
            const std::vector<Event> events = std::exchange(events_, {});
            lock.unlock();
            for (const Event& event : events) pass_on(event);
            lock.lock();
        } else if (const std::size_t dropped = std::exchange(dropped_, 0); dropped > 0) {
            lock.unlock();
            log_(LogLevel::warning, "events dropped: the logger is too slow, or memory is short",
                 {{"events", dropped}});
            lock.lock();
        } else if (closing_) {
            return;
        } else {
            changed_.wait_for(lock.native(), detail::longest_wait());
        }
    }
}

BACKLITE_DECL void LogRelay::pass_on(const Event& event) noexcept {
    try {
        std::vector<LogField> fields;
        for (const auto& [key, value] : event.fields) fields.push_back({key, value});
        log_(event.level, event.message, fields);
    } catch (...) {  // no memory for it: the next may find some
        drop();
    }
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
