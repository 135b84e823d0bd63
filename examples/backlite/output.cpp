// SPDX-License-Identifier: MIT
#include "output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>
#include <unistd.h>

namespace tool {
namespace {

/// How many columns a text takes, if each character takes one.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string shown(std::string_view text, std::size_t most) {
    std::string cut;
    for (const char c : text) {
        if (cut.size() >= most && (static_cast<unsigned char>(c) & 0xc0) != 0x80) {
            cut += "...";
            break;
        }
        const auto code = static_cast<unsigned char>(c);
        cut += code < ' ' || code == 127 ? (c == '\n' || c == '\t' ? ' ' : '?') : c;
    }
    return cut;
}

std::string time_text(const std::optional<backlite::TimePoint>& time) {
    if (!time) return "-";
    const auto ms = std::chrono::floor<std::chrono::milliseconds>(time->time_since_epoch()).count();
    const std::time_t seconds = ms / 1'000 - (ms % 1'000 < 0 ? 1 : 0);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    static_cast<void>(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts));
    return fmt::format("{}.{:03}Z", text.data(), ms - seconds * 1'000);
}

std::string duration_text(std::chrono::microseconds duration) {
    const auto us = static_cast<double>(duration.count());
    if (us < 1e3) return fmt::format("{} us", duration.count());
    if (us < 1e6) return fmt::format("{:.3g} ms", us / 1e3);
    if (us < 6e7) return fmt::format("{:.3g} s", us / 1e6);
    if (us < 3.6e9) return fmt::format("{:.3g} min", us / 6e7);
    if (us < 8.64e10) return fmt::format("{:.3g} h", us / 3.6e9);
    return fmt::format("{:.0f} d", us / 8.64e10);
}

std::string bytes_text(std::uintmax_t bytes) {
    if (bytes < 10'000) return fmt::format("{} bytes", bytes);
    if (bytes < 10'000'000) return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
    if (bytes < 10'000'000'000) return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
    return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9);
}

bool colours(Format format) {
    const char* const no = std::getenv("NO_COLOR");
    return format == Format::table && ::isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0');
}

std::string coloured(std::string_view state, std::string text, bool colour) {
    if (!colour) return text;
    const char* code = "";
    if (state == "failed" || state == "wrong") code = "31";
    if (state == "succeeded" || state == "well") code = "32";
    if (state == "retrying" || state == "held" || state == "expired" || state == "cancelled") code = "33";
    if (state == "running") code = "36";
    return *code == '\0' ? text : fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

void Table::print(Format format, std::optional<std::size_t> state) const {
    if (format == Format::plain) {
        for (const auto& row : rows_) fmt::print("{}\n", fmt::join(row, "\t"));
        return;
    }
    std::vector<std::size_t> widths;
    for (const std::string& name : heading_) widths.push_back(width(name));
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = (std::max)(widths[i], width(row[i]));
    }
    const bool colour = colours(format);
    const auto line = [&](const std::vector<std::string>& row, bool heading) {
        std::string text;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string space(i + 1 < row.size() ? widths[i] - width(row[i]) + 2 : 0, ' ');
            text += (!heading && state == i ? coloured(row[i], row[i], colour) : row[i]) + space;
        }
        fmt::print("{}\n", text);
    };
    line(heading_, true);
    for (const auto& row : rows_) line(row, false);
}

void print(const nlohmann::json& json) {
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

bool confirm(const std::string& question) {
    if (::isatty(STDIN_FILENO) == 0) return false;
    fmt::print(stderr, "{} [y/N] ", question);
    std::fflush(stderr);
    std::string answer;
    for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar()) answer += static_cast<char>(c);
    return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace tool
