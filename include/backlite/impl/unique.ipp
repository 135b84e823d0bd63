// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/unique.hpp>.

#include <backlite/base/format.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL void check_unique(const Unique& unique, std::string_view queue) {
    const auto negative = [&](std::string_view name, Duration time) {
        if (time >= Duration::zero()) return;
        throw ConfigError(format("queue \"{}\": unique.{} is negative: {} ms", {queue, name, time.count()}));
    };
    negative("period", unique.period);
    negative("debounce", unique.debounce);
    negative("max_delay", unique.max_delay);
    if (unique.debounce != Duration::zero() && unique.conflict != Conflict::replace) {
        throw UsageError(format("queue \"{}\": unique.debounce is {} ms, but only Conflict::replace pushes a time",
                                {queue, unique.debounce.count()}));
    }
    if (unique.max_delay != Duration::zero() && unique.debounce == Duration::zero()) {
        throw UsageError(format("queue \"{}\": unique.max_delay is {} ms, but there is no unique.debounce to bound",
                                {queue, unique.max_delay.count()}));
    }
    if (unique.max_delay != Duration::zero() && unique.max_delay < unique.debounce) {
        throw ConfigError(format("queue \"{}\": unique.max_delay is {} ms, less than unique.debounce ({} ms)",
                                 {queue, unique.max_delay.count(), unique.debounce.count()}));
    }
    const bool free_while_running = unique.until == UniqueUntil::started || unique.conflict == Conflict::latest;
    if (unique.period != Duration::zero() && free_while_running) {
        throw UsageError(
            format("queue \"{}\": unique.period is {} ms, but with {} a key does not even count while its task runs",
                   {queue, unique.period.count(),
                    unique.conflict == Conflict::latest ? "Conflict::latest" : "UniqueUntil::started"}));
    }
}

BACKLITE_DECL void check_unique_key(std::string_view key, std::string_view queue) {
    if (key.empty()) throw UsageError(format("queue \"{}\": a unique key is empty", {queue}));
    if (key.size() > longest_unique_key) {
        throw UsageError(
            format("queue \"{}\": a unique key has {} bytes, more than {}", {queue, key.size(), longest_unique_key}));
    }
    if (key.find('\0') != std::string_view::npos) {
        throw UsageError(format("queue \"{}\": a unique key holds a NUL character", {queue}));
    }
    if (!is_utf8(key)) throw UsageError(format("queue \"{}\": a unique key is not UTF-8", {queue}));
}

BACKLITE_DECL bool is_utf8(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t more = lead < 0x80   ? 0
                                 : lead < 0xc2 ? 4
                                 : lead < 0xe0 ? 1
                                 : lead < 0xf0 ? 2
                                 : lead < 0xf5 ? 3
                                               : 4;
        if (more == 4 || text.size() - i <= more) return false;
        for (std::size_t k = 1; k <= more; ++k) {
            if ((static_cast<unsigned char>(text[i + k]) & 0xc0U) != 0x80) return false;
        }
        if (more > 1) {  // neither longer than need be, nor a surrogate, nor beyond U+10FFFF
            const auto second = static_cast<unsigned char>(text[i + 1]);
            if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
                (lead == 0xf4 && second > 0x8f)) {
                return false;
            }
        }
        i += more + 1;
    }
    return true;
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
