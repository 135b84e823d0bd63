// SPDX-License-Identifier: MIT
#pragma once
// Time, as the benchmarks take it.

#include <chrono>
#include <cstdint>

#include <backlite/base/times.hpp>

namespace bench {

/// The wall clock, as the library stores it.
[[nodiscard]] inline std::int64_t now_ms() noexcept {
    return backlite::detail::to_ms(std::chrono::system_clock::now()).count();
}

/// Nanoseconds on the steady clock, which all processes of a machine share.
[[nodiscard]] inline std::int64_t steady_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

class Stopwatch {
public:
    [[nodiscard]] double seconds() const noexcept { return static_cast<double>(steady_ns() - start_) / 1e9; }

private:
    std::int64_t start_ = steady_ns();
};

}  // namespace bench
