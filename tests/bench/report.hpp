// SPDX-License-Identifier: MIT
#pragma once
// The table, and the same as JSON.

#include <string>
#include <vector>

#include "rows.hpp"

namespace bench {

enum class Verdict { ok, below, wrong, incorrect };

/// "wrong": less than half of the budget, or more than twice what it allows.
[[nodiscard]] Verdict verdict(const Result& result);

void print_heading();
/// Prints a line as soon as its row is measured.
void print(const Result& result);

/// A bar for each result that is to be drawn, as long as its median is large.
void print_chart(const std::vector<Result>& results);

/// Errors: std::runtime_error if the file cannot be written.
void write_json(const std::string& file, const Options& options, const std::vector<Result>& results);

/// The processor time that others leave, as the kernel's load average says; empty if all is quiet.
[[nodiscard]] std::string noise();

}  // namespace bench
