// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/cron_fields.hpp>.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/cron_fields.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// Reads one field into a set.
class CronFields::Field {
public:
    /// `names`: three letters each, for `least` and what follows; may be empty.
    Field(std::string_view expression, std::string_view title, std::string_view text, unsigned least, unsigned most,
          std::string_view names = {}) noexcept
        : expression_(expression), title_(title), text_(text), least_(least), most_(most), names_(names) {}

    [[nodiscard]] bool unrestricted() const noexcept { return text_.front() == '*'; }

    /// Calls `special` with each part of the list first; what it does not take is a number, a range or a step.
    template <class Special>
    [[nodiscard]] std::uint64_t read(Special special) const {
        std::uint64_t found = 0;
        for (std::string_view left = text_;;) {
            const std::size_t comma = left.find(',');
            const std::string_view part = left.substr(0, comma);
            if (!special(part)) found |= numbers(part);
            if (comma == std::string_view::npos) return found;
            left.remove_prefix(comma + 1);
        }
    }
    [[nodiscard]] std::uint64_t read() const {
        return read([](std::string_view) { return false; });
    }

    [[noreturn]] void refuse(std::string_view value, std::string_view reason) const {
        throw ConfigError(detail::format("cron expression \"{}\": {} \"{}\": {}",
                                         {detail::shown(expression_, 200), title_, detail::shown(value, 200), reason}));
    }

    /// A number in `least` to `most`, which stands for `part` or is in it; nullopt if the text is no number.
    [[nodiscard]] std::optional<unsigned> plain(std::string_view text, unsigned least, unsigned most,
                                                std::string_view part) const {
        unsigned number = 0;
        for (const char c : text) {
            if (c < '0' || c > '9') return std::nullopt;
            number = number > most ? number : number * 10 + static_cast<unsigned>(c - '0');
        }
        if (text.empty()) return std::nullopt;
        if (number < least || number > most) {
            refuse(part, detail::format("only {} to {} will do", {least, most}));
        }
        return number;
    }

    /// A number or a name of this field.
    [[nodiscard]] std::optional<unsigned> value(std::string_view text, std::string_view part) const {
        if (text.size() == 3) {
            for (std::size_t i = 0; i + 3 <= names_.size(); i += 3) {
                if (same_letters(text, names_.substr(i, 3))) return least_ + static_cast<unsigned>(i / 3);
            }
        }
        return plain(text, least_, most_, part);
    }

private:
    static bool same_letters(std::string_view text, std::string_view capitals) noexcept {
        for (std::size_t i = 0; i < capitals.size(); ++i) {
            const char c = text[i] >= 'a' && text[i] <= 'z' ? static_cast<char>(text[i] - 'a' + 'A') : text[i];
            if (c != capitals[i]) return false;
        }
        return true;
    }

    [[nodiscard]] unsigned wanted(std::string_view text, std::string_view part) const {
        const auto found = value(text, part);
        if (!found) refuse(part, names_.empty() ? "this is no number" : "this is no number and no name of one");
        return *found;
    }

    /// "*", "5", "5-9", each with "/2" behind it or not.
    [[nodiscard]] std::uint64_t numbers(std::string_view part) const {
        const std::size_t slash = part.find('/');
        const std::string_view range = part.substr(0, slash);
        const std::size_t dash = range.find('-');
        const bool days_of_week = most_ == 7;  // the only field with two numbers for one thing: 0 and 7
        unsigned first = least_;
        unsigned last = days_of_week ? 6 : most_;
        unsigned step = 1;
        if (slash != std::string_view::npos) {
            const std::string_view text = part.substr(slash + 1);
            const auto found = plain(text, 1, last - least_ + 1, part);
            if (!found) refuse(part, "its step is no number");
            step = *found;
        }
        if (range != "*") {
            const std::string_view from = range.substr(0, dash);
            first = wanted(from, part);
            if (dash != std::string_view::npos) {
                const std::string_view to = range.substr(dash + 1);
                last = wanted(to, part);
                // A week that ends with Sunday by its name ends with 7.
                if (days_of_week && last == 0 && first > 0 && to.size() == 3) last = 7;
                if (last < first) refuse(part, "this range runs backwards");
            } else if (slash == std::string_view::npos) {
                last = first;
            } else if (first > last) {
                first = least_;  // 7 is 0
            }
        }
        std::uint64_t found = 0;
        for (unsigned number = first; number <= last; number += step) {
            found |= std::uint64_t{1} << (days_of_week && number == 7 ? 0 : number);
        }
        return found;
    }

