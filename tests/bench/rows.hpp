// SPDX-License-Identifier: MIT
#pragma once
// The rows of the table: what they are called, what they find, and what that is held against.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "files.hpp"
#include "options.hpp"

namespace bench {

/// What a row must reach, or must not exceed.
struct Budget {
    enum class Sense { at_least, at_most };

    Sense sense = Sense::at_least;
    double value = 0;
};

/// One line of the table.
struct Result {
    std::string name{};
    std::string unit{};  ///< of `ours` and `raw`
    Budget budget{};     ///< for the ratio if there is one, else for `ours`
    // One number for each repeat:
    std::vector<double> ours{};
    std::vector<double> raw{};     ///< empty: there is nothing to compare with
    std::vector<double> ratios{};  ///< ours to raw
    std::string incorrect{};       ///< what the library did wrong; empty: nothing
    bool in_chart = false;         ///< drawn as a bar below the table

    void add(double own, double other) {
        ours.push_back(own);
        raw.push_back(other);
        ratios.push_back(own / other);
    }
    void add(double own) { ours.push_back(own); }
};

/// What a row works with.
struct Bench {
    const Options& options;
    const Folder& folder;
};

struct Row {
    std::string name{};
    std::vector<Result> results{};  ///< what it will find, with the numbers missing
    /// Fills in the numbers. Errors: Incorrect; std::exception if it cannot be measured.
    std::function<void(const Bench&, std::vector<Result>&)> measure{};
};

/// All rows, in the order of the budgets.
[[nodiscard]] std::vector<Row> all_rows();

void append_add_rows(std::vector<Row>& rows);
void append_drain_rows(std::vector<Row>& rows);
void append_settings_rows(std::vector<Row>& rows);
void append_latency_rows(std::vector<Row>& rows);
void append_load_rows(std::vector<Row>& rows);
void append_beside_rows(std::vector<Row>& rows);
void append_flat_rows(std::vector<Row>& rows);
void append_dashboard_rows(std::vector<Row>& rows);
void append_flow_rows(std::vector<Row>& rows);
void append_idle_rows(std::vector<Row>& rows);
void append_compile_rows(std::vector<Row>& rows);

/// Measures both sides once for each repeat, one right after the other; who goes first alternates.
template <class Ours, class Raw>
void compare(const Bench& bench, Result& result, Ours&& ours, Raw&& raw) {
    for (int repeat = 0; repeat < bench.options.repeats; ++repeat) {
        double own = 0;
        double other = 0;
        if (repeat % 2 == 0) {
            own = ours();
            other = raw();
        } else {
            other = raw();
            own = ours();
        }
        result.add(own, other);
    }
}

}  // namespace bench
