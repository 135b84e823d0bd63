// SPDX-License-Identifier: MIT
#pragma once
// How a fuzz target says that the library did what it must not do.

#include <cstdio>
#include <cstdlib>
#include <string>

namespace backlite_fuzz {

/// Ends the process if `held` is false: libFuzzer then keeps the input.
inline void demand(bool held, const std::string& rule) {
    if (held) return;
    std::fprintf(stderr, "broken: %s\n", rule.c_str());
    std::abort();
}

}  // namespace backlite_fuzz
