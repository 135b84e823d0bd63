// SPDX-License-Identifier: MIT
#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

const int* version_in_other_unit();

// One library, not one per translation unit.
int main() { return &backlite::version_number == version_in_other_unit() ? 0 : 1; }
