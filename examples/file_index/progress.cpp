// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include <cstddef>
#include <cstdio>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

namespace file_index {
namespace {

constexpr std::size_t bar_width = 30;

std::string remaining_time(double seconds) {
    const auto total = static_cast<std::int64_t>(seconds + 0.5);
    if (total >= 3600) return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
    if (total >= 60) return fmt::format("{} min {:02} s", total / 60, total % 60);
    return fmt::format("{} s", total);
}

}  // namespace

Progress::Progress() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

double Progress::seconds() const { return std::chrono::duration<double>(Steady::now() - start_).count(); }

void Progress::show(const State& state) {
    if (!terminal_) {
        const auto now = Steady::now();
        if (now < next_line_) return;
        next_line_ = now + std::chrono::seconds{1};
    }
    const std::uint64_t done = state.tasks > state.left ? state.tasks - state.left : 0;
    const double rate = static_cast<double>(done) / seconds();
    std::string text = fmt::format("{} of {} files, {:.0f}/s", done, state.tasks, rate);
    if (state.walking) {
        text += fmt::format(", {} found so far", state.found);
    } else if (done > 0) {
        text += fmt::format(", {} left", remaining_time(static_cast<double>(state.left) / rate));
    }
    if (terminal_) {
        const std::size_t filled = state.tasks == 0 ? 0 : bar_width * done / state.tasks;
        fmt::print("\r[{:#<{}}{:.<{}}] {}\x1b[K", "", filled, "", bar_width - filled, text);
        bar_ = true;
    } else {
        fmt::print("{}\n", text);
    }
    std::fflush(stdout);
}

void Progress::end() {
    if (!bar_) return;
    fmt::print("\r\x1b[K");
    std::fflush(stdout);
    bar_ = false;
}

}  // namespace file_index
