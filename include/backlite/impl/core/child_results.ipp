// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/child_results.hpp>.

#include <algorithm>
#include <charconv>
#include <exception>
#include <new>
#include <utility>

#include <backlite/base/codec.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/json.hpp>
#include <backlite/core/child_results.hpp>
#include <backlite/core/flow_history.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void ChildResults::missing_until(std::size_t number) {
    for (; next_ < number; ++next_) failed_.push_back({{}, detail::format("what task {} returned is gone", {next_})});
}

BACKLITE_DECL void ChildResults::add(const detail::SavedValue& value) {
    const std::string digits = value.name.substr(prefix_.size());
    std::size_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    missing_until((std::min)(number, count_));
    next_ = number + 1;
    if (!value.json) {
        failed_.push_back({{},
                           detail::format("its result of {} bytes is larger than ClientConfig::max_payload allows",
                                          {value.oversize})});
        return;
    }
    if (value.json->starts_with(record_done)) {
        if (count_ > 0 && failed_.empty()) take_(inside_of(*value.json));
        return;
    }
    FailedChild child{{}, "its result cannot be read"};
    try {
        const auto json = detail::parse_payload<nlohmann::json>(*value.json);
        child = {TaskId::from_text(json.at("i").get<std::string>()), json.at("e").get<std::string>()};
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception&) {  // it is as it was
    }
    failed_.push_back(std::move(child));
}

BACKLITE_DECL std::vector<FailedChild> ChildResults::end() {
    missing_until(count_);
    return std::move(failed_);
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
