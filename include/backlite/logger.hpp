// SPDX-License-Identifier: MIT
#pragma once
// Where the library's events go: an interface, a printer to stderr, an adapter for any callable.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// How much an event matters. `failure` is written as "error": that name is a macro on some platforms.
enum class LogLevel { debug, info, warning, failure };

[[nodiscard]] constexpr std::string_view to_string(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::debug: return "debug";
        case LogLevel::info: return "info";
        case LogLevel::warning: return "warning";
        case LogLevel::failure: break;
    }
    return "error";
}

/// One named value of an event.
struct LogField {
    std::string_view key{};  ///< such as "queue"
    std::string value{};     ///< as text
};

/// Receives the library's events.
/// Threads: called from workers, the dispatcher and callers of the client, at once; never under a lock of the library.
/// Errors: what it throws is swallowed. The strings live only during the call.
class Logger {
public:
    Logger() = default;
    Logger(const Logger&) = delete;
    Logger& operator=(const Logger&) = delete;
    virtual ~Logger() = default;

    /// Takes one event. Called on the thread where it happened, which waits meanwhile: be brief. The dispatcher does
    /// not wait: its events come on a thread of their own, and those beyond 1,024 that wait there are dropped and
    /// counted.
    /// The parentheses keep a macro `log(x)` of the program out.
    virtual void(log)(LogLevel level, std::string_view message, std::span<const LogField> fields) = 0;
};

/// One line of text for an event: `task processed id=… queue=… duration=… attempt=1`. Values with spaces, quotes or
/// control characters are quoted.
[[nodiscard]] std::string format_event(std::string_view message, std::span<const LogField> fields);

/// Prints each event of at least `least` as one line to stderr, with its level in front.
/// Threads: any; a line is written whole.
class StderrLogger final : public Logger {
public:
    /// `least`: events below it are not printed.
    explicit StderrLogger(LogLevel least = LogLevel::info) : least_(least) {}

    void(log)(LogLevel level, std::string_view message, std::span<const LogField> fields) override;

private:
    LogLevel least_;
};

/// Hands each event to a callable `void(LogLevel, std::string_view message, std::span<const LogField>)`.
class FunctionLogger final : public Logger {
public:
    /// What it calls: on any thread, several at once.
    using Function = std::function<void(LogLevel, std::string_view, std::span<const LogField>)>;

    /// An empty function is silent.
    explicit FunctionLogger(Function function) noexcept : function_(std::move(function)) {}

    void(log)(LogLevel level, std::string_view message, std::span<const LogField> fields) override {
        if (function_) function_(level, message, fields);
    }

private:
    Function function_;
};

/// A logger from any callable: `.logger = backlite::make_logger([](auto level, auto message, auto fields) { … })`.
[[nodiscard]] inline std::shared_ptr<Logger> make_logger(FunctionLogger::Function function) {
    return std::make_shared<FunctionLogger>(std::move(function));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/logger.ipp>
#endif
