// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/version.hpp>

#include "statistics.hpp"

namespace bench {

namespace {

std::string_view text_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::ok: return "ok";
        case Verdict::below: return "below";
        case Verdict::wrong: return "WRONG";
        case Verdict::incorrect: break;
    }
    return "INCORRECT";
}

/// The numbers that are held against the budget.
const std::vector<double>& judged(const Result& result) { return result.raw.empty() ? result.ours : result.ratios; }

std::string number(double value) {
    const double size = std::abs(value);
    if (size >= 10'000) return fmt::format("{:.0f} k", value / 1'000);
    if (size >= 100) return fmt::format("{:.0f}", value);
    if (size >= 10) return fmt::format("{:.1f}", value);
    if (size >= 0.1 || size == 0) return fmt::format("{:.2f}", value);
    return fmt::format("{:.3f}", value);
}

}  // namespace

Verdict verdict(const Result& result) {
    if (!result.incorrect.empty() || judged(result).empty()) return Verdict::incorrect;
    const double value = median(judged(result));
    const double budget = result.budget.value;
    if (result.budget.sense == Budget::Sense::at_least) {
        return value >= budget ? Verdict::ok : value * 2 >= budget ? Verdict::below : Verdict::wrong;
    }
    return value <= budget ? Verdict::ok : value <= budget * 2 ? Verdict::below : Verdict::wrong;
}

void print_heading() {
    fmt::print("{:<42} {:>8} {:>8} {:<8} {:>6} {:>15} {:>8} {:>8}  {}\n", "row", "ours", "raw", "unit", "ratio",
               "least-greatest", "budget", "half", "verdict");
}

void print(const Result& result) {
    const std::vector<double>& values = judged(result);
    const bool at_least = result.budget.sense == Budget::Sense::at_least;
    if (values.empty()) {
        fmt::print("{:<42} {}: {}\n", result.name, text_of(verdict(result)), result.incorrect);
        return;
    }
    const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    const double half = at_least ? result.budget.value / 2 : result.budget.value * 2;
    fmt::print("{:<42} {:>8} {:>8} {:<8} {:>6} {:>15} {:>8} {:>8}  {}{}\n", result.name, number(median(result.ours)),
               result.raw.empty() ? "" : number(median(result.raw)), result.unit,
               result.raw.empty() ? "" : number(median(result.ratios)),
               fmt::format("{}-{}", number(*least), number(*greatest)),
               fmt::format("{} {}", at_least ? ">=" : "<=", number(result.budget.value)), number(half),
               text_of(verdict(result)), result.incorrect.empty() ? "" : ": " + result.incorrect);
    std::fflush(stdout);
}

void print_chart(const std::vector<Result>& results) {
    double most = 0;
    for (const Result& result : results) {
        if (result.in_chart && !result.ours.empty()) most = (std::max)(most, median(result.ours));
    }
    if (most <= 0) return;
    fmt::print("\n");
    for (const Result& result : results) {
        if (!result.in_chart || result.ours.empty()) continue;
        const double value = median(result.ours);
        fmt::print("{:<28} {:<50} {} {}\n", result.name, std::string(static_cast<std::size_t>(50 * value / most), '#'),
                   number(value), result.unit);
    }
}

void write_json(const std::string& file, const Options& options, const std::vector<Result>& results) {
    nlohmann::json all = {
        {"version", fmt::format("{}.{}.{}", BACKLITE_VERSION_MAJOR, BACKLITE_VERSION_MINOR, BACKLITE_VERSION_PATCH)},
        {"sqlite", sqlite3_libversion()},
        {"repeats", options.repeats},
        {"big", options.big},
        {"noise", noise()},
        {"rows", nlohmann::json::array()}};
    for (const Result& result : results) {
        all["rows"].push_back({{"name", result.name},
                               {"unit", result.unit},
                               {"ours", result.ours},
                               {"raw", result.raw},
                               {"ratios", result.ratios},
                               {"median", median(judged(result))},
                               {"budget", result.budget.value},
                               {"at_least", result.budget.sense == Budget::Sense::at_least},
                               {"verdict", text_of(verdict(result))},
                               {"incorrect", result.incorrect}});
    }
    std::ofstream out(file);
    out << all.dump(2) << '\n';
    if (!out) throw std::runtime_error(fmt::format("cannot write {}", file));
}

std::string noise() {
    double load = 0;
    if (::getloadavg(&load, 1) != 1 || load < 0.25) return {};
    return fmt::format("load average {:.2f} on {} processors", load, std::thread::hardware_concurrency());
}

}  // namespace bench
