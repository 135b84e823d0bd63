// SPDX-License-Identifier: MIT
#pragma once
// A file that is there already and holds this library's tables: how Admin opens it.

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <backlite/admin/database_view.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

/// What a client is opened with so that it neither makes nor changes a file: looks first whether all is there.
/// Errors: ConfigError for a name or place that cannot work; StorageError if there is no file, or none with tables of
/// this library's version, or it needs a newer library.
[[nodiscard]] ClientConfig for_existing_file(ClientConfig config);

/// What a failed look is to callers of Admin: a StorageError that names the file.
[[noreturn]] void throw_named(const std::string& file, const FileError& error);
[[noreturn]] void throw_named(const std::string& file, const StorageError& error);

/// Runs `look(Queries&)` on one state of the file. Errors: StorageError. Blocks, 30 s at most.
template <class Look>
auto look_at(DatabaseView& view, Look&& look) {
    try {
        return view.read(std::chrono::seconds{30}, std::forward<Look>(look));
    } catch (const FileError& error) {
        throw_named(view.name(), error);
    } catch (const StorageError& error) {
        throw_named(view.name(), error);
    }
}

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/existing_file.ipp>
#endif
