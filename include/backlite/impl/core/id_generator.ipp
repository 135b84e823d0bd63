// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/id_generator.hpp>.

#include <backlite/core/id_generator.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL TaskId IdGenerator::next_locked(detail::Ms time) {
    const auto now = static_cast<std::uint64_t>((std::max)(time, detail::Ms{}).count()) & 0xffff'ffff'ffffU;
    if (now > ms_) {
        ms_ = now;
        high_ = random() & 0x7ff;  // the top bit stays clear, so that a millisecond has room to count
        low_ = random() & low_mask;
    } else {
        low_ += (random() & 0xffff'ffffU) + 1;
        if (low_ > low_mask) {
            low_ &= low_mask;
            if (++high_ > 0xfff) {
                high_ = 0;
                ++ms_;  // used up: borrow from the next millisecond
            }
        }
    }
    return TaskId::from_text(text_of(ms_, high_, low_));
}

BACKLITE_DECL std::string IdGenerator::text_of(std::uint64_t ms, std::uint64_t high, std::uint64_t low) {
    const std::uint64_t first = ms << 16 | 0x7000U | high;                   // version 7
    const std::uint64_t second = std::uint64_t{2} << 62 | (low & low_mask);  // variant 10
    std::string text(36, '-');
    std::size_t at = 0;
    const auto write = [&](std::uint64_t word) {
        for (int shift = 60; shift >= 0; shift -= 4) {
            if (at == 8 || at == 13 || at == 18 || at == 23) ++at;
            text[at++] = "0123456789abcdef"[word >> shift & 0xf];
        }
    };
    write(first);
    write(second);
    return text;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
