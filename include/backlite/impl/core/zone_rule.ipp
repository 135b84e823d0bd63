// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/zone_rule.hpp>.

#include <algorithm>
#include <array>
#include <cstddef>

#include <backlite/core/zone_rule.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Reads a TZ string from left to right. Each function takes what it is named after, or leaves the text as it is and
/// says false.
class ZoneRule::Text {
public:
    explicit Text(std::string_view text) noexcept : left_(text) {}

    [[nodiscard]] bool empty() const noexcept { return left_.empty(); }

    bool take(char c) noexcept {
        if (left_.empty() || left_.front() != c) return false;
        left_.remove_prefix(1);
        return true;
    }

    /// A name of a time, such as CET or <+03>: it is not kept.
    bool take_name() noexcept {
        const bool quoted = take('<');
        std::size_t size = 0;
        while (size < left_.size() && in_name(left_[size], quoted)) ++size;
        if (size < 3 || (quoted && (size == left_.size() || left_[size] != '>'))) return false;
        left_.remove_prefix(quoted ? size + 1 : size);
        return true;
    }

    bool take_number(unsigned most, unsigned& number) noexcept {
        unsigned found = 0;
        std::size_t size = 0;
        for (; size < left_.size() && size < 4 && left_[size] >= '0' && left_[size] <= '9'; ++size) {
            found = found * 10 + static_cast<unsigned>(left_[size] - '0');
        }
        if (size == 0 || found > most) return false;
        left_.remove_prefix(size);
        number = found;
        return true;
    }

    /// [+-]hours[:minutes[:seconds]]
    bool take_time(unsigned most_hours, std::chrono::seconds& time) noexcept {
        const bool negative = take('-');
        if (!negative) take('+');
        unsigned hours = 0;
        unsigned minutes = 0;
        unsigned seconds = 0;
        if (!take_number(most_hours, hours)) return false;
        if (take(':')) {
            if (!take_number(59, minutes)) return false;
            if (take(':') && !take_number(59, seconds)) return false;
        }
        time = std::chrono::hours{hours} + std::chrono::minutes{minutes} + std::chrono::seconds{seconds};
        if (negative) time = -time;
        return true;
    }

    /// ,date[/time]
    bool take_change(Change& change) noexcept {
        if (!take(',')) return false;
        if (take('M')) {
            change.kind = Change::Kind::weekday;
            if (!take_number(12, change.month) || change.month == 0 || !take('.') || !take_number(5, change.week) ||
                change.week == 0 || !take('.') || !take_number(6, change.day)) {
                return false;
            }
        } else if (take('J')) {
            change.kind = Change::Kind::day_without_29_february;
            if (!take_number(365, change.day) || change.day == 0) return false;
        } else {
            change.kind = Change::Kind::day;
            if (!take_number(365, change.day)) return false;
        }
        return !take('/') || take_time(167, change.time);
    }

private:
    static bool in_name(char c, bool quoted) noexcept {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
        return quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-');
    }

    std::string_view left_;
};

BACKLITE_DECL std::optional<ZoneRule> ZoneRule::parse(std::string_view text) {
    Text left{text};
    ZoneRule rule;
    // POSIX says what is to be added to get UTC, so the sign is the other way round.
    if (!left.take_name() || !left.take_time(24, rule.winter_)) return std::nullopt;
    rule.winter_ = -rule.winter_;
    if (left.empty()) return rule;
    rule.has_summer_ = true;
    rule.summer_ = rule.winter_ + std::chrono::hours{1};
    if (!left.take_name()) return std::nullopt;
    if (std::chrono::seconds offset{}; left.take_time(24, offset)) rule.summer_ = -offset;
    if (!left.take_change(rule.to_summer_) || !left.take_change(rule.to_winter_) || !left.empty()) return std::nullopt;
    return rule;
}

BACKLITE_DECL std::chrono::sys_seconds ZoneRule::Change::in(std::chrono::year year) const {
    const std::chrono::sys_days first = year / std::chrono::January / 1;
    switch (kind) {
        case Kind::day_without_29_february:
            return first + std::chrono::days{day - (year.is_leap() && day >= 60 ? 0U : 1U)} + time;
        case Kind::day: return first + std::chrono::days{day} + time;
        case Kind::weekday: break;
    }
    const std::chrono::weekday on{day};
    const auto of = year / std::chrono::month{month};
    return (week == 5 ? std::chrono::sys_days{of / on[std::chrono::last]} : std::chrono::sys_days{of / on[week]}) +
           time;
}

BACKLITE_DECL Stretch ZoneRule::at(std::chrono::sys_seconds time) const {
    if (!has_summer_) return {.offset = winter_};
    struct Turn {
        std::chrono::sys_seconds when;
        std::chrono::seconds offset;
    };
    // With times of day of up to a week, a change may lie in the year before or after its own.
    constexpr std::size_t years = 5;
    std::array<Turn, 2 * years> turns{};
    const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(time)};
    for (std::size_t i = 0; i < years; ++i) {
        const std::chrono::year year = date.year() + std::chrono::years{static_cast<int>(i) - 2};
        turns[2 * i] = {to_winter_.in(year)-summer_, winter_};
        turns[2 * i + 1] = {to_summer_.in(year)-winter_, summer_};
    }
    // Where summer time ends as the next one begins, it goes on: of two at once the one to summer time counts.
    std::sort(turns.begin(), turns.end(), [this](const Turn& a, const Turn& b) {
        if (a.when != b.when) return a.when < b.when;
        return a.offset == winter_ && b.offset != winter_;
    });
    const auto next =
        std::upper_bound(turns.begin(), turns.end(), time,
                         [](std::chrono::sys_seconds wanted, const Turn& turn) { return wanted < turn.when; });
    const Turn& last = *(next - 1);
    return {.begin = last.when, .end = next->when, .offset = last.offset};
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
