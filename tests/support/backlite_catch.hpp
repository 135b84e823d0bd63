// SPDX-License-Identifier: MIT
#pragma once
// Catch2 of either kind: version 3 where it is installed, the single header of version 2 elsewhere.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // version 2 has it at namespace scope
#else
#include <catch2/catch.hpp>

#include <string>

namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }  // as version 3 calls it
}  // namespace Catch::Matchers
#endif
