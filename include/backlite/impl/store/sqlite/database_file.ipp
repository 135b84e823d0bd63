// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/database_file.hpp>.

#include <backlite/store/sqlite/database_file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void check_database_name(const std::string& file) {
    if (file.empty()) throw ConfigError("ClientConfig::database is empty: name the database file");
    if (file.find('\0') != std::string::npos) throw ConfigError("the database's name holds a NUL character");
    if (file == ":memory:" || file.starts_with("file:")) {
        throw ConfigError(
            detail::format("database \"{}\": a file name is needed, no in-memory database and no URI", {file}));
    }
    const std::optional<platform::FileFacts> found = platform::look_at(file);
    if (found && !found->regular) throw ConfigError(detail::format("database \"{}\" is not a regular file", {file}));
    const std::optional<platform::FileFacts> folder = platform::look_at(platform::folder_of(file));
    if (!folder || !folder->folder) {
        throw ConfigError(detail::format("database \"{}\": its folder does not exist", {file}));
    }
}

BACKLITE_DECL std::string lasting_name(const std::string& file) {
    check_database_name(file);
    return file.starts_with('/') ? file : platform::resolve(".") + '/' + file;
}

BACKLITE_DECL void check_place(const std::string& file, bool trust_file_system) {
    const std::string folder_name = platform::folder_of(file);
    const std::optional<platform::FileFacts> folder = platform::look_at(folder_name);
    if (!folder) return;  // what a custom VFS names need not be files
    if (const std::optional<platform::FileFacts> found = platform::look_at(file)) {
        if (found->names > 1) {
            throw ConfigError(
                detail::format("database \"{}\" has {} names (hard links), and SQLite keeps a log for each: what is "
                               "added by one may be lost; leave it one name",
                               {file, found->names}));
        }
        if (platform::is_mounted_alone(*found, *folder)) {
            throw ConfigError(
                detail::format("database \"{}\" is mounted by itself: its log would lie elsewhere than that of others "
                               "who use the file, and be lost; mount the folder that it is in",
                               {file}));
        }
    }
    if (trust_file_system) return;
    const std::uint32_t type = platform::file_system_type(folder_name);
    const std::string name = platform::mount_type(folder->identity.device);
    if (!platform::is_local_file_system(type, name)) {
        throw ConfigError(
            detail::format("database \"{}\" is on a file system ({}) that is not known to be local: the locks of "
                           "network file systems cannot be trusted; if all who use the file are programs of this "
                           "machine, set ClientConfig::trust_file_system",
                           {file, name.empty() ? "of unknown type" : name.c_str()}));
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
