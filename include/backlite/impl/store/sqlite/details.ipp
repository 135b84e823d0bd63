// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/details.hpp>.

#include <cstddef>
#include <cstdint>
#include <optional>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/details.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL bool Details::mark(const detail::ClaimKey& claim, bool forgives, std::int64_t more) {
    StateColumns columns;
    std::optional<std::int64_t> slack;
    {
        Run run(db_, row_, {claim.id.str(), claim.number});
        if (!run.step()) return false;
        columns.crashes = run.integer(0);
        columns.flags = run.integer(1);
        slack = run.optional_integer(2);
    }
    const StateColumns before = columns;
    if (forgives) columns.crashes = 0;
    columns.flags |= flag::details | more;
    if (before.crashes == columns.crashes && before.flags == columns.flags) return true;
    std::optional<Blob> left;
    if (slack) left = Slack::after(static_cast<std::size_t>(*slack), before, columns);
    if (Run(db_, mark_, {claim.id.str(), claim.number, columns.crashes, columns.flags, left}).change() == 1)
        return true;
    throw StorageError("the mark of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
