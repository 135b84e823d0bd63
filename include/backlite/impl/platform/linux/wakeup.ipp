// SPDX-License-Identifier: MIT
#pragma once
// A wake-up by eventfd(2).

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/last_error.hpp>
#include <backlite/platform/wakeup.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL Wakeup::Wakeup() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) throw Error(detail::format("eventfd: {}", {error_text(last_error())}));
}

BACKLITE_DECL Wakeup::~Wakeup() { ::close(descriptor_); }

BACKLITE_DECL void Wakeup::wake() noexcept {
    const std::uint64_t one = 1;
    if (::write(descriptor_, &one, sizeof one) < 0) {  // full: a wake-up is there already
    }
}

BACKLITE_DECL void Wakeup::wait(std::chrono::nanoseconds cap) noexcept {
    constexpr std::int64_t second = 1'000'000'000;
    const std::int64_t left = (std::max<std::int64_t>)(cap.count(), 0);
    timespec timeout{};
    timeout.tv_sec = left / second;
    timeout.tv_nsec = left % second;
    pollfd watched{descriptor_, POLLIN, 0};
    if (::ppoll(&watched, 1, &timeout, nullptr) <= 0) return;
    std::uint64_t count = 0;
    if (::read(descriptor_, &count, sizeof count) < 0) {  // another thread has it
    }
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
