// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/upkeep.hpp>.

#include <backlite/base/format.hpp>
#include <backlite/store/sqlite/upkeep.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::int64_t Upkeep::next_owner() {
    Run run(db_, next_owner_);
    const std::int64_t owner = run.step() ? run.integer(0) : 0;
    while (run.step()) {
    }
    return owner;
}

BACKLITE_DECL std::string Upkeep::secret(std::string_view fresh) {
    Run(db_, set_secret_, {fresh}).change();
    Run run(db_, secret_);
    std::string found = run.step() ? std::string{run.bytes(0)} : std::string{};
    if (found.size() >= shortest_secret) return found;
    throw StorageError(detail::format("the secret of the file has {} bytes, fewer than {}: a trigger ignored it, or "
                                      "somebody has changed it",
                                      {found.size(), shortest_secret}),
                       SQLITE_CONSTRAINT);
}

BACKLITE_DECL std::vector<detail::OwnerRow> Upkeep::owners() {
    std::vector<detail::OwnerRow> rows;
    Run run(db_, owners_);
    while (run.step()) {
        rows.push_back({run.integer(0), static_cast<unsigned>(run.integer(1)), static_cast<unsigned>(run.integer(2)),
                        std::string{run.bytes(3)}});
    }
    return rows;
}

BACKLITE_DECL std::vector<std::int64_t> Upkeep::claim_holders() {
    std::vector<std::int64_t> owners;
    std::int64_t least = (std::numeric_limits<std::int64_t>::min)();  // a row of others may hold any number
    for (;;) {
        Run run(db_, next_holder_, {least});
        if (!run.step()) return owners;
        owners.push_back(run.integer(0));
        if (owners.back() == (std::numeric_limits<std::int64_t>::max)()) return owners;
        least = owners.back() + 1;
    }
}

BACKLITE_DECL std::vector<ForeignClaim> Upkeep::claims_of(std::int64_t owner) {
    std::vector<ForeignClaim> claims;
    Run run(db_, claims_of_, {owner});
    while (run.step()) {
        claims.push_back({{TaskId::from_text(std::string{run.bytes(0)}), run.integer(1)}, run.integer(2)});
    }
    return claims;
}

BACKLITE_DECL std::optional<detail::Ms> Upkeep::oldest_ownerless() {
    std::optional<detail::Ms> oldest;
    for (std::string queue;;) {
        Run run(db_, oldest_ownerless_, {queue});
        if (!run.step()) return oldest;
        oldest = (std::min)(oldest.value_or(run.time(1)), run.time(1));
        queue = run.bytes(0);  // `run` has bound the old one, and is not asked again
    }
}

BACKLITE_DECL Mended Upkeep::mend(std::string_view queue, detail::Ms now, detail::Ms from, Duration jump, int limit) {
    const std::vector<std::int64_t> levels = priorities(queue);
    if (levels.empty()) return {};
    const detail::Ms after = (std::max)(now, from);
    const int share = (std::max)(limit / static_cast<int>(levels.size()), 1);
    detail::Ms to = never;
    for (const std::int64_t level : levels) {
        Run run(db_, last_of_piece_, {queue, level, after, share - 1});
        if (run.step()) to = (std::min)(to, run.time(0));
    }
    Mended piece{.next = to};
    for (const std::int64_t level : levels) {
        const int tasks = Run(db_, mend_, {queue, now, after, to, jump.count(), share, level}).change();
        piece.tasks += tasks;
        if (tasks == share) piece.next = from;  // tasks of the same time may be more than `share`
    }
    return piece;
}

BACKLITE_DECL void Upkeep::forget_details(Statement& select, std::initializer_list<Value> values) {
    std::vector<std::string> ids;
    {
        Run run(db_, select, values);
        while (run.step()) ids.emplace_back(run.bytes(0));
    }
    for (const std::string& id : ids) ends_.forget_details(id);
}

BACKLITE_DECL std::vector<std::int64_t> Upkeep::priorities(std::string_view queue) {
    std::vector<std::int64_t> found;
    std::int64_t least = detail::least_number;
    for (;;) {
        Run run(db_, next_level_, {queue, least});
        if (!run.step()) return found;
        found.push_back(run.integer(0));
        if (found.back() == detail::most_number) return found;
        least = found.back() + 1;
    }
}

BACKLITE_DECL void Upkeep::demand_tables() {
    Run run(db_, tables_);
    if (run.step() && run.integer(0) == tables) return;
    throw CorruptError("a table of backlite was dropped or renamed", SQLITE_CORRUPT);
}

BACKLITE_DECL std::optional<detail::Ms> Upkeep::next_expiry() {
    Run run(db_, next_expiry_);
    if (!run.step()) return std::nullopt;
    return run.time(0);
}

BACKLITE_DECL std::vector<std::int64_t> Upkeep::rows(Statement& select, std::initializer_list<Value> values) {
    std::vector<std::int64_t> found;
    Run run(db_, select, values);
    while (run.step()) found.push_back(run.integer(0));
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
