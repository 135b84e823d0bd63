// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/slack.hpp>.

#include <algorithm>

#include <backlite/store/sqlite/slack.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::size_t StateColumns::bytes() const noexcept {
    const auto of = [](std::optional<std::int64_t> number) -> std::size_t {
        if (!number || *number == 0 || *number == 1) return 0;
        const auto fits = [&](int bits) {
            const std::int64_t end = std::int64_t{1} << (bits - 1);
            return *number >= -end && *number < end;
        };
        if (fits(8)) return 1;
        if (fits(16)) return 2;
        if (fits(24)) return 3;
        if (fits(32)) return 4;
        return fits(48) ? 6 : 8;
    };
    const std::size_t text = error.value_or(0);
    const std::size_t size_of_text = (text >= 58 ? 1U : 0U) + (text >= 8186 ? 1U : 0U);  // beyond the first byte
    return of(claimed_at) + of(owner) + of(wait_until) + of(last_executed_at) + of(claim) + of(lease) + of(crashes) +
           of(attempts) + of(flags) + text + size_of_text;
}

BACKLITE_DECL Blob Slack::after(std::size_t slack, const StateColumns& before, const StateColumns& now) noexcept {
    const std::size_t all = slack + before.bytes();
    const std::size_t used = now.bytes();
    // Where they do not suffice, the record grows, and is written as a whole: then with room for what comes next.
    return zeros(all >= used + least ? (std::min)(all - used, most) : most);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
