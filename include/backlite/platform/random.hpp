// SPDX-License-Identifier: MIT
#pragma once
// Random numbers for ids and backoffs: a seed from the kernel, and SplitMix64 from there. <random> would cost every
// file that includes the library a tenth of a second of compilation.

#include <cstdint>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

/// 64 bits from the kernel. Errors: std::system_error if it has none to give, as before Linux 3.17.
[[nodiscard]] std::uint64_t random_seed();

/// What is added to a state to get the next one.
inline constexpr std::uint64_t random_step = 0x9e37'79b9'7f4a'7c15U;

/// The random number of a state. Source: SplitMix64 (G. Steele, D. Lea, C. Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
[[nodiscard]] constexpr std::uint64_t random_of(std::uint64_t state) noexcept {
    state = (state ^ state >> 30) * 0xbf58'476d'1ce4'e5b9U;
    state = (state ^ state >> 27) * 0x94d0'49bb'1331'11ebU;
    return state ^ state >> 31;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/platform/random.ipp>
#endif