    std::string_view expression_;
    std::string_view title_;
    std::string_view text_;
    unsigned least_;
    unsigned most_;
    std::string_view names_;
};

BACKLITE_DECL bool CronFields::take_day(const Field& field, std::string_view part) {
    if (part == "L") {
        days_before_last |= 1U;
    } else if (part == "LW") {
        last_working_day = true;
    } else if (part.substr(0, 2) == "L-") {
        const auto before = field.plain(part.substr(2), 1, 30, part);
        if (!before) field.refuse(part, "behind \"L-\" a number of days is wanted");
        days_before_last |= 1U << *before;
    } else if (part.size() > 1 && part.back() == 'W') {
        const auto near_to = field.plain(part.substr(0, part.size() - 1), 1, 31, part);
        if (!near_to) field.refuse(part, "before \"W\" a day of the month is wanted");
        working_days |= 1U << *near_to;
    } else {
        return false;
    }
    return true;
}

BACKLITE_DECL bool CronFields::take_weekday(const Field& field, std::string_view part) {
    const std::size_t hash = part.find('#');
    const bool last = hash == std::string_view::npos;
    if (last && (part.size() < 2 || part.back() != 'L')) return false;
    const auto on = field.value(part.substr(0, last ? part.size() - 1 : hash), part);
    if (!on)
        field.refuse(part,
                     last ? "before \"L\" a day of the week is wanted" : "before \"#\" a day of the week is wanted");
    if (last) {
        last_weekdays |= 1U << *on % 7;
        return true;
    }
    const auto which = field.plain(part.substr(hash + 1), 1, 5, part);
    if (!which) field.refuse(part, "behind \"#\" a number is wanted");
    nth[*on % 7] |= 1U << *which;
    return true;
}

