// expect: backlite runs on Linux only so far
// SPDX-License-Identifier: MIT
#undef __linux__
#include <backlite/backlite.hpp>
