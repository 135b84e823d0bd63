// SPDX-License-Identifier: MIT
// BACKLITE_TEST_UNCAPPED=1: all tests of a program wait without a cap. Compiled as that program is, since the library's
// names are others where it is compiled than where it is header-only.

#include <chrono>
#include <cstdlib>
#include <string_view>

#include <backlite/clock.hpp>

#include <uncapped.hpp>

namespace backlite_test {
namespace {

backlite::Duration chosen_cap() {
    const char* const chosen = std::getenv("BACKLITE_TEST_UNCAPPED");
    const bool uncapped = chosen != nullptr && std::string_view{chosen} == "1";
    return uncapped ? backlite::Duration{std::chrono::hours{1}} : backlite::detail::longest_wait();
}

/// Made before any test, and so before any thread of the library.
const LookingAgain whole_program{chosen_cap()};

}  // namespace
}  // namespace backlite_test
