// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/testing/own_folder.hpp>.

#include <filesystem>
#include <system_error>

#include <backlite/platform/random.hpp>
#include <backlite/testing/own_folder.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace testing {

BACKLITE_DECL OwnFolder::OwnFolder() {
    const std::filesystem::path parent = std::filesystem::canonical(std::filesystem::temp_directory_path());
    std::filesystem::path path;
    do {
        path = parent / ("backlite-" + std::to_string(platform::random_seed()));
    } while (!std::filesystem::create_directory(path));
    name_ = path.string();
    std::error_code ignored;  // it is empty: whoever looks into it before finds nothing
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, ignored);
}

BACKLITE_DECL OwnFolder::~OwnFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(name_, ignored);
}

}  // namespace testing
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
