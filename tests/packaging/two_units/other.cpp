// SPDX-License-Identifier: MIT
#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

const int* version_in_other_unit();

const int* version_in_other_unit() { return &backlite::version_number; }
