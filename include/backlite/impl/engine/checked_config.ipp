// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/checked_config.hpp>.

#include <backlite/engine/checked_config.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

BACKLITE_DECL ClientConfig checked_config(ClientConfig config) {
    const auto demand = [&config](bool good, const char* field, const char* rule, auto value) {
        if (good) return;
        throw ConfigError(detail::format("client on \"{}\": ClientConfig::{} is {}, must be {}",
                                         {config.database, field, value, rule}));
    };
    demand(config.num_workers >= 1 && config.num_workers <= store::most_workers, "num_workers", "between 1 and 1024",
           config.num_workers);
    const auto check_time = [&](Duration time, Duration least, const char* field) {
        constexpr Duration most = std::chrono::hours{24 * 365 * 100};  // far from where clocks overflow
        demand(time >= least && time <= most, field,
               least > Duration::zero() ? "above zero and at most 100 years (ms)" : "zero to 100 years (ms)",
               time.count());
    };
    check_time(config.release_after, Duration{1}, "release_after");
    check_time(config.cleanup_interval, Duration::zero(), "cleanup_interval");
    check_time(config.busy_timeout, Duration::zero(), "busy_timeout");
    check_time(config.stuck.after, Duration::zero(), "stuck.after");
    check_time(config.ageing, Duration::zero(), "ageing");
    check_time(config.watch_interval, Duration::zero(), "watch_interval");
    demand(config.max_payload > 0, "max_payload", "above zero", config.max_payload);
    const auto check_callables = [&](const auto& callables, const char* field) {
        const auto empty = std::find(callables.begin(), callables.end(), nullptr);
        if (empty == callables.end()) return;
        throw ConfigError(detail::format("client on \"{}\": ClientConfig::{}[{}] is empty",
                                         {config.database, field, empty - callables.begin()}));
    };
    check_callables(config.observers, "observers");
    check_callables(config.around, "around");
    return config;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
