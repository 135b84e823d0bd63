// SPDX-License-Identifier: MIT
#pragma once
// How far the work is: a bar on a terminal, a line a second elsewhere.

#include <chrono>
#include <cstdint>

namespace file_index {

struct State {
    std::uint64_t found = 0;  ///< files in the folder so far
    std::uint64_t tasks = 0;  ///< tasks so far, those of earlier runs included
    std::uint64_t left = 0;   ///< of those, not finished
    bool walking = true;      ///< there may be more
};

/// Threads: one.
class Progress {
public:
    using Steady = std::chrono::steady_clock;

    Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { end(); }

    void show(const State& state);
    /// Leaves the line of the bar.
    void end();

    [[nodiscard]] double seconds() const;

private:
    const bool terminal_;
    const Steady::time_point start_ = Steady::now();
    Steady::time_point next_line_ = start_ + std::chrono::seconds{1};
    bool bar_ = false;
};

}  // namespace file_index
