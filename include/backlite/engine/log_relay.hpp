// SPDX-License-Identifier: MIT
#pragma once
// Hands the dispatcher's events to the host's logger on a thread of its own: however long that takes, leases go on.

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/guards.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/thread.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Keeps the order of events. While `most` of them wait, further ones are dropped, as is one for which there is no
/// memory; how many is the next event.
/// Threads: any. The destructor joins the thread, after the last event.
class LogRelay final : public Logger {
public:
    static constexpr std::size_t most = 1'024;

    LogRelay(std::shared_ptr<platform::ThreadList> own, std::shared_ptr<Logger> logger)
        : log_(std::move(logger)),
          thread_(platform::start_thread(std::move(own), "backlite-log", [this]() noexcept { run(); })) {}
    ~LogRelay() override;

    /// Returns at once. The strings are copied.
    void(log)(LogLevel level, std::string_view message, std::span<const LogField> fields) override {
        if (!keep(level, message, fields)) drop();
        changed_.notify_one();
    }

private:
    struct Event {
        LogLevel level{};
        std::string message{};
        std::vector<std::pair<std::string, std::string>> fields{};
    };

    /// False if there is no room for it, or no memory.
    [[nodiscard]] bool keep(LogLevel level, std::string_view message, std::span<const LogField> fields) noexcept;

    void drop() noexcept {
        const detail::LockGuard lock(mutex_);
        ++dropped_;
    }

    void run() noexcept;

    void pass_on(const Event& event) noexcept;

    // constant after construction
    const detail::SafeLogger log_;

    detail::Mutex mutex_{};
    std::condition_variable changed_{};
    std::vector<Event> events_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t dropped_ BACKLITE_GUARDED_BY(mutex_) = 0;
    bool closing_ BACKLITE_GUARDED_BY(mutex_) = false;

    std::jthread thread_;
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/log_relay.ipp>
#endif
