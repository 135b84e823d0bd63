// SPDX-License-Identifier: MIT
#pragma once
// Filling a file with due tasks, and running them all.

#include <cstddef>
#include <cstdint>
#include <string>

#include <backlite/config.hpp>

namespace bench {

/// Puts tasks 0 to `count` - 1 into the file, all due before `last_due`, and leaves it closed.
void fill(const std::string& file, std::size_t count, std::int64_t last_due);

struct Drained {
    double until_entered = 0;  ///< seconds from start() until the last task ran
    double until_stopped = 0;  ///< and until the last outcome was committed and the client stopped
};

/// Errors: Incorrect unless each task ran once and every outcome was written.
[[nodiscard]] Drained drain(const std::string& file, backlite::Durability durability, unsigned workers,
                            std::size_t count);

/// Nothing of the tasks to drain is left, claimed or done. Errors: Incorrect.
void check_gone(const std::string& file);

}  // namespace bench
