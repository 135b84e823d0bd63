// SPDX-License-Identifier: MIT
#pragma once
// Why a file cannot be shown to those who only read it.

#include <stdexcept>
#include <string>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

/// Why a file cannot be shown.
enum class UnavailableReason {
    missing,         ///< there is no such file, or it is no regular file
    not_a_database,  ///< not SQLite's, or encrypted, or damaged
    no_tables,       ///< a database without backlite's tables
    foreign_tables,  ///< its tables lack columns that this library and Go's need: another program's, or far newer
    cannot_open,     ///< no right to read it, or its folder forbids the side files of WAL mode
    locked,          ///< another program kept it locked
    too_slow,        ///< the deadline passed
    busy,            ///< it passed while others looked
    other,           ///< SQLite or memory failed
};

/// Thrown inside the dashboard only. The text is for the log: it may name paths.
class FileError : public std::runtime_error {
public:
    FileError(UnavailableReason kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
    [[nodiscard]] UnavailableReason kind() const noexcept { return kind_; }

private:
    UnavailableReason kind_;
};

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
