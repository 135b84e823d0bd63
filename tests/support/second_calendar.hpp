// SPDX-License-Identifier: MIT
#pragma once
// A second implementation of cron expressions and time zones, slow and simple, to compare the library's with. It shares
// nothing with it: expressions are made together with what they mean, days are looked at one by one, and what clocks
// show is asked from the C library.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace backlite_test {

/// How far a zone's clocks are ahead of UTC, from one time to another, by the C library.
/// Threads: none beside it: it sets TZ.
class SecondClock {
public:
    struct Part {
        std::int64_t begin = 0;
        std::int64_t end = 0;
        std::int64_t offset = 0;
    };

    SecondClock(const std::string& zone, std::int64_t begin, std::int64_t end) {
        ::setenv("TZ", (':' + zone).c_str(), 1);
        ::tzset();
        // No two changes of a zone lie so close together.
        constexpr std::int64_t step = 12 * 3600;
        parts_.push_back({begin, end, offset(begin)});
        for (std::int64_t time = begin; time < end; time += step) {
            if (offset(time + step) == parts_.back().offset) continue;
            std::int64_t before = time;
            std::int64_t after = time + step;
            while (after - before > 1) {
                const std::int64_t middle = before + (after - before) / 2;
                (offset(middle) == parts_.back().offset ? before : after) = middle;
            }
            parts_.back().end = after;
            parts_.push_back({after, end, offset(after)});
        }
        ::unsetenv("TZ");
        ::tzset();
    }

    [[nodiscard]] const std::vector<Part>& parts() const noexcept { return parts_; }

    /// When the clocks show that local time, earliest first.
    [[nodiscard]] std::vector<std::int64_t> when(std::int64_t local) const {
        std::vector<std::int64_t> found;
        for (auto part = first_near(local); part != parts_.end() && part->begin <= local + reach; ++part) {
            const std::int64_t time = local - part->offset;
            if (time >= part->begin && time < part->end) found.push_back(time);
        }
        return found;
    }

    /// When the clocks show the first local time after `local` that they show at all.
    [[nodiscard]] std::int64_t after_gap(std::int64_t local) const {
        std::int64_t first = local + 10 * reach;
        for (auto part = first_near(local); part != parts_.end() && part->begin <= local + reach; ++part) {
            if (part->begin + part->offset > local) first = std::min(first, part->begin + part->offset);
        }
        return when(first).front();
    }

private:
    static constexpr std::int64_t reach = 27 * 3600;

    [[nodiscard]] std::vector<Part>::const_iterator first_near(std::int64_t local) const {
        return std::partition_point(parts_.begin(), parts_.end(),
                                    [&](const Part& part) { return part.end < local - reach; });
    }

    static std::int64_t offset(std::int64_t time) {
        const std::time_t value = time;
        std::tm local{};
        return ::localtime_r(&value, &local) == nullptr ? 0 : local.tm_gmtoff;
    }

    std::vector<Part> parts_{};
};

/// A date as the predicates of expressions look at it.
struct SecondDate {
    unsigned month = 1;
    unsigned day = 1;
    unsigned length = 31;  ///< of its month
    unsigned weekday = 0;  ///< 0 is Sunday

    [[nodiscard]] bool works() const noexcept { return weekday != 0 && weekday != 6; }
    /// Another day of the same month.
    [[nodiscard]] SecondDate at(unsigned other) const noexcept {
        return {month, other, length, (weekday + 35 + other - day) % 7};
    }

    [[nodiscard]] static SecondDate of(std::int64_t days_since_1970) {
        const std::chrono::sys_days date{std::chrono::days{days_since_1970}};
        const std::chrono::year_month_day ymd{date};
        unsigned length = static_cast<unsigned>(ymd.day());
        while (std::chrono::year_month_day{date + std::chrono::days{length + 1 - static_cast<unsigned>(ymd.day())}}
                   .month() == ymd.month()) {
            ++length;
        }
        return {static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()), length,
                static_cast<unsigned>((days_since_1970 % 7 + 11) % 7)};
    }
};

