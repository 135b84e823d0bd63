// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/liveness.hpp>.

#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/liveness.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void ProbeRing::set(std::vector<detail::OwnerRow> others, std::int64_t own) {
    others_ = std::move(others);
    const auto after = std::find_if(others_.begin(), others_.end(), [&](const auto& row) { return row.owner > own; });
    std::rotate(others_.begin(), after, others_.end());
    step_ %= (std::max)(2 * others_.size(), std::size_t{1});
}

BACKLITE_DECL Liveness::Liveness(GroupCommit& writes, const std::string& database, unsigned workers,
                                 Duration release_after, const Clock& clock, detail::SafeLogger log,
                                 std::function<void(const Rescued&)> rescued)
    : writes_(writes),
      workers_(workers),
      release_after_(release_after),
      clock_(clock),
      log_(std::move(log)),
      rescued_(std::move(rescued)),
      lock_(database) {}

BACKLITE_DECL void Liveness::join(const Patience& patience) {
    std::vector<Rescue> rescues;
    try {
        writes_.write_in_parts(
            [&](Repository& repository, Isolation* apart) {
                unlock(rescues);
                rescues.clear();
                const std::vector<detail::OwnerRow> rows = rescue_dead(repository, apart, rescues);
                if (!lock_.trusted(repository.upkeep.side_file_id())) {
                    repository.upkeep.set_side_file_id(lock_.initialise());
                }
                take_slot(rows, rescues);
                lock_.map(slot_, places_for(workers_));
                owner_ = repository.upkeep.next_owner();
                repository.upkeep.insert_owner({owner_, slot_, workers_, platform::boot_id()},
                                               detail::to_ms(clock_.now()));
            },
            patience);
    } catch (...) {
        unlock(rescues);
        lock_.unmap();
        if (slot_ != never_a_slot) lock_.unlock(std::exchange(slot_, never_a_slot));
        throw;
    }
    unlock(rescues);
    report(rescues);
}

