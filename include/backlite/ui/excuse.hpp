// SPDX-License-Identifier: MIT
#pragma once
// What a page says when the file cannot be shown: enough to act on, and nothing about the machine.

#include <string_view>

#include <backlite/ui/models.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Two sentences for whoever asked.
struct Excuse {
    std::string_view text{};    ///< what is the matter
    std::string_view advice{};  ///< what would change it; may be empty
};

/// The sentences about that trouble.
[[nodiscard]] constexpr Excuse excuse_for(UnavailableReason kind) noexcept {
    switch (kind) {
        case UnavailableReason::missing:
            return {"There is no database file of this name.", "It is shown as soon as a program has made it."};
        case UnavailableReason::not_a_database:
            return {"The file is no database that can be read.",
                    "It may be another kind of file, encrypted, or damaged."};
        case UnavailableReason::no_tables:
            return {"The database has no backlite tables yet.", "They are made when a client opens it."};
        case UnavailableReason::foreign_tables:
            return {"The tables in this database cannot be understood.",
                    "They are another program's, or of a version that this dashboard does not know."};
        case UnavailableReason::cannot_open:
            return {"The database cannot be opened.",
                    "The right to read it is missing, or its folder forbids the files that SQLite keeps beside it."};
        case UnavailableReason::locked:
            return {"Another program keeps the database locked.", "It is shown as soon as the lock is gone."};
        case UnavailableReason::too_slow: return {"Looking took too long and was stopped.", "A narrower filter helps."};
        case UnavailableReason::busy:
            return {"Too many people are looking at once.", "It is shown as soon as some are done."};
        case UnavailableReason::other: break;
    }
    return {"Something went wrong.", ""};
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
