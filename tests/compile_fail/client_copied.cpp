// expect: deleted
// SPDX-License-Identifier: MIT
#include <backlite/backlite.hpp>

void use(backlite::Client& client) { backlite::Client copy{client}; }
