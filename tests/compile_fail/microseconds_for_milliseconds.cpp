// expect: 1000000>
// SPDX-License-Identifier: MIT
#include <backlite/base/times.hpp>

backlite::detail::Ms due(backlite::TimePoint now) { return backlite::detail::due_after(now, backlite::detail::Us{5}); }
