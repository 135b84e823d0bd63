// SPDX-License-Identifier: MIT
#pragma once
// New task ids.

#include <algorithm>
#include <cstdint>

#include <backlite/base/format.hpp>
#include <backlite/base/guards.hpp>
#include <backlite/base/times.hpp>
#include <backlite/id.hpp>
#include <backlite/platform/random.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Makes UUIDs of version 7 that increase, also when the wall clock stands still or goes back.
/// Within one millisecond the 74 random bits are raised by a random step instead of drawn anew (RFC 9562, 6.2,
/// method 2), so an id costs no system call.
/// Threads: any.
class IdGenerator {
public:
    [[nodiscard]] TaskId next(detail::Ms now) {
        const detail::LockGuard lock(mutex_);
        return next_locked(now);
    }

    /// Calls `take` with `count` ids in increasing order, under one lock.
    template <class Take>
    void next_many(detail::Ms now, std::size_t count, Take&& take) {
        const detail::LockGuard lock(mutex_);
        for (std::size_t i = 0; i < count; ++i) take(i, next_locked(now));
    }

private:
    static constexpr std::uint64_t low_mask = (std::uint64_t{1} << 62) - 1;

    TaskId next_locked(detail::Ms now) BACKLITE_REQUIRES(mutex_);

    std::uint64_t random() noexcept BACKLITE_REQUIRES(mutex_) {
        return platform::random_of(random_state_ += platform::random_step);
    }

    static std::string text_of(std::uint64_t ms, std::uint64_t high, std::uint64_t low);

    detail::Mutex mutex_{};
    std::uint64_t random_state_ BACKLITE_GUARDED_BY(mutex_) = platform::random_seed();
    std::uint64_t ms_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::uint64_t high_ BACKLITE_GUARDED_BY(mutex_) = 0;
    std::uint64_t low_ BACKLITE_GUARDED_BY(mutex_) = 0;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/id_generator.ipp>
#endif
