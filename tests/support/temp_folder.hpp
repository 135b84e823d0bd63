// SPDX-License-Identifier: MIT
#pragma once
// A folder of a test's own: empty at first, gone with all that is in it when the test ends.

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace backlite_test {

/// Lies under the system's folder for temporary files. Files that are open when it goes stay readable to who has them.
class TempFolder {
public:
    /// Errors: std::system_error.
    TempFolder() {
        if (::mkdtemp(name_.data()) == nullptr) {
            throw std::system_error(errno, std::generic_category(), "mkdtemp " + name_);
        }
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(name_, ignored);
    }

    /// The folder's absolute name, without links in it.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// The name of a file in it, whether there is one or not.
    [[nodiscard]] std::string file(std::string_view name) const { return name_ + '/' + std::string{name}; }

private:
    std::string name_ =
        (std::filesystem::canonical(std::filesystem::temp_directory_path()) / "backlite-test-XXXXXX").string();
};

}  // namespace backlite_test
