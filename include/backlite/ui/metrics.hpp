// SPDX-License-Identifier: MIT
#pragma once
// Metrics in Prometheus' text format 0.0.4, from what the file holds. Every process that shows the file says the same:
// aggregate with max, not sum.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/base/hash.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/text.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// A name as a label's value: backslash, quote and line end escaped, and no two names alike; see visible_name. Of a
/// long one the beginning, and a number made of the whole.
[[nodiscard]] std::string label_value(std::string_view name);

/// A number that is bounded is no sample of the metric that it belongs to: it stands in another, with `_at_least`.
[[nodiscard]] std::string metrics_text(const Metrics& metrics, Ms now);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/metrics.ipp>
#endif
