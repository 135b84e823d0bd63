// SPDX-License-Identifier: MIT
#pragma once
// CronFields: what the text of a cron expression says.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The fields of a cron expression as sets of numbers: bit n says that n is in.
struct CronFields {
    std::uint64_t seconds = 0;
    std::uint64_t minutes = 0;
    std::uint32_t hours = 0;
    std::uint32_t days = 0;              ///< of the month: 1 to 31
    std::uint32_t days_before_last = 0;  ///< "L" is 0, "L-3" is 3
    std::uint32_t working_days = 0;  ///< "15W": the day from Monday to Friday of that month that is nearest to the 15th
    bool last_working_day = false;   ///< "LW"
    std::uint32_t months = 0;        ///< 1 to 12
    std::uint32_t weekdays = 0;      ///< 0 to 6: 0 is Sunday
    std::array<std::uint32_t, 7> nth{};  ///< "5#2": nth[5] has bit 2, for the second Friday of the month
    std::uint32_t last_weekdays = 0;     ///< "5L": the last Friday of the month

    // Whether the field begins with "*", or is "?".
    bool every_hour = false;
    bool every_day = false;
    bool every_weekday = false;

    /// Reads five fields (minute, hour, day of month, month, day of week), six with seconds first, or a name such as
    /// "@daily". Errors: ConfigError that names the expression, the field and the value: a value that is none or is out
    /// of range, a range that runs backwards, a step of nothing or beyond the field, an expression that no date
    /// matches.
    [[nodiscard]] static CronFields parse(std::string_view expression);

    /// The days of a month that match, as bits. Day of month and day of week combine as in crontab(5): if both are
    /// restricted, a day matches that matches one of them.
    [[nodiscard]] std::uint32_t days_of(unsigned length, std::chrono::weekday first) const noexcept;

    /// The first time of day that matches and is not before `time`.
    [[nodiscard]] std::optional<std::chrono::seconds> time_from(std::chrono::seconds time) const noexcept;

private:
    class Field;

    /// Takes what is neither a number nor a range, or says false. Errors: as `parse`.
    bool take_day(const Field& field, std::string_view part);
    bool take_weekday(const Field& field, std::string_view part);

    [[nodiscard]] bool any_date() const noexcept;
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/cron_fields.ipp>
#endif
