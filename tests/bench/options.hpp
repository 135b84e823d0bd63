// SPDX-License-Identifier: MIT
#pragma once
// What the command line says.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct Options {
    std::string rows{};    ///< a regular expression; empty: all rows
    int repeats = 5;       ///< how often each row is measured; the medians are reported
    std::string json{};    ///< file for the results with every repeat; empty: none
    std::string folder{};  ///< where the files live; empty: a place on disk
    bool big = false;      ///< a million rows where the budget says so, instead of a hundred thousand
    bool quick = false;    ///< few tasks: checks that the program works, measures nothing
    bool list = false;
    bool help = false;

    /// How many tasks a row takes that would take `count`.
    [[nodiscard]] std::size_t scaled(std::size_t count) const noexcept {
        return quick ? (count < 400 ? count / 10 : count / 40) : count;
    }
    /// How many rows lie beside the tasks at work.
    [[nodiscard]] std::size_t many() const noexcept { return scaled(big ? 1'000'000 : 100'000); }
};

/// Errors: std::invalid_argument with a sentence.
[[nodiscard]] Options parse_options(const std::vector<std::string_view>& arguments);

[[nodiscard]] std::string_view usage() noexcept;

}  // namespace bench
