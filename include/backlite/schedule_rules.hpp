// SPDX-License-Identifier: MIT
#pragma once
// Misfire and Overlap: what a schedule does about slots that were missed, and while its last task is unfinished.

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// What is done about slots of a schedule that were missed: no client looked within a second of them, because none
/// lived, the machine slept, or the clock was set ahead.
enum class Misfire {
    once,  ///< the latest of them runs, for all of them
    all,   ///< each of them runs, but for the oldest where there are more than a bound
    skip,  ///< none of them runs
};

/// What is done about a slot while a task of an earlier slot is unfinished.
enum class Overlap {
    allow,    ///< the slot adds its task all the same
    skip,     ///< the slot is left out
    replace,  ///< the slot adds its task, and the unfinished one is cancelled
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
