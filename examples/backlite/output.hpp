// SPDX-License-Identifier: MIT
#pragma once
// How the tool writes: columns for people, tabs or JSON for programs.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/clock.hpp>

#include "options.hpp"

namespace tool {

/// Ends the text where it would hold control characters, which a terminal would obey.
[[nodiscard]] std::string shown(std::string_view text, std::size_t most = 10'000);

/// `2026-11-30T06:15:00.250Z`; "-" if there is none.
[[nodiscard]] std::string time_text(const std::optional<backlite::TimePoint>& time);

/// `1.5 s`, `20 ms`, `3 h`.
[[nodiscard]] std::string duration_text(std::chrono::microseconds duration);

/// `12.5 MB`.
[[nodiscard]] std::string bytes_text(std::uintmax_t bytes);

/// Whether to colour: a terminal, and nobody said NO_COLOR.
[[nodiscard]] bool colours(Format format);

/// `text` in the colour of a state, or as it is.
[[nodiscard]] std::string coloured(std::string_view state, std::string text, bool colour);

/// Rows under a heading. For programs: the rows alone, fields parted by tabs.
class Table {
public:
    explicit Table(std::vector<std::string> heading) : heading_(std::move(heading)) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    /// `state`: the column that has a state's name, which is coloured.
    void print(Format format, std::optional<std::size_t> state = {}) const;

private:
    std::vector<std::string> heading_;
    std::vector<std::vector<std::string>> rows_{};
};

void print(const nlohmann::json& json);

/// Prints a question on a terminal. False: no, or nobody to ask.
[[nodiscard]] bool confirm(const std::string& question);

}  // namespace tool