BACKLITE_DECL void Liveness::keep_room() noexcept {
    try {
        lock_.keep_room();
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
}

BACKLITE_DECL std::vector<detail::OwnerRow> Liveness::read_others(Repository& repository) const {
    std::vector<detail::OwnerRow> others = repository.upkeep.owners();
    if (std::erase_if(others, [&](const detail::OwnerRow& row) noexcept { return row.owner == owner_; }) == 0) {
        store::throw_replaced(detail::format(
            "another client has taken this one for dead: \"{}\" was deleted or replaced under it", {lock_.path()}));
    }
    return others;
}

BACKLITE_DECL FileState Liveness::read(std::vector<QueueHead> heads, bool known, const Patience& patience) {
    FileState state;
    std::vector<detail::OwnerRow> others;
    writes_.read(
        [&](Repository& repository) {
            others = read_others(repository);
            const detail::Ms now = detail::to_ms(clock_.now());
            state = read_state(repository, heads, owner_, now);
            if (known) {
                state.known = repository.statistics.known_minute(detail::minute_of(now));
                state.held_back = repository.ends.turns().any_wait(state.heads);
            }
            state.foreign_commits = writes_.foreign_commits();
        },
        patience);
    set_others(std::move(others));
    return state;
}

BACKLITE_DECL int Liveness::rescue(const Patience& patience) {
    std::vector<Rescue> rescues;
    std::vector<detail::OwnerRow> rows;
    try {
        writes_.write_in_parts(
            [&](Repository& repository, Isolation* apart) {
                unlock(rescues);
                rescues.clear();
                rows = rescue_dead(repository, apart, rescues);
            },
            patience);
    } catch (...) {
        unlock(rescues);
        throw;
    }
    unlock(rescues);
    std::erase_if(rows, [&](const detail::OwnerRow& row) noexcept { return row.owner == owner_; });
    set_others(std::move(rows));
    report(rescues);
    int claims = 0;
    for (const Rescue& rescue : rescues) claims += rescue.claims;
    return claims;
}

BACKLITE_DECL int Liveness::observe(const Patience& patience) {
    std::vector<Sighting> seen;
    const auto now = clock_.steady_now();
    std::vector<ForeignClaim> hung;
    writes_.read(
        [&](Repository& repository) {
            seen.clear();
            hung.clear();
            for (const detail::OwnerRow& row : ring_.others()) {
                for (ForeignClaim& claim : repository.upkeep.claims_of(row.owner)) {
                    look_at(std::move(claim), now, seen, hung);
                }
            }
        },
        patience);
    sightings_ = std::move(seen);
    const bool doubts = std::any_of(sightings_.begin(), sightings_.end(), [](const Sighting& sighting) {
        return !sighting.writable && sighting.looks >= looks_needed - 1;
    });
    if (hung.empty() && !doubts) return 0;
    for (Sighting& sighting : sightings_) sighting.writable = false;  // unless the write below succeeds
    int released = 0;
    writes_.write_in_parts(
        [&](Repository& repository, Isolation* apart) {
            released = 0;
            for (const ForeignClaim& claim : hung) {
                bool done = false;
                const auto refused = attempt(apart, repository.db, "release", claim.key.id.str(),
                                             [&] { done = repository.transitions.release_unchanged(claim); });
                if (done && !refused) ++released;
            }
            if (released > 0) end_cancelled(repository, apart);
        },
        patience);
    for (Sighting& sighting : sightings_) sighting.writable = sighting.looks >= looks_needed - 1;
    for (const ForeignClaim& claim : hung) {
        log_(LogLevel::warning, "task rescued",
             {{"id", claim.key.id.str()}, {"reason", "its owner lives but gave no sign for release_after"}});
    }
    if (rescued_ && released > 0) rescued_({.claims = released});
    return released;
}

BACKLITE_DECL std::vector<detail::OwnerRow> Liveness::rescue_dead(Repository& repository, Isolation* apart,
                                                                  std::vector<Rescue>& rescues) {
    const bool trusted = lock_.trusted(repository.upkeep.side_file_id());
    std::vector<detail::OwnerRow> living;
    std::vector<std::int64_t> known;
    for (detail::OwnerRow& row : repository.upkeep.owners()) {
        known.push_back(row.owner);
        const bool lockable = row.slot < OwnerLock::max_slots;
        if (row.owner == owner_ || (lockable && (row.slot == slot_ || !lock_.try_lock(row.slot)))) {
            living.push_back(std::move(row));
            continue;
        }
        Rescue& rescue = rescues.emplace_back(Rescue{row.slot, row.owner});
        if (trusted && lockable && row.boot_id == platform::boot_id()) count_crashes(repository, apart, row, rescue);
        release_all(repository, apart, rescue);
        repository.upkeep.delete_owner(row.owner);
    }
    for (const std::int64_t holder : repository.upkeep.claim_holders()) {
        if (std::find(known.begin(), known.end(), holder) != known.end()) continue;
        // Claims of an owner that is not in the list: somebody deleted its row.
        release_all(repository, apart, rescues.emplace_back(Rescue{never_a_slot, holder}));
    }
    if (!rescues.empty()) end_cancelled(repository, apart);
    return living;
}

BACKLITE_DECL void Liveness::end_cancelled(Repository& repository, Isolation* apart) {
    (void)attempt(apart, repository.db, "cancel", "", [&] { repository.cancels.end_released(); });
}

BACKLITE_DECL void Liveness::release_all(Repository& repository, Isolation* apart, Rescue& rescue) {
    if (apart == nullptr) {
        rescue.claims = repository.transitions.release_all(rescue.owner);
        return;
    }
    for (const ForeignClaim& claim : repository.upkeep.claims_of(rescue.owner)) {
        const std::string& id = claim.key.id.str();
        if (apart->attempt(repository.db, "rescue " + id, [&] { repository.transitions.release(claim); })) {
            rescue.refused.push_back({id});
        } else {
            ++rescue.claims;
        }
    }
}

BACKLITE_DECL void Liveness::count_crashes(Repository& repository, Isolation* apart, const detail::OwnerRow& row,
                                           Rescue& rescue) {
    const std::vector<RecordView> records = lock_.read_records(row.slot, places_for(row.workers));
    const auto found = [&records](const RecordView& inside) {
        return std::find(records.begin(), records.end(), inside) != records.end();
    };
    const bool batches = std::any_of(records.begin(), records.end(), [](const RecordView& record) {
        return record.state == RecordState::inside_batch;
    });
    for (const ForeignClaim& claim : repository.upkeep.claims_of(row.owner)) {
        const bool entered =
            found({static_cast<std::uint64_t>(claim.key.number), hash_id(claim.key.id.str()), RecordState::inside}) ||
            (batches && found({repository.upkeep.batch_of(claim.key.id), 0, RecordState::inside_batch}));
        if (!entered) continue;
        (void)attempt(apart, repository.db, "crash", claim.key.id.str(),
                      [&] { repository.transitions.count_crash(claim); });
        rescue.crashed.push_back({claim.key.id.str(), rescued_ ? repository.upkeep.queue_of(claim.key.id) : ""});
    }
}

BACKLITE_DECL void Liveness::take_slot(const std::vector<detail::OwnerRow>& rows, const std::vector<Rescue>& rescues) {
    if (slot_ != never_a_slot) lock_.unlock(std::exchange(slot_, never_a_slot));
    const auto names = [](unsigned slot) { return [slot](const auto& row) { return row.slot == slot; }; };
    for (unsigned slot = 0; slot < OwnerLock::max_slots; ++slot) {
        if (std::any_of(rows.begin(), rows.end(), names(slot))) continue;
        if (std::any_of(rescues.begin(), rescues.end(), names(slot))) continue;
        if (!lock_.try_lock(slot)) continue;
        slot_ = slot;
        return;
    }
    throw ConfigError(detail::format("more than {} clients are started on one database", {OwnerLock::max_slots}));
}

BACKLITE_DECL void Liveness::unlock(const std::vector<Rescue>& rescues) noexcept {
    for (const Rescue& rescue : rescues) {
        if (rescue.slot < OwnerLock::max_slots) lock_.unlock(rescue.slot);
    }
}

BACKLITE_DECL void Liveness::look_at(ForeignClaim claim, Steady::time_point now, std::vector<Sighting>& seen,
                                     std::vector<ForeignClaim>& hung) const {
    Sighting sighting{claim.key, claim.lease, now, 1};
    const Sighting* before = sighting_of(claim, seen.size());
    if (before != nullptr && before->lease == claim.lease) {
        sighting.since = before->since;
        sighting.looks = before->looks + 1;
        sighting.writable = before->writable;
    }
    const bool hangs = sighting.looks >= looks_needed && now - sighting.since >= release_after_ && sighting.writable;
    seen.push_back(std::move(sighting));
    if (hangs) hung.push_back(std::move(claim));
}

BACKLITE_DECL auto Liveness::sighting_of(const ForeignClaim& claim, std::size_t place) const noexcept
    -> const Sighting* {
    const std::size_t count = sightings_.size();
    for (std::size_t i = 0; i < count; ++i) {
        const Sighting& sighting = sightings_[(place + i) % count];
        if (sighting.key == claim.key) return &sighting;
    }
    return nullptr;
}

BACKLITE_DECL void Liveness::report(const std::vector<Rescue>& rescues) const noexcept {
    for (const Rescue& rescue : rescues) {
        const auto listed = [](const std::vector<Rescued::Task>& tasks) -> std::string {
            try {
                std::string text;
                for (const Rescued::Task& task : tasks) text.append(text.empty() ? "" : ",").append(task.id);
                return text;
            } catch (const std::bad_alloc&) {
                return "(out of memory)";
            }
        };
        if (!rescue.refused.empty()) {
            log_(LogLevel::failure, "claims of a dead client cannot be taken back",
                 {{"owner", rescue.owner}, {"tasks", listed(rescue.refused)}});
        }
        log_(LogLevel::warning, "rescued a dead client's claims",
             {{"owner", rescue.owner}, {"claims", rescue.claims}, {"crashed", listed(rescue.crashed)}});
        if (rescued_) rescued_({rescue.claims, rescue.crashed});
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
