// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/safe_logger.hpp>.

#include <backlite/base/safe_logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL void SafeLogger::operator()(LogLevel level, std::string_view message,
                                          std::initializer_list<LogEntry> entries) const noexcept {
    if (!logger_) return;
    try {
        std::vector<LogField> fields;
        fields.reserve(entries.size());
        for (const LogEntry& entry : entries) fields.push_back({entry.key, std::string{entry.value.text()}});
        (*this)(level, message, std::span<const LogField>(fields));
    } catch (...) {  // no memory for it
    }
}

BACKLITE_DECL void SafeLogger::operator()(LogLevel level, std::string_view message,
                                          std::span<const LogField> fields) const noexcept {
    if (!logger_) return;
    try {
        (logger_->log)(level, message, fields);
    } catch (...) {  // a broken logger must not take a worker down
    }
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
