// SPDX-License-Identifier: MIT
#pragma once
// Times as rows hold them.

#include <cstdint>

#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace backlite_test {

/// For SQL: milliseconds since the epoch.
[[nodiscard]] inline std::int64_t row_ms(backlite::TimePoint time) noexcept {
    return backlite::detail::to_ms(time).count();
}

/// A time in a row, written as that number or as the library has it.
struct RowTime : backlite::detail::Ms {
    // NOLINTBEGIN(google-explicit-constructor)
    constexpr RowTime(std::int64_t ms) noexcept : backlite::detail::Ms(ms) {}
    constexpr RowTime(backlite::detail::Ms time) noexcept : backlite::detail::Ms(time) {}
    // NOLINTEND(google-explicit-constructor)
};

}  // namespace backlite_test
