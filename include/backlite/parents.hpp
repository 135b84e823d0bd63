// SPDX-License-Identifier: MIT
#pragma once
// Tasks that wait for other tasks: `add(b).after(ids)` and `add(a).then(b)`.

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// What becomes of a task once one of its parents has failed, or was cancelled, or has expired.
enum class OnParentFailure {
    cancel,  ///< it ends as cancelled, and so do those that wait for it
    run,     ///< it starts all the same, once all of them have ended
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
