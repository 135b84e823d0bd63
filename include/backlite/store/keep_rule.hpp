// SPDX-License-Identifier: MIT
#pragma once
// KeepRule: how a task that has ended is kept.

#include <optional>

#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// How a task that has ended is kept.
struct KeepRule {
    bool row = false;
    bool payload = false;
    Duration time{};  ///< zero: for ever

    /// When the row of a task is deleted that ends at `at`; nullopt: never.
    [[nodiscard]] std::optional<detail::Ms> until(detail::Ms at) const noexcept {
        return time == Duration::zero() ? std::nullopt : std::optional{at + time};
    }
};

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
