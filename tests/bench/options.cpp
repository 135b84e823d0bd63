// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <charconv>
#include <stdexcept>

#include <fmt/format.h>

namespace bench {

namespace {

int positive(std::string_view option, std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
        throw std::invalid_argument(fmt::format("{} needs a number above zero, not \"{}\"", option, text));
    }
    return value;
}

}  // namespace

Options parse_options(const std::vector<std::string_view>& arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view option = arguments[i];
        const auto value = [&] {
            if (++i == arguments.size()) throw std::invalid_argument(fmt::format("{} needs a value", option));
            return arguments[i];
        };
        if (option == "--rows") {
            options.rows = value();
        } else if (option == "--repeats") {
            options.repeats = positive(option, value());
        } else if (option == "--json") {
            options.json = value();
        } else if (option == "--dir") {
            options.folder = value();
        } else if (option == "--big") {
            options.big = true;
        } else if (option == "--quick") {
            options.quick = true;
        } else if (option == "--list") {
            options.list = true;
        } else if (option == "--help" || option == "-h") {
            options.help = true;
        } else {
            throw std::invalid_argument(fmt::format("unknown option \"{}\"; see --help", option));
        }
    }
    return options;
}

std::string_view usage() noexcept {
    return R"(usage: backlite_bench [OPTION...]

Measures the library against its budgets, most of them beside a raw sqlite3 loop on the same schema, with the same
durability and payloads, in the same run. Prints the median over the repeats of what the library did, of what the raw
loop did, and of their ratios, with the least and the greatest ratio.

  --rows REGEX    only rows whose name matches; see --list
  --repeats N     measure each row N times (default 5)
  --big           a million rows beside the tasks at work, or waiting, instead of a hundred thousand
  --dir FOLDER    keep the files there (default: a new folder on disk; a file system in memory makes no sense)
  --json FILE     write all numbers of all repeats there
  --quick         few tasks: only checks that everything still works; the numbers mean nothing
  --list          print the names of the rows
  --help          print this

Verdicts: "ok" meets the budget, "below" misses it by less than half, "WRONG" reaches less than half of it: then
something is the matter with the library, the machine or the benchmark. "INCORRECT": a task was lost, ran twice, or
stayed in the file. The exit status is 1 if any row is WRONG or INCORRECT.

Give it a machine with at least two free cores: a compiler running beside it can halve any of the numbers.
)";
}

}  // namespace bench
