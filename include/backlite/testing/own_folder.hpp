// SPDX-License-Identifier: MIT
#pragma once
// The folder of one TestClient.

#include <string>
#include <string_view>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

/// A new folder among the system's temporary ones, that only its owner may enter. Its end removes it with all that is
/// in it.
class OwnFolder {
public:
    /// Errors: std::filesystem::filesystem_error.
    OwnFolder();
    OwnFolder(const OwnFolder&) = delete;
    OwnFolder& operator=(const OwnFolder&) = delete;
    ~OwnFolder();

    /// The absolute name of a file in it, whether there is one or not.
    [[nodiscard]] std::string file(std::string_view name) const { return name_ + '/' + std::string{name}; }

private:
    std::string name_{};
};

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/testing/own_folder.ipp>
#endif
