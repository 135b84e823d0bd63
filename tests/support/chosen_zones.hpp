// SPDX-License-Identifier: MIT
#pragma once
// A folder of time zones of a test's own, which TZDIR names.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include <temp_folder.hpp>

namespace backlite_test {

/// While it lives the environment names its folder, and no other zones are found. For tests in which no thread looks
/// at the environment.
class ChosenZones {
public:
    ChosenZones() {
        if (const char* const before = std::getenv("TZDIR")) before_ = before;
        ::setenv("TZDIR", folder().c_str(), 1);
    }
    ChosenZones(const ChosenZones&) = delete;
    ChosenZones& operator=(const ChosenZones&) = delete;
    ~ChosenZones() {
        if (before_) {
            ::setenv("TZDIR", before_->c_str(), 1);
        } else {
            ::unsetenv("TZDIR");
        }
    }

    [[nodiscard]] std::string folder() const { return folder_.name(); }

    void put(std::string_view name, std::string_view bytes) const {
        const std::filesystem::path file = std::filesystem::path{folder()} / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream{file, std::ios::binary} << bytes;
    }

private:
    TempFolder folder_{};
    std::optional<std::string> before_{};
};

}  // namespace backlite_test
