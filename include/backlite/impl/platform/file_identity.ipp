// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/file_identity.hpp>.

#include <cstdlib>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/last_error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL std::optional<FileFacts> look_at(const std::string& file) {
    if (const std::optional<FileFacts> facts = glance_at(file)) return facts;
    const int error = last_error();
    if (says_absent(error)) return std::nullopt;
    throw StorageError(detail::format("cannot look at \"{}\": {}", {file, error_text(error)}), cannot_open);
}

BACKLITE_DECL std::string resolve(const std::string& file) {
    const std::unique_ptr<char, FromC> resolved{::realpath(file.c_str(), nullptr)};
    return resolved ? std::string{resolved.get()} : file;
}

BACKLITE_DECL std::string folder_of(const std::string& file) {
    const std::size_t slash = file.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : file.substr(0, slash);
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
