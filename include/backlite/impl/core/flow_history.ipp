// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/flow_history.hpp>.

#include <exception>
#include <stdexcept>
#include <utility>

#include <backlite/base/codec.hpp>
#include <backlite/base/json.hpp>
#include <backlite/core/flow_history.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL std::string record_of_value(const std::string& json) { return std::string{record_done} + json + '}'; }

BACKLITE_DECL std::string record_of_wait(detail::Ms due) { return "{\"d\":" + std::to_string(due.count()) + '}'; }

BACKLITE_DECL std::string inside_of(const std::string& record) {
    if (record.size() <= record_done.size()) return {};
    return record.substr(record_done.size(), record.size() - record_done.size() - 1);
}

BACKLITE_DECL std::optional<std::int64_t> number_in(const std::string& record, const char* name) {
    try {
        const auto json = detail::parse_payload<nlohmann::json>(record);
        const auto found = json.find(name);
        if (found != json.end() && found->is_number_integer()) return found->get<std::int64_t>();
    } catch (const nlohmann::json::exception&) {
    } catch (const std::runtime_error&) {
    }
    return std::nullopt;
}

BACKLITE_DECL void FlowHistory::add(detail::SavedValue&& value) {
    std::string json = std::move(value.json).value_or("");
    if (value.name == detail::flow_cancelled) {
        cancelled_ = true;
    } else if (value.name == detail::flow_failed) {
        try {
            failed_ = detail::read_json<std::string>(json);
        } catch (const std::exception&) {
            failed_ = std::move(json);
        }
    } else if (value.name == detail::flow_waits) {
        waits_ = std::move(json);
    } else if (value.name != detail::flow_joins) {
        records_.emplace(value.name.substr(detail::flow_values.size()), Record{std::move(json), value.oversize});
    }
}

BACKLITE_DECL auto FlowHistory::find(const std::string& key) -> const Record* {
    const auto found = records_.find(key);
    if (found == records_.end()) return nullptr;
    ++reached_;
    return &found->second;
}

BACKLITE_DECL bool FlowHistory::waits_for(std::string_view signal) const {
    return waits_ == detail::write_json(std::string{signal});
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
