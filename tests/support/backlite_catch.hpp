// SPDX-License-Identifier: MIT
#pragma once
// Catch2 of either kind: version 3 where it is installed, the single header of version 2 elsewhere. It prints our
// times.

#include <string>

#include <backlite/base/times.hpp>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // version 2 has it at namespace scope
#else
#include <catch2/catch.hpp>

namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }  // as version 3 calls it
}  // namespace Catch::Matchers
#endif

namespace Catch {
template <class Unit>
struct StringMaker<backlite::detail::StoredTime<Unit>> {
    static std::string convert(backlite::detail::StoredTime<Unit> time) { return std::to_string(time.count()); }
};
}  // namespace Catch
