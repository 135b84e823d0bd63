// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/config.hpp>.

#include <backlite/config.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Backoff Backoff::exponential(ExponentialBackoff rule) {
    Backoff backoff;
    backoff.kind_ = Kind::exponential;
    backoff.rule_ = rule;
    return backoff;
}

BACKLITE_DECL Backoff Backoff::custom(std::function<Duration(int attempt)> wait) {
    Backoff backoff;
    backoff.kind_ = Kind::custom;
    backoff.custom_ = std::move(wait);
    return backoff;
}

BACKLITE_DECL Duration Backoff::delay(int attempt, std::uint64_t random) const {
    if (kind_ == Kind::fixed) return fixed_;
    if (kind_ == Kind::custom) return custom_(attempt);
    const ExponentialBackoff& rule = rule_;
    if (rule.initial == Duration::zero()) return Duration::zero();  // below, zero times infinity is no number
    const auto most = static_cast<double>(rule.max.count());
    const double unit = static_cast<double>(random >> 11) / static_cast<double>(std::uint64_t{1} << 53);  // [0, 1)
    const double spread = 1.0 + rule.jitter * (2.0 * unit - 1.0);
    const double wait = static_cast<double>(rule.initial.count()) * std::pow(rule.factor, attempt - 1);
    // The cap comes before the spread too: waits at the cap spread downwards instead of meeting there.
    const double spread_wait = (wait < most ? wait : most) * spread;
    // The cap as it was given: as a double it may be more than a Duration holds.
    return spread_wait < most ? Duration{static_cast<Duration::rep>(std::ceil(spread_wait))} : rule.max;
}

BACKLITE_DECL void Backoff::validate(const std::string& queue) const {
    if (kind_ == Kind::fixed) {
        if (fixed_ < Duration::zero()) {
            throw ConfigError(detail::format("queue \"{}\": backoff is negative: {} ms", {queue, fixed_.count()}));
        }
        return;
    }
    if (kind_ == Kind::custom) {
        if (!custom_) throw ConfigError(detail::format("queue \"{}\": the custom backoff is empty", {queue}));
        return;
    }
    const ExponentialBackoff& rule = rule_;
    if (rule.initial < Duration::zero() || rule.max < Duration::zero()) {
        throw ConfigError(
            detail::format("queue \"{}\": exponential backoff has a negative time: initial {} ms, max {} ms",
                           {queue, rule.initial.count(), rule.max.count()}));
    }
    if (!(rule.factor >= 1.0) || !std::isfinite(rule.factor)) {
        throw ConfigError(
            detail::format("queue \"{}\": exponential backoff has a factor below 1: {}", {queue, rule.factor}));
    }
    if (!(rule.jitter >= 0.0 && rule.jitter <= 1.0)) {
        throw ConfigError(detail::format("queue \"{}\": jitter is not between 0 and 1: {}", {queue, rule.jitter}));
    }
}

BACKLITE_DECL void Limits::validate(const std::string& queue) const {
    const auto count = [&queue](std::string_view field, int value) {
        if (value >= 0) return;
        throw ConfigError(detail::format("queue \"{}\": limits.{} is negative: {}", {queue, field, value}));
    };
    const auto check_rate = [&](std::string_view field, const Rate& limit) {
        count(std::string{field} + ".count", limit.count);
        count(std::string{field} + ".burst", limit.burst);
        if (limit == Rate{}) return;
        if (limit.count == 0) {
            throw ConfigError(
                detail::format("queue \"{}\": limits.{}.count is 0: no task would ever start; pause the queue for that",
                               {queue, field}));
        }
        if (limit.period <= Duration::zero() || limit.period > std::chrono::hours{24 * 36'525}) {
            throw ConfigError(
                detail::format("queue \"{}\": limits.{}.period is {} ms, must be above zero and at most 100 years",
                               {queue, field, limit.period.count()}));
        }
    };
    count("running", running);
    count("running_per_partition", running_per_partition);
    count("running_per_client", running_per_client);
    check_rate("rate", rate);
    check_rate("rate_per_partition", rate_per_partition);
    if (in_order && running_per_partition > 1) {
        throw ConfigError(detail::format(
            "queue \"{}\": limits.running_per_partition is {} beside in_order, which means one at a time",
            {queue, running_per_partition}));
    }
}

BACKLITE_DECL void detail::check_partition(std::string_view partition, std::string_view queue) {
    if (partition.size() > longest_partition) {
        throw UsageError(format("queue \"{}\": a partition has {} bytes, more than {}",
                                {queue, partition.size(), longest_partition}));
    }
    if (partition.find('\0') != std::string_view::npos) {
        throw UsageError(format("queue \"{}\": a partition holds a NUL character", {queue}));
    }
    if (!is_utf8(partition)) throw UsageError(format("queue \"{}\": a partition is not UTF-8", {queue}));
}

BACKLITE_DECL void QueueConfig::validate() const {
    if (name.empty()) throw ConfigError("a queue has an empty name: set QueueConfig::name");
    if (name.find('\0') != std::string::npos) throw ConfigError("a queue's name holds a NUL character");
    if (max_attempts < 1) {
        throw ConfigError(detail::format("queue \"{}\": max_attempts is {}, must be at least 1", {name, max_attempts}));
    }
    if (max_crashes < 1) {
        throw ConfigError(detail::format("queue \"{}\": max_crashes is {}, must be at least 1", {name, max_crashes}));
    }
    if (timeout < Duration::zero()) {
        throw ConfigError(detail::format("queue \"{}\": timeout is negative: {} ms", {name, timeout.count()}));
    }
    if (retention && retention->duration < Duration::zero()) {
        throw ConfigError(
            detail::format("queue \"{}\": retention is negative: {} ms", {name, retention->duration.count()}));
    }
    if (priority < least_priority || priority > most_priority) {
        throw ConfigError(detail::format("queue \"{}\": priority is {}, must be {} to {}",
                                         {name, priority, least_priority, most_priority}));
    }
    if (expires_after < Duration::zero()) {
        throw ConfigError(
            detail::format("queue \"{}\": expires_after is negative: {} ms", {name, expires_after.count()}));
    }
    limits.validate(name);
    detail::check_unique(unique, name);
    if (max_waiting > most_waiting) {
        throw ConfigError(
            detail::format("queue \"{}\": max_waiting is {}, more than {}", {name, max_waiting, most_waiting}));
    }
    if (overflow < Overflow::reject || overflow > Overflow::wait) {
        throw ConfigError(
            detail::format("queue \"{}\": overflow is none of its values: {}", {name, static_cast<int>(overflow)}));
    }
    backoff.validate(name);
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
