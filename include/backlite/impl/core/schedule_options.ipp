// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/schedule_options.hpp>.

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/config.hpp>
#include <backlite/core/schedule_options.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// The names of values as they are stored, in the order of the values. Never renamed.
template <class E, std::size_t N>
struct StoredNames {
    std::array<std::pair<E, std::string_view>, N> names;

    [[nodiscard]] std::string of(E value) const {
        for (const auto& [each, name] : names) {
            if (each == value) return std::string{name};
        }
        throw ConfigError(detail::format("a schedule with a value that has no name: {}", {static_cast<int>(value)}));
    }
    [[nodiscard]] std::optional<E> read(std::string_view text) const {
        for (const auto& [each, name] : names) {
            if (name == text) return each;
        }
        return std::nullopt;
    }
};

inline constexpr StoredNames<Misfire, 3> misfire_names{
    {{{Misfire::once, "once"}, {Misfire::all, "all"}, {Misfire::skip, "skip"}}}};
inline constexpr StoredNames<Overlap, 3> overlap_names{
    {{{Overlap::allow, "allow"}, {Overlap::skip, "skip"}, {Overlap::replace, "replace"}}}};
inline constexpr StoredNames<Overflow, 3> overflow_names{
    {{{Overflow::reject, "reject"}, {Overflow::drop_oldest, "drop_oldest"}, {Overflow::wait, "wait"}}}};
inline constexpr StoredNames<Conflict, 5> conflict_names{{{{Conflict::none, "none"},
                                                           {Conflict::keep, "keep"},
                                                           {Conflict::reject, "reject"},
                                                           {Conflict::replace, "replace"},
                                                           {Conflict::latest, "latest"}}}};

BACKLITE_DECL std::string ScheduleOptions::text() const {
    const ScheduleOptions usual;
    nlohmann::json object = nlohmann::json::object();
    if (missed.misfire != usual.missed.misfire) object["misfire"] = misfire_names.of(missed.misfire);
    if (missed.max_missed != usual.missed.max_missed) object["max_missed"] = missed.max_missed;
    if (overlap != usual.overlap) object["overlap"] = overlap_names.of(overlap);
    if (jitter != usual.jitter) object["jitter_ms"] = jitter.count();
    if (start_deadline != usual.start_deadline) object["start_deadline_ms"] = start_deadline.count();
    if (paused) object["paused"] = true;
    if (priority != usual.priority) object["priority"] = priority;
    if (expires_after != usual.expires_after) object["expires_after_ms"] = expires_after.count();
    if (unique.conflict != Conflict::none) {
        nlohmann::json key = {{"conflict", conflict_names.of(unique.conflict)}, {"key", unique.key}};
        if (unique.until_started) key["until_started"] = true;
        if (unique.period != Duration::zero()) key["period_ms"] = unique.period.count();
        if (unique.keep_row) key["keep_row"] = true;
        if (unique.keep_payload) key["keep_payload"] = true;
        if (unique.keep_time != Duration::zero()) key["keep_ms"] = unique.keep_time.count();
        object["unique"] = std::move(key);
    }
    if (partition) {
        nlohmann::json lane = {{"name", partition->name}};
        if (partition->turns != 0) lane["turns"] = partition->turns;
        if (partition->in_order) lane["in_order"] = true;
        if (partition->rate) lane["rate"] = true;
        object["partition"] = std::move(lane);
    }
    if (max_waiting > 0) {
        object["max_waiting"] = max_waiting;
        if (overflow != Overflow::reject) object["overflow"] = overflow_names.of(overflow);
    }
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Reads members of a JSON object, each of which may be missing.
class StoredMembers {
public:
    explicit StoredMembers(nlohmann::json object) : object_(std::move(object)) {
        if (object_.is_object()) return;
        throw ConfigError("the options of a schedule are no JSON object");
    }
    explicit StoredMembers(std::string_view text)
        : StoredMembers(nlohmann::json::parse(text.begin(), text.end(), nullptr, false)) {}

    [[nodiscard]] std::int64_t number(const char* name, std::int64_t usual, std::int64_t least,
                                      std::int64_t most) const {
        const auto found = object_.find(name);
        if (found == object_.end()) return usual;
        if (!found->is_number_integer()) refuse(name);
        if (found->is_number_unsigned() &&
            found->template get<std::uint64_t>() > static_cast<std::uint64_t>(detail::most_number)) {
            refuse(name);
        }
        const auto value = found->template get<std::int64_t>();
        if (value < least || value > most) refuse(name);
        return value;
    }
    [[nodiscard]] Duration time(const char* name) const { return Duration{number(name, 0, 0, detail::most_number)}; }
    [[nodiscard]] std::string words(const char* name) const {
        const auto found = object_.find(name);
        if (found == object_.end()) return {};
        if (!found->is_string()) refuse(name);
        return found->template get<std::string>();
    }
    [[nodiscard]] bool truth(const char* name) const {
        const auto found = object_.find(name);
        if (found == object_.end()) return false;
        if (!found->is_boolean()) refuse(name);
        return found->template get<bool>();
    }
    [[nodiscard]] std::optional<StoredMembers> object(const char* name) const {
        if (!object_.contains(name)) return std::nullopt;
        return StoredMembers(object_[name]);
    }
    template <class E, std::size_t N>
    [[nodiscard]] E one_of(const char* name, const StoredNames<E, N>& names, E usual) const {
        if (!object_.contains(name)) return usual;
        const std::optional<E> read = names.read(words(name));
        if (!read) refuse(name);
        return *read;
    }

private:
    [[noreturn]] void refuse(const char* name) const {
        throw ConfigError(detail::format(
            "the options of a schedule: {} cannot be {}",
            {name, detail::shown(object_[name].dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), 64)}));
    }

    const nlohmann::json object_;
};

