// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin/flow_steps.hpp>.

#include <charconv>
#include <exception>
#include <string>

#include <backlite/admin/flow_steps.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/base/json.hpp>
#include <backlite/core/flow_history.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// The text of a record's JSON string; as it is if that cannot be read.
[[nodiscard]] BACKLITE_DECL std::string text_of(const std::string& json) {
    try {
        return detail::read_json<std::string>(json);
    } catch (const std::exception&) {
        return json;
    }
}

/// A record of what waits, or is a map.
BACKLITE_DECL void read_waiting(const std::string& json, detail::Ms now, StepRecord& step) {
    if (step.kind == "map") {
        step.tasks = core::number_in(json, "n").value_or(0);
        step.state = core::number_in(json, "k") ? StepState::joining : StepState::returned;
        return;
    }
    const auto due = core::number_in(json, "d");
    if (!due) return;
    const detail::Ms until{*due};
    if (step.kind == "sleep") {
        step.state = until > now ? StepState::sleeping : StepState::returned;
    } else if (step.kind == "wait") {
        step.state = until == detail::Ms::earliest() ? StepState::timed_out : StepState::waiting;
    } else {
        step.state = StepState::retrying;
        step.failures = core::number_in(json, "n").value_or(0);
        try {
            step.error = detail::parse_payload<nlohmann::json>(json).at("e").get<std::string>();
        } catch (const std::exception&) {  // a number of failures is what is known
        }
    }
    if (step.state != StepState::returned && step.state != StepState::timed_out) step.until = detail::from_ms(until);
}

BACKLITE_DECL std::optional<StepRecord> step_of(const store::sqlite::TaskFactReads::FlowValue& value, detail::Ms now) {
    const std::string_view key = value.name;
    const std::size_t colon = key.find(':');
    const std::size_t sign = key.rfind('#');
    if (colon == key.npos || sign == key.npos || sign < colon) return std::nullopt;
    StepRecord step;
    step.kind = key.substr(0, colon);
    step.name = key.substr(colon + 1, sign - colon - 1);
    std::from_chars(key.data() + sign + 1, key.data() + key.size(), step.occurrence);
    step.written = detail::from_ms(value.at);
    if (!value.json) return step;  // only what has returned is so large
    step.state = StepState::unreadable;
    if (value.json->starts_with(core::record_done)) {
        step.state = StepState::returned;
        step.value = core::inside_of(*value.json);
        if (step.value == "null") step.value.clear();
    } else if (value.json->starts_with(core::record_failed)) {
        step.state = StepState::failed;
        step.error = text_of(core::inside_of(*value.json));
    } else {
        read_waiting(*value.json, now, step);
    }
    return step;
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
