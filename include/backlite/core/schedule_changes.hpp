// SPDX-License-Identifier: MIT
#pragma once
// What the calls of a host make of a stored schedule. Pure functions of rows and times.

#include <optional>
#include <string_view>

#include <backlite/base/times.hpp>
#include <backlite/core/recurrence.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/store/slots.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The longest name of a schedule, in bytes.
inline constexpr std::size_t longest_schedule_name = 255;

/// Errors: ConfigError for a name that no schedule can have.
void check_schedule_name(std::string_view name);

/// When the slots of a stored schedule are.
[[nodiscard]] SlotPlace place_in(const store::ScheduleRow& row);

/// A schedule is defined. `wanted`: its name, queue, payload, spec and zone; the rest of it follows from `options`. Of
/// one that is stored, its pause stays unless `paused` is another in its definition. Whether anything changes.
/// Errors: ConfigError that names what cannot be read.
[[nodiscard]] bool define(std::optional<store::ScheduleRow>& row, const store::ScheduleRow& wanted,
                          const ScheduleOptions& options, detail::Ms now);

/// Whether anything changes.
[[nodiscard]] bool pause(store::ScheduleRow& row, detail::Ms now) noexcept;

/// Whether anything changes. Errors: ConfigError if what is stored cannot be read.
[[nodiscard]] bool resume(store::ScheduleRow& row, detail::Ms now);

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/schedule_changes.ipp>
#endif
