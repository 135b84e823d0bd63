// SPDX-License-Identifier: MIT
#pragma once
// What an error of the store asks for, without its numbers.

#include <string>

#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {

enum class Trouble {
    locked,  ///< another connection holds the lock: it passes
    tables,  ///< a statement does not fit the tables: they may be gone
    other,
};

[[nodiscard]] Trouble trouble_of(const StorageError& error) noexcept;

/// Throws the StorageError of a file that was deleted or replaced while it was in use: the client stops itself.
[[noreturn]] void throw_replaced(const std::string& what);

}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/trouble.ipp>
#endif
