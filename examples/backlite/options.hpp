// SPDX-License-Identifier: MIT
#pragma once
// What the user asks for.

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/admin_values.hpp>
#include <backlite/clock.hpp>

namespace tool {

/// A question that cannot be understood; the text says why.
struct UsageFault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Format { table, plain, json };

struct Options {
    std::string command{};
    std::string file{};
    std::vector<std::string> operands{};  ///< ids, or queues
    backlite::TaskFilter filter{};
    std::size_t limit = 50;
    std::optional<std::string> after{};
    std::optional<int> priority{};
    Format format = Format::table;
    bool yes = false;
    bool help = false;
};

/// Errors: UsageFault.
[[nodiscard]] Options parse(const std::vector<std::string>& arguments, backlite::TimePoint now);

/// A time as `2026-11-30`, `2026-11-30T06:15:00` (UTC), or how long ago: `90s`, `5m`, `2h`, `7d`. Errors: UsageFault.
[[nodiscard]] backlite::TimePoint parse_time(std::string_view text, backlite::TimePoint now);

}  // namespace tool
