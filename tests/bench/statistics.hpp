// SPDX-License-Identifier: MIT
#pragma once
// Medians and percentiles.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace bench {

/// The value below which a share `part` (0 to 1) of the values lies: the nearest rank. 0 for no values.
[[nodiscard]] inline double percentile(std::vector<double> values, double part) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const double rank = std::ceil(part * static_cast<double>(values.size()));
    const auto index = static_cast<std::size_t>((std::max)(rank, 1.0)) - 1;
    return values[(std::min)(index, values.size() - 1)];
}

/// Half of the values lie below it; the mean of the middle two if their number is even. 0 for no values.
[[nodiscard]] inline double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace bench