BACKLITE_DECL CronFields CronFields::parse(std::string_view expression) {
    constexpr std::size_t longest = 1'000;
    const auto refuse = [&](std::string_view reason) {
        throw ConfigError(detail::format("cron expression \"{}\": {}", {detail::shown(expression, 200), reason}));
    };
    if (expression.size() > longest) refuse("it is longer than 1,000 characters");

    std::array<std::string_view, 6> texts{};
    std::size_t count = 0;
    constexpr std::string_view blanks = " \t\r\n";
    for (std::size_t at = expression.find_first_not_of(blanks); at != std::string_view::npos;) {
        const std::size_t end = (std::min)(expression.find_first_of(blanks, at), expression.size());
        if (count == texts.size()) refuse("it has more than six fields");
        texts[count++] = expression.substr(at, end - at);
        at = expression.find_first_not_of(blanks, end);
    }
    if (count == 0) refuse("it is empty");

    if (texts[0].front() == '@') {
        constexpr std::array<std::pair<std::string_view, std::array<std::string_view, 5>>, 7> names{{
            {"@yearly", {"0", "0", "1", "1", "*"}},
            {"@annually", {"0", "0", "1", "1", "*"}},
            {"@monthly", {"0", "0", "1", "*", "*"}},
            {"@weekly", {"0", "0", "*", "*", "0"}},
            {"@daily", {"0", "0", "*", "*", "*"}},
            {"@midnight", {"0", "0", "*", "*", "*"}},
            {"@hourly", {"0", "*", "*", "*", "*"}},
        }};
        const auto* found = names.begin();
        while (found != names.end() && found->first != texts[0]) ++found;
        if (found == names.end() || count != 1) {
            refuse(
                "of names there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly, each alone");
        }
        for (count = 0; count < 5; ++count) texts[count] = found->second[count];
    }
    if (count < 5) refuse("it has fewer than five fields: minute, hour, day of month, month, day of week");

    const auto or_every = [](std::string_view text) { return text == "?" ? std::string_view{"*"} : text; };
    std::string_view second = "0";
    std::size_t i = 0;
    if (count == 6) second = texts[i++];
    CronFields fields;
    fields.seconds = Field{expression, "second", second, 0, 59}.read();
    fields.minutes = Field{expression, "minute", texts[i++], 0, 59}.read();

    const Field hour{expression, "hour", texts[i++], 0, 23};
    fields.hours = static_cast<std::uint32_t>(hour.read());
    fields.every_hour = hour.unrestricted();

    const Field day{expression, "day of month", or_every(texts[i++]), 1, 31};
    fields.every_day = day.unrestricted();
    fields.days =
        static_cast<std::uint32_t>(day.read([&](std::string_view part) { return fields.take_day(day, part); }));

    fields.months = static_cast<std::uint32_t>(
        Field{expression, "month", texts[i++], 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"}.read());

    const Field weekday{expression, "day of week", or_every(texts[i++]), 0, 7, "SUNMONTUEWEDTHUFRISAT"};
    fields.every_weekday = weekday.unrestricted();
    fields.weekdays = static_cast<std::uint32_t>(
        weekday.read([&](std::string_view part) { return fields.take_weekday(weekday, part); }));

    if (!fields.any_date()) refuse("no date matches its day of month, month and day of week");
    return fields;
}

BACKLITE_DECL bool CronFields::any_date() const noexcept {
    constexpr std::array<unsigned, 13> lengths{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (unsigned month = 1; month <= 12; ++month) {
        if ((months >> month & 1U) == 0) continue;
        // Within 400 years each month begins on each day of the week, with each length that it has.
        for (unsigned first = 0; first < 7; ++first) {
            if (days_of(lengths[month], std::chrono::weekday{first}) != 0) return true;
            if (month == 2 && days_of(28, std::chrono::weekday{first}) != 0) return true;
        }
    }
    return false;
}

BACKLITE_DECL std::uint32_t CronFields::days_of(unsigned length, std::chrono::weekday first) const noexcept {
    const auto weekday_of = [&](unsigned day) { return (first.c_encoding() + day - 1) % 7; };
    const auto working_day_at = [&](unsigned day) {
        if (weekday_of(day) == 6) return day > 1 ? day - 1 : day + 2;
        if (weekday_of(day) == 0) return day < length ? day + 1 : day - 2;
        return day;
    };
    std::uint32_t by_day = days;
    std::uint32_t by_weekday = 0;
    for (unsigned day = 1; day <= length; ++day) {
        if ((days_before_last >> (length - day) & 1U) != 0) by_day |= 1U << day;
        if ((working_days >> day & 1U) != 0) by_day |= 1U << working_day_at(day);
        const unsigned on = weekday_of(day);
        const bool in = (weekdays >> on & 1U) != 0 || (nth[on] >> (day + 6) / 7 & 1U) != 0 ||
                        (day + 7 > length && (last_weekdays >> on & 1U) != 0);
        if (in) by_weekday |= 1U << day;
    }
    if (last_working_day) {
        const unsigned on = weekday_of(length);
        by_day |= 1U << (on == 0 ? length - 2 : on == 6 ? length - 1 : length);
    }
    by_day &= ~std::uint32_t{0} >> (31 - length);
    // Both must match where one of them begins with "*": "*/2" is a restriction all the same.
    return every_day || every_weekday ? by_day & by_weekday : by_day | by_weekday;
}

BACKLITE_DECL std::optional<std::chrono::seconds> CronFields::time_from(std::chrono::seconds time) const noexcept {
    const auto from = [](std::uint64_t set, unsigned number) {
        return number + static_cast<unsigned>(std::countr_zero(set >> number));
    };
    const std::chrono::hh_mm_ss wanted{time};
    auto hour = static_cast<unsigned>(wanted.hours().count());
    auto minute = static_cast<unsigned>(wanted.minutes().count());
    auto second = static_cast<unsigned>(wanted.seconds().count());
    // Each set has bits below 64 only, so that an empty rest of a set is found as 64 or more.
    if ((hours >> hour & 1U) == 0) minute = second = 0;
    if ((minutes >> minute & 1U) == 0) second = 0;
    second = from(seconds, second);
    if (second > 59) {
        second = from(seconds, 0);
        ++minute;
    }
    minute = from(minutes, minute);
    if (minute > 59) {
        minute = from(minutes, 0);
        second = from(seconds, 0);
        ++hour;
    }
    hour = from(hours, hour);
    if (hour > 23) return std::nullopt;
    return std::chrono::hours{hour} + std::chrono::minutes{minute} + std::chrono::seconds{second};
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
