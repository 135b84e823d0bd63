// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <charconv>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "help.hpp"

namespace tool {
namespace {

/// A whole number; nullopt if it is none, or more follows it.
std::optional<std::int64_t> number_in(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::int64_t number_of(const std::string& option, const std::string& text, std::int64_t least, std::int64_t most) {
    const std::optional<std::int64_t> value = number_in(text);
    if (value && *value >= least && *value <= most) return *value;
    throw UsageFault(fmt::format("{} takes a number from {} to {}, not \"{}\"", option, least, most, text));
}

/// What a command would pass over is more likely a slip: it would look at, or change, more than was meant.
void check_that_all_is_used(const Options& options) {
    const std::string& command = options.command;
    if (!has_filter(command) && (!options.filter.empty() || options.filter.all)) {
        throw UsageFault(command + " takes no --queue, --state, --text, --tag, --id, --since, --until or --all");
    }
    if (command != "prioritize" && options.priority) throw UsageFault(command + " takes no --priority");
    if (options.operands.empty()) return;
    if (command == "ls") {
        throw UsageFault(fmt::format("ls does not know what \"{}\" is: --queue, --id or --text before it says so",
                                     options.operands.front()));
    }
    if (command == "queues" || command == "stats" || command == "schedules" || command == "doctor") {
        throw UsageFault(command + " takes one file, and nothing else");
    }
}

}  // namespace

backlite::TimePoint parse_time(std::string_view text, backlite::TimePoint now) {
    const auto fault = [&] {
        return UsageFault(
            fmt::format("\"{}\" is no time: write 2026-11-30, 2026-11-30T06:15:00 (UTC), or how long "
                        "ago it was: 90s, 5m, 2h, 7d",
                        text));
    };
    if (text.empty()) throw fault();
    constexpr std::string_view units = "smhd";
    if (const std::size_t unit = units.find(text.back()); unit != std::string_view::npos) {
        constexpr std::int64_t seconds[] = {1, 60, 3'600, 86'400};
        const std::optional<std::int64_t> value = number_in(text.substr(0, text.size() - 1));
        if (!value || *value < 0 || *value > 1'000'000'000 / seconds[unit]) throw fault();
        return now - std::chrono::seconds{*value * seconds[unit]};
    }
    std::tm parts{};
    const std::string copy{text};
    const char* rest = ::strptime(copy.c_str(), "%Y-%m-%d", &parts);
    if (rest == nullptr) throw fault();
    if (*rest == 'T' || *rest == ' ') rest = ::strptime(rest + 1, "%H:%M:%S", &parts);
    if (rest != nullptr && *rest == 'Z') ++rest;
    if (rest == nullptr || *rest != '\0' || parts.tm_year < 70 || parts.tm_year > 300) throw fault();
    return backlite::TimePoint{std::chrono::seconds{::timegm(&parts)}};
}

Options parse(const std::vector<std::string>& arguments, backlite::TimePoint now) {
    Options options;
    std::vector<std::string> words;
    bool only_words = false;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string name = arguments[i];
        if (only_words || name.size() < 2 || name.front() != '-') {
            words.push_back(std::move(name));
            continue;
        }
        std::optional<std::string> own;  // --name=value
        if (const std::size_t sign = name.find('='); name.starts_with("--") && sign != std::string::npos) {
            own = name.substr(sign + 1);
            name.resize(sign);
        }
        const auto value = [&]() -> std::string {
            if (own) return *std::exchange(own, std::nullopt);
            if (i + 1 == arguments.size()) throw UsageFault(name + " needs a value");
            return arguments[++i];
        };
        if (name == "--") {
            only_words = true;
        } else if (name == "--queue" || name == "-q") {
            options.filter.queue = value();
        } else if (name == "--state" || name == "-s") {
            const std::string text = value();
            const auto state = backlite::task_state(text);
            if (!state) {
                throw UsageFault(
                    fmt::format("there is no state \"{}\": waiting, scheduled, retrying, held, running, "
                                "succeeded, failed, cancelled, expired, any",
                                text));
            }
            options.filter.state = *state;
        } else if (name == "--tag") {
            options.filter.tag = value();
        } else if (name == "--text" || name == "-t") {
            options.filter.text = value();
        } else if (name == "--id") {
            options.filter.id = value();
        } else if (name == "--since") {
            options.filter.since = parse_time(value(), now);
        } else if (name == "--until") {
            options.filter.until = parse_time(value(), now);
        } else if (name == "--all") {
            options.filter.all = true;
        } else if (name == "--limit" || name == "-n") {
            options.limit = static_cast<std::size_t>(number_of(name, value(), 1, 10'000));
        } else if (name == "--after") {
            options.after = value();
        } else if (name == "--priority") {
            options.priority = static_cast<int>(number_of(name, value(), -1'000, 1'000));
        } else if (name == "--json") {
            options.format = Format::json;
        } else if (name == "--plain") {
            options.format = Format::plain;
        } else if (name == "--yes" || name == "-y") {
            options.yes = true;
        } else if (name == "--help" || name == "-h") {
            options.help = true;
        } else {
            throw UsageFault("there is no option " + arguments[i]);
        }
        if (own) throw UsageFault(name + " takes no value");
    }
    if (words.empty()) {
        if (options.help) return options;
        throw UsageFault("say what to do");
    }
    options.command = words[0];
    if (!is_command(options.command)) {
        const bool swapped = words.size() > 1 && is_command(words[1]);
        throw UsageFault(fmt::format(
            "there is no command \"{}\"{}", options.command,
            swapped ? fmt::format(": the command comes first, as in `backlite {} {}`", words[1], words[0]) : ""));
    }
    if (options.help) return options;
    if (words.size() < 2) {
        throw UsageFault(options.command == "completion" ? "say for which shell: bash or zsh"
                                                         : fmt::format("{}: name the database file", options.command));
    }
    options.file = words[1];
    options.operands.assign(words.begin() + 2, words.end());
    check_that_all_is_used(options);
    return options;
}

}  // namespace tool
