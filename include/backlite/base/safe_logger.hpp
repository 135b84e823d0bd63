// SPDX-License-Identifier: MIT
#pragma once
// The library's own way to a logger.

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// One named value of an event, before anybody needs it as a text of its own: making one needs no memory.
struct LogEntry {
    std::string_view key{};  ///< what it is called
    Piece value{""};         ///< what it says
};

/// The library's own handle on a logger that may be absent and may throw. An event for which there is no memory is not
/// logged.
class SafeLogger {
public:
    explicit SafeLogger(std::shared_ptr<Logger> logger = nullptr) : logger_(std::move(logger)) {}

    /// Whether building an event's fields is worth the trouble.
    [[nodiscard]] explicit operator bool() const noexcept { return logger_ != nullptr; }

    void operator()(LogLevel level, std::string_view message,
                    std::initializer_list<LogEntry> entries = {}) const noexcept;
    void operator()(LogLevel level, std::string_view message, std::span<const LogField> fields) const noexcept;

private:
    std::shared_ptr<Logger> logger_;
};

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/safe_logger.ipp>
#endif