BACKLITE_DECL ScheduleOptions ScheduleOptions::read(std::string_view text) {
    ScheduleOptions options;
    if (text.empty()) return options;
    const StoredMembers members(text);
    options.missed.misfire = members.one_of("misfire", misfire_names, options.missed.misfire);
    options.missed.max_missed = static_cast<std::size_t>(
        members.number("max_missed", static_cast<std::int64_t>(options.missed.max_missed), 1, most_missed));
    options.overlap = members.one_of("overlap", overlap_names, options.overlap);
    options.jitter = members.time("jitter_ms");
    options.start_deadline = members.time("start_deadline_ms");
    options.paused = members.truth("paused");
    options.priority = static_cast<int>(members.number("priority", 0, least_priority, most_priority));
    options.expires_after = members.time("expires_after_ms");
    options.max_waiting = static_cast<std::size_t>(members.number("max_waiting", 0, 1, detail::most_number));
    options.overflow = members.one_of("overflow", overflow_names, options.overflow);
    if (const auto lane = members.object("partition")) {
        options.partition.emplace();
        options.partition->name = lane->words("name");
        options.partition->turns = static_cast<int>(lane->number("turns", 0, 0, (std::numeric_limits<int>::max)()));
        options.partition->in_order = lane->truth("in_order");
        options.partition->rate = lane->truth("rate");
    }
    if (const auto key = members.object("unique")) {
        options.unique.conflict = key->one_of("conflict", conflict_names, Conflict::none);
        options.unique.key = key->words("key");
        options.unique.until_started = key->truth("until_started");
        options.unique.period = key->time("period_ms");
        options.unique.keep_row = key->truth("keep_row");
        options.unique.keep_payload = key->truth("keep_payload");
        options.unique.keep_time = key->time("keep_ms");
    }
    return options;
}

BACKLITE_DECL void ScheduleOptions::take(const detail::NewTask& task) {
    priority = task.priority;
    expires_after = task.expires_after;
    if (task.bounded != nullptr) {
        max_waiting = (std::min)(task.bounded->max_waiting, static_cast<std::size_t>(detail::most_number));
        overflow = task.bounded->overflow;
    }
    if (const auto& lane = task.partition)
        partition = ScheduleLane{lane->name, lane->turns, lane->in_order, lane->rate};
    if (!task.unique) return;
    const detail::UniqueAdd& key = *task.unique;
    unique = {key.conflict, key.key, key.until_started, key.period, key.keep_row, key.keep_payload, key.keep_time};
}

BACKLITE_DECL detail::NewTask ScheduleOptions::task() const {
    detail::NewTask task;
    task.priority = priority;
    task.expires_after = expires_after;
    if (partition) {
        task.partition = std::make_shared<detail::PartitionAdd>();
        task.partition->name = partition->name;
        task.partition->turns = partition->turns;
        task.partition->in_order = partition->in_order;
        task.partition->rate = partition->rate;
    }
    if (unique.conflict == Conflict::none) return task;
    task.unique = std::make_shared<detail::UniqueAdd>();
    task.unique->key = unique.key;
    // Nobody is there to be told: the one that has the key counts for both.
    task.unique->conflict = unique.conflict == Conflict::reject ? Conflict::keep : unique.conflict;
    task.unique->until_started = unique.until_started;
    task.unique->period = unique.period;
    task.unique->keep_row = unique.keep_row;
    task.unique->keep_payload = unique.keep_payload;
    task.unique->keep_time = unique.keep_time;
    return task;
}

BACKLITE_DECL std::shared_ptr<const QueueConfig> ScheduleOptions::bound(const std::string& queue) const {
    if (max_waiting == 0) return nullptr;
    auto config = std::make_shared<QueueConfig>();
    config->name = queue;
    config->max_waiting = max_waiting;
    config->overflow = overflow;
    return config;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
