// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/codec.hpp>.

#include <backlite/base/codec.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL void throw_encode_error(const std::string& queue, const std::string& why) {
    throw EncodeError(format("queue \"{}\": a task cannot be encoded: {}", {queue, why}), queue);
}

BACKLITE_DECL void throw_result_error(const std::string& queue, const TaskId& id, std::string_view type,
                                      const std::string& why) {
    EncodeError refusal(
        format("queue \"{}\": the result of task {} cannot be read as {}: {}", {queue, id.str(), type, why}), queue);
    refusal.set_subject(queue, id.str());
    throw refusal;
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
