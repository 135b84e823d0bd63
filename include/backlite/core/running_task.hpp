// SPDX-License-Identifier: MIT
#pragma once
// A task inside its processor.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <backlite/context.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// A task inside its processor.
struct RunningTask {
    TaskId id{};
    std::int64_t claim = 0;
    std::size_t queue = 0;
    std::int64_t crashes = 0;
    std::chrono::steady_clock::time_point started{};
    std::shared_ptr<detail::StopSignal> signal{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
