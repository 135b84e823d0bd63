// SPDX-License-Identifier: MIT
#pragma once
// What a page says when the file cannot be shown: enough to act on, and nothing about the machine.

#include <string_view>

#include <backlite/ui/file.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Two sentences for whoever asked.
struct Excuse {
    std::string_view text{};    ///< what is the matter
    std::string_view advice{};  ///< what would change it; may be empty
};

/// The sentences about that trouble.
[[nodiscard]] constexpr Excuse excuse_for(Trouble kind) noexcept {
    switch (kind) {
        case Trouble::missing:
            return {"There is no database file of this name.", "It is shown as soon as a program has made it."};
        case Trouble::not_a_database:
            return {"The file is no database that can be read.",
                    "It may be another kind of file, encrypted, or damaged."};
        case Trouble::no_tables:
            return {"The database has no backlite tables yet.", "They are made when a client opens it."};
        case Trouble::foreign_tables:
            return {"The tables in this database cannot be understood.",
                    "They are another program's, or of a version that this dashboard does not know."};
        case Trouble::cannot_open:
            return {"The database cannot be opened.",
                    "The right to read it is missing, or its folder forbids the files that SQLite keeps beside it."};
        case Trouble::locked:
            return {"Another program keeps the database locked.", "It is shown as soon as the lock is gone."};
        case Trouble::too_slow: return {"Looking took too long and was stopped.", "A narrower filter helps."};
        case Trouble::busy: return {"Too many people are looking at once.", "It is shown as soon as some are done."};
        case Trouble::other: break;
    }
    return {"Something went wrong.", ""};
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
