// SPDX-License-Identifier: MIT
#include <array>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/base/safe_logger.hpp>
#include <backlite/logger.hpp>

#include <backlite_catch.hpp>
#include <recording_logger.hpp>

namespace {

using namespace backlite;
using backlite_test::RecordingLogger;

std::string format(std::string_view message, std::vector<LogField> fields) { return format_event(message, fields); }

TEST_CASE("LogLevel: each has a name") {
    CHECK(to_string(LogLevel::debug) == "debug");
    CHECK(to_string(LogLevel::info) == "info");
    CHECK(to_string(LogLevel::warning) == "warning");
    CHECK(to_string(LogLevel::failure) == "error");
}

TEST_CASE("format_event: a message without fields is the line") { CHECK(format("started", {}) == "started"); }

TEST_CASE("format_event: fields follow in their order") {
    CHECK(format("task failed", {{"id", "7"}, {"queue", "mail"}}) == "task failed id=7 queue=mail");
}

TEST_CASE("format_event: a value that could be misread is quoted") {
    CHECK(format("x", {{"k", ""}}) == "x k=\"\"");
    CHECK(format("x", {{"k", "two words"}}) == "x k=\"two words\"");
    CHECK(format("x", {{"k", "a=b"}}) == "x k=\"a=b\"");
    CHECK(format("x", {{"k", "a\"b"}}) == R"(x k="a\"b")");
    CHECK(format("x", {{"k", "a\\b"}}) == R"(x k="a\\b")");
}

TEST_CASE("format_event: an event is one line, whatever its values hold") {
    CHECK(format("x", {{"error", "a\nb\r\tc"}}) == R"(x error="a\nb\r\tc")");
}

TEST_CASE("Log: without a logger it does nothing, and says so") {
    const detail::SafeLogger log;
    CHECK_FALSE(static_cast<bool>(log));
    CHECK_NOTHROW(log(LogLevel::info, "nobody hears"));
}

TEST_CASE("Log: hands level, message and fields to its logger") {
    const auto recorder = std::make_shared<RecordingLogger>();
    const detail::SafeLogger log(recorder);
    CHECK(static_cast<bool>(log));
    log(LogLevel::warning, "careful", {{"queue", "mail"}});
    CHECK(recorder->lines() == std::vector<std::string>{"warning careful queue=mail"});
}

TEST_CASE("Log: swallows what a logger throws") {
    const detail::SafeLogger std_thrower(make_logger([](auto&&...) { throw std::runtime_error("broken"); }));
    const detail::SafeLogger int_thrower(make_logger([](auto&&...) { throw 42; }));
    CHECK_NOTHROW(std_thrower(LogLevel::info, "x"));
    CHECK_NOTHROW(int_thrower(LogLevel::info, "x"));
}

TEST_CASE("make_logger: makes a logger from any callable") {
    std::string seen;
    const std::shared_ptr<Logger> logger =
        make_logger([&seen](LogLevel level, std::string_view message, std::span<const LogField> fields) {
            seen = std::string{to_string(level)} + ": " + format_event(message, fields);
        });
    const std::array<LogField, 1> fields{{{"n", "1"}}};
    logger->log(LogLevel::debug, "hello", fields);
    CHECK(seen == "debug: hello n=1");
}

TEST_CASE("FunctionLogger: an empty function is silent") {
    FunctionLogger logger{FunctionLogger::Function{}};
    CHECK_NOTHROW(logger.log(LogLevel::info, "x", {}));
}

}  // namespace