/// A random expression, and what it means.
class SecondCron {
public:
    explicit SecondCron(std::mt19937_64& random) : random_(random) {
        if (one_in(3)) {
            seconds_ = field(0, 59, one_in(10) ? 5 : 40);
            text_ += ' ';
        } else {
            seconds_ = {0};
        }
        minutes_ = field(0, 59, 40);
        text_ += ' ';
        const std::size_t hour = text_.size();
        hours_ = field(0, 23, 30);
        every_hour_ = text_[hour] == '*';
        text_ += ' ';
        days();
        text_ += ' ';
        const std::vector<unsigned> months = field(1, 12, 30, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC");
        for (const unsigned month : months) months_[month] = true;
        text_ += ' ';
        weekdays();
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] std::size_t times_a_day() const noexcept { return seconds_.size() * minutes_.size() * hours_.size(); }

    [[nodiscard]] bool matches(const SecondDate& date) const {
        const auto any = [&](const std::vector<Test>& tests) {
            return std::any_of(tests.begin(), tests.end(), [&](const Test& test) { return test(date); });
        };
        if (!months_[date.month]) return false;
        const bool by_day = any(day_tests_);
        const bool by_weekday = any(weekday_tests_);
        return every_day_ || every_weekday_ ? by_day && by_weekday : by_day || by_weekday;
    }

    /// Its times from `begin` to before `end`, in order.
    [[nodiscard]] std::vector<std::int64_t> times(const SecondClock& clock, std::int64_t begin,
                                                  std::int64_t end) const {
        constexpr std::int64_t day_length = 86'400;
        constexpr std::int64_t reach = 54 * 3600;  // offsets, and a day that is left out
        std::vector<std::int64_t> found;
        const auto first = static_cast<std::int64_t>(
            std::chrono::floor<std::chrono::days>(std::chrono::seconds{begin - reach}).count());
        for (std::int64_t day = first; day * day_length < end + reach; ++day) {
            if (!matches(SecondDate::of(day))) continue;
            for (const unsigned hour : hours_) {
                const std::int64_t hours = day * day_length + hour * 3600;
                if (hours + 3600 < begin - reach || hours > end + reach) continue;
                for (const unsigned minute : minutes_) {
                    for (const unsigned second : seconds_) put(clock, hours + minute * 60 + second, found);
                }
            }
        }
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        found.erase(std::lower_bound(found.begin(), found.end(), end), found.end());
        found.erase(found.begin(), std::lower_bound(found.begin(), found.end(), begin));
        return found;
    }

private:
    using Test = std::function<bool(const SecondDate&)>;

    void put(const SecondClock& clock, std::int64_t local, std::vector<std::int64_t>& found) const {
        const std::vector<std::int64_t> shown = clock.when(local);
        if (every_hour_) {
            found.insert(found.end(), shown.begin(), shown.end());
        } else {
            found.push_back(shown.empty() ? clock.after_gap(local) : shown.front());
        }
    }

    bool one_in(unsigned count) { return random_() % count == 0; }
    unsigned between(unsigned least, unsigned most) {
        return least + static_cast<unsigned>(random_() % (most - least + 1));
    }

    void write(unsigned number, unsigned least, std::string_view names) {
        if (!names.empty() && number - least < names.size() / 3 && one_in(2)) {
            text_ += names.substr(3 * (number - least), 3);
            return;
        }
        text_ += fmt::format("{}", number);
    }

    /// Writes a part of a list without a star, and returns its numbers.
    std::vector<unsigned> part(unsigned least, unsigned most, std::string_view names) {
        unsigned first = between(least, most);
        write(first, least, names);
        unsigned last = first;
        unsigned step = 1;
        const unsigned kind = between(0, 5);
        if (kind == 1 || kind == 2) {
            last = between(first, most);
            text_ += '-';
            write(last, least, names);
        }
        if (kind == 2 || kind == 3) {
            step = between(1, most - least);
            text_ += fmt::format("/{}", step);
        }
        if (kind == 3) last = most;
        std::vector<unsigned> numbers;
        for (unsigned number = first; number <= last; number += step) numbers.push_back(number);
        return numbers;
    }

    /// Writes a field, a star in `stars` of 100 cases, and returns its numbers in order.
    std::vector<unsigned> field(unsigned least, unsigned most, unsigned stars, std::string_view names = {}) {
        std::vector<unsigned> numbers;
        if (between(1, 100) <= stars) {
            text_ += '*';
            unsigned step = 1;
            if (one_in(2)) {
                step = between(1, most - least);
                text_ += fmt::format("/{}", step);
            }
            for (unsigned number = least; number <= most; number += step) numbers.push_back(number);
            return numbers;
        }
        for (unsigned left = between(1, 3); left > 0; --left) {
            const std::vector<unsigned> more = part(least, most, names);
            numbers.insert(numbers.end(), more.begin(), more.end());
            if (left > 1) text_ += ',';
        }
        std::sort(numbers.begin(), numbers.end());
        numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
        return numbers;
    }

    void days() {
        if (one_in(8)) {
            text_ += '?';
            every_day_ = true;
            day_tests_.emplace_back([](const SecondDate&) { return true; });
            return;
        }
        const std::size_t begin = text_.size();
        if (!one_in(4)) {
            const std::vector<unsigned> numbers = field(1, 31, 50);
            day_tests_.emplace_back([numbers](const SecondDate& date) {
                return std::find(numbers.begin(), numbers.end(), date.day) != numbers.end();
            });
        }
        for (unsigned left = text_.size() == begin ? between(1, 2) : between(0, 1) * between(0, 1); left > 0; --left) {
            if (text_.size() != begin) text_ += ',';
            special_day();
        }
        every_day_ = text_[begin] == '*';
    }

    void special_day() {
        const unsigned number = between(1, 30);
        switch (between(0, 3)) {
            case 0:
                text_ += 'L';
                day_tests_.emplace_back([](const SecondDate& date) { return date.day == date.length; });
                break;
            case 1:
                text_ += fmt::format("L-{}", number);
                day_tests_.emplace_back([number](const SecondDate& date) { return date.day + number == date.length; });
                break;
            case 2:
                text_ += "LW";
                day_tests_.emplace_back([](const SecondDate& date) {
                    unsigned last = date.length;
                    while (!date.at(last).works()) --last;
                    return date.day == last;
                });
                break;
            default:
                text_ += fmt::format("{}W", number);
                day_tests_.emplace_back([number](const SecondDate& date) {
                    if (number > date.length) return false;
                    for (const int away : {0, -1, 1, -2, 2}) {
                        const int day = static_cast<int>(number) + away;
                        if (day < 1 || day > static_cast<int>(date.length)) continue;
                        if (date.at(static_cast<unsigned>(day)).works()) return static_cast<int>(date.day) == day;
                    }
                    return false;
                });
        }
    }

    void weekdays() {
        constexpr std::string_view names = "SUNMONTUEWEDTHUFRISAT";
        if (one_in(8)) {
            text_ += '?';
            every_weekday_ = true;
            weekday_tests_.emplace_back([](const SecondDate&) { return true; });
            return;
        }
        const std::size_t begin = text_.size();
        if (!one_in(4)) {
            const std::vector<unsigned> numbers = field(0, 6, 60, names);
            weekday_tests_.emplace_back([numbers](const SecondDate& date) {
                return std::find(numbers.begin(), numbers.end(), date.weekday) != numbers.end();
            });
        }
        for (unsigned left = text_.size() == begin ? between(1, 2) : between(0, 1) * between(0, 1); left > 0; --left) {
            if (text_.size() != begin) text_ += ',';
            const unsigned on = between(0, 7);
            write(on, 0, names);
            const unsigned which = between(1, 6);
            text_ += which == 6 ? std::string{"L"} : fmt::format("#{}", which);
            weekday_tests_.emplace_back([on, which](const SecondDate& date) {
                if (date.weekday != on % 7) return false;
                if (which == 6) return date.day + 7 > date.length;
                unsigned count = 0;
                for (unsigned day = 1; day <= date.day; ++day) count += date.at(day).weekday == date.weekday ? 1U : 0U;
                return count == which;
            });
        }
        every_weekday_ = text_[begin] == '*';
    }

    std::mt19937_64& random_;
    std::string text_{};
    std::vector<unsigned> seconds_{};
    std::vector<unsigned> minutes_{};
    std::vector<unsigned> hours_{};
    bool every_hour_ = false;
    std::array<bool, 13> months_{};
    std::vector<Test> day_tests_{};
    bool every_day_ = false;
    std::vector<Test> weekday_tests_{};
    bool every_weekday_ = false;
};

}  // namespace backlite_test
