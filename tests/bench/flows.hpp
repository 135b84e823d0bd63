// SPDX-License-Identifier: MIT
#pragma once
// The flow that the rows and a child process share.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

namespace bench {

/// What a flow does is up to the row.
struct Run {
    std::int64_t count = 0;
    static backlite::QueueConfig config() { return {.name = "run", .max_attempts = 1}; }
};
struct Part {
    std::int64_t number = 0;
    using Result = std::int64_t;
    static backlite::QueueConfig config() { return {.name = "part"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Run, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Part, number)

/// What came of a flow that had children added and joined.
struct Joined {
    double seconds = 0;        ///< from the first entry of its function to its last result
    std::int64_t ran = 0;      ///< how often a child ran
    std::int64_t entered = 0;  ///< how often its function was entered: to add them, and when the last has ended
    bool right = false;        ///< what they returned came back, in their order
};

/// Errors: Incorrect after ten minutes.
[[nodiscard]] Joined join_children(const std::string& file, std::int64_t count);

}  // namespace bench
