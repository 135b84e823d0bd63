// SPDX-License-Identifier: MIT
#pragma once
// A logger that keeps what it is told.

#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/logger.hpp>

namespace backlite_test {

/// Keeps each event as one line: `error task failed id=… queue=…`. Threads: any.
class RecordingLogger final : public backlite::Logger {
public:
    void log(backlite::LogLevel level, std::string_view message, std::span<const backlite::LogField> fields) override {
        std::string line = fmt::format("{} {}", backlite::to_string(level), backlite::format_event(message, fields));
        const std::lock_guard lock(mutex_);
        lines_.push_back(std::move(line));
    }

    [[nodiscard]] std::vector<std::string> lines() const {
        const std::lock_guard lock(mutex_);
        return lines_;
    }

    /// How many lines hold this text.
    [[nodiscard]] std::size_t count(std::string_view text) const {
        std::size_t found = 0;
        for (const std::string& line : lines()) {
            if (line.find(text) != std::string::npos) ++found;
        }
        return found;
    }

private:
    mutable std::mutex mutex_{};
    // guarded by mutex_
    std::vector<std::string> lines_{};
};

}  // namespace backlite_test
