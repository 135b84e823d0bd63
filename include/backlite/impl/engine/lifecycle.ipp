// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/lifecycle.hpp>.

#include <backlite/engine/lifecycle.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL Lifecycle Life::state(std::uint64_t run) const noexcept {
    const std::uint64_t word = word_.load();
    return word / states == run ? state_of(word) : Lifecycle::stopped;
}

BACKLITE_DECL Lifecycle Life::apply(LifeEvent event) noexcept {
    std::uint64_t before = word_.load();
    while (!word_.compare_exchange_weak(before, next(before, event))) {
    }
    return state_of(next(before, event));
}

BACKLITE_DECL void Life::apply(LifeEvent event, std::uint64_t run) noexcept {
    std::uint64_t before = word_.load();
    while (before / states == run && !word_.compare_exchange_weak(before, next(before, event))) {
    }
}

BACKLITE_DECL std::uint64_t Life::next(std::uint64_t word, LifeEvent event) noexcept {
    const Lifecycle state = after(state_of(word), event);
    const bool begins = state == Lifecycle::starting && state_of(word) == Lifecycle::stopped;
    return (word / states + (begins ? 1 : 0)) * states + static_cast<std::uint64_t>(state);
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
