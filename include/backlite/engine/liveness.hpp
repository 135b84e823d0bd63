// SPDX-License-Identifier: MIT
#pragma once
// A started client among the others on its file: says that it lives, notices who died, and takes back what they held.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/repository.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Which of the others on a file a client probes, so that n clients cost n probes a look, not n times n. They stand in
/// a ring in the order of their numbers, and each watches the next one: of any number that died, the first has a living
/// one before it. Should that one hang, the others help: every second look each probes one more, a step further each
/// time, so that one look of all of them together passes over nobody.
/// Threads: one at a time.
class ProbeRing {
public:
    /// `others`: sorted by number.
    void set(std::vector<detail::OwnerRow> others, std::int64_t own) {
        others_ = std::move(others);
        const auto after =
            std::find_if(others_.begin(), others_.end(), [&](const auto& row) { return row.owner > own; });
        std::rotate(others_.begin(), after, others_.end());
        step_ %= (std::max)(2 * others_.size(), std::size_t{1});
    }

    /// The next one first.
    [[nodiscard]] const std::vector<detail::OwnerRow>& others() const noexcept { return others_; }

    /// One look: whether `dead` says so of one of those whose turn it is.
    template <class Dead>
    [[nodiscard]] bool look(Dead&& dead) {
        if (others_.empty()) return false;
        step_ = (step_ + 1) % (2 * others_.size());
        const bool one_more = step_ > 0 && step_ % 2 == 0;
        return dead(others_.front()) || (one_more && dead(others_[step_ / 2]));
    }

private:
    std::vector<detail::OwnerRow> others_{};
    std::size_t step_ = 0;  ///< even: the one that stands at half of it is probed too
};

/// An owner is alive while it holds its slot's lock in the side file, which the kernel frees when it dies.
///
/// The dead one's claims are given back in the transaction that deletes its row, by a client that holds the dead one's
/// lock meanwhile: so nobody takes its slot before, and nobody rescues twice.
///
/// A living owner may hang. Its claims are taken back only if their leases were seen unchanged for `release_after` on
/// this observer's own steady clock, over several looks: an observer that was itself suspended sees one long pause, and
/// gives the others time to show themselves. A lease that nobody could write, because somebody else held the file's
/// lock, says nothing: the observer must have been able to write, one look before, what it wants the owner to write.
/// Threads: one at a time (who starts, then the dispatcher); `record` and `owner` from any.
class Liveness {
public:
    using Steady = std::chrono::steady_clock;
    using Patience = store::sqlite::GroupCommit::Patience;

    Liveness(store::sqlite::GroupCommit& writes, const std::string& database, unsigned workers, Duration release_after,
             const Clock& clock, detail::SafeLogger log)
        : writes_(writes),
          workers_(workers),
          release_after_(release_after),
          clock_(clock),
          log_(std::move(log)),
          lock_(database) {}
    Liveness(const Liveness&) = delete;
    Liveness& operator=(const Liveness&) = delete;

    /// Rescues what dead owners hold, takes a slot and a number, and enters the list of clients, in one transaction.
    /// Errors: ConfigError if there are more workers or clients than the side file has room for; FullError when the
    /// disk is; StorageError. Then the client is not in the list.
    void join(const store::sqlite::Patience& patience) {
        std::vector<Rescue> rescues;
        try {
            writes_.write_in_parts(
                [&](store::sqlite::Repository& repository, store::sqlite::Isolation* apart) {
                    unlock(rescues);
                    rescues.clear();
                    const std::vector<detail::OwnerRow> rows = rescue_dead(repository, apart, rescues);
                    if (!lock_.trusted(repository.upkeep.side_file_id())) {
                        repository.upkeep.set_side_file_id(lock_.initialise());
                    }
                    take_slot(rows, rescues);
                    lock_.map(slot_, workers_);
                    owner_ = repository.upkeep.next_owner();
                    repository.upkeep.insert_owner({owner_, slot_, workers_, store::sqlite::OwnerLock::boot_id()},
                                                   to_ms(clock_.now()));
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

    /// Leaves the list. REQUIRES: this client holds no claim. Errors: StorageError; then it is still in the list.
    void leave(const store::sqlite::Patience& patience) {
        writes_.write([&](store::sqlite::Repository& repository) { repository.upkeep.delete_owner(owner_); }, patience);
    }

    /// Frees the lock. Who is still in the list then is dead to others, and rescued by them.
    void let_go() noexcept {
        lock_.unmap();
        if (slot_ != never_a_slot) lock_.unlock(std::exchange(slot_, never_a_slot));
    }

    [[nodiscard]] std::int64_t owner() const noexcept { return owner_; }
    /// See OwnerLock::keep_room. What fails is tried again by the next call.
    void keep_room() const noexcept {
        try {
            lock_.keep_room();
        } catch (...) {  // NOLINT(bugprone-empty-catch)
        }
    }
    [[nodiscard]] store::sqlite::WorkerRecord& record(std::size_t worker) noexcept {
        return lock_.record(static_cast<unsigned>(worker));
    }

    /// Takes note of who else is there. For use inside a read or write of the group commit, between join and leave.
    /// Errors: StorageError that is fatal if this client is not in the list any more. Then nobody would notice its
    /// death, and whoever starts takes its claims.
    [[nodiscard]] std::vector<detail::OwnerRow> read_others(store::sqlite::Repository& repository) const {
        std::vector<detail::OwnerRow> others = repository.upkeep.owners();
        if (std::erase_if(others, [&](const detail::OwnerRow& row) noexcept { return row.owner == owner_; }) == 0) {
            throw StorageError(
                detail::format("another client has taken this one for dead: \"{}\" was deleted or replaced under it",
                               {lock_.path()}),
                SQLITE_READONLY_DBMOVED);
        }
        return others;
    }
    void set_others(std::vector<detail::OwnerRow> others) { ring_.set(std::move(others), owner_); }

    [[nodiscard]] bool others_known() const noexcept { return !ring_.others().empty(); }

    /// Whether one of the known others is found dead at this look; see ProbeRing. No SQL: one or two system calls.
    [[nodiscard]] bool someone_died() {
        return ring_.look([&](const detail::OwnerRow& row) { return dead(row); });
    }

    /// Gives back what dead owners hold; how many claims that were. Errors: StorageError; then nothing is given back.
    int rescue(const store::sqlite::Patience& patience) {
        std::vector<Rescue> rescues;
        std::vector<detail::OwnerRow> rows;
        try {
            writes_.write_in_parts(
                [&](store::sqlite::Repository& repository, store::sqlite::Isolation* apart) {
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

    /// Looks at the leases of others, and gives back the claims of those that hang; how many that were.
    int observe(const store::sqlite::Patience& patience) {
        std::vector<Sighting> seen;
        const auto now = clock_.steady_now();
        std::vector<store::sqlite::ForeignClaim> hung;
        writes_.read(
            [&](store::sqlite::Repository& repository) {
                seen.clear();
                hung.clear();
                for (const detail::OwnerRow& row : ring_.others()) {
                    for (store::sqlite::ForeignClaim& claim : repository.upkeep.claims_of(row.owner)) {
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
            [&](store::sqlite::Repository& repository, store::sqlite::Isolation* apart) {
                released = 0;
                for (const store::sqlite::ForeignClaim& claim : hung) {
                    bool done = false;
                    const auto refused = store::sqlite::attempt(apart, repository.db, "release", claim.id.str(), [&] {
                        done = repository.upkeep.release_unchanged(claim);
                    });
                    if (done && !refused) ++released;
                }
            },
            patience);
        for (Sighting& sighting : sightings_) sighting.writable = sighting.looks >= looks_needed - 1;
        for (const store::sqlite::ForeignClaim& claim : hung) {
            log_(LogLevel::warning, "task rescued",
                 {{"id", claim.id.str()}, {"reason", "its owner lives but gave no sign for release_after"}});
        }
        return released;
    }

private:
    /// One claim of another client, as this one has seen it.
    struct Sighting {
        TaskId id{};
        std::int64_t claim = 0;
        std::int64_t lease = 0;
        Steady::time_point since{};
        int looks = 0;
        bool writable = false;  ///< this observer could write to the file at one of these looks
    };

    struct Rescue {
        unsigned slot = 0;
        std::int64_t owner = 0;
        int claims = 0;
        std::vector<std::string> crashed{};
        std::vector<std::string> refused{};  ///< tasks that are still claimed by it: SQLite refused the change
    };

    static constexpr unsigned never_a_slot = store::sqlite::OwnerLock::max_slots;
    /// A lease must stand still over this many looks, so that one long pause of the observer's own is not enough.
    static constexpr int looks_needed = 4;

    [[nodiscard]] bool dead(const detail::OwnerRow& row) const {
        // A row with a slot that no lock can be for is nobody's.
        return row.slot >= store::sqlite::OwnerLock::max_slots || (row.slot != slot_ && !lock_.held_by_other(row.slot));
    }

    /// Gives back what the dead hold and deletes their rows; the rows that are left. The locks of the dead are taken,
    /// and named in `rescues` for letting go once the transaction is over.
    std::vector<detail::OwnerRow> rescue_dead(store::sqlite::Repository& repository, store::sqlite::Isolation* apart,
                                              std::vector<Rescue>& rescues) {
        const bool trusted = lock_.trusted(repository.upkeep.side_file_id());
        std::vector<detail::OwnerRow> living;
        std::vector<std::int64_t> known;
        for (detail::OwnerRow& row : repository.upkeep.owners()) {
            known.push_back(row.owner);
            const bool lockable = row.slot < store::sqlite::OwnerLock::max_slots;
            if (row.owner == owner_ || (lockable && (row.slot == slot_ || !lock_.try_lock(row.slot)))) {
                living.push_back(std::move(row));
                continue;
            }
            Rescue& rescue = rescues.emplace_back(Rescue{row.slot, row.owner});
            if (trusted && lockable && row.boot_id == store::sqlite::OwnerLock::boot_id())
                count_crashes(repository, apart, row, rescue);
            release_all(repository, apart, rescue);
            repository.upkeep.delete_owner(row.owner);
        }
        for (const std::int64_t holder : repository.upkeep.claim_holders()) {
            if (std::find(known.begin(), known.end(), holder) != known.end()) continue;
            // Claims of an owner that is not in the list: somebody deleted its row.
            release_all(repository, apart, rescues.emplace_back(Rescue{never_a_slot, holder}));
        }
        return living;
    }

    static void release_all(store::sqlite::Repository& repository, store::sqlite::Isolation* apart, Rescue& rescue) {
        if (apart == nullptr) {
            rescue.claims = repository.upkeep.release_all(rescue.owner);
            return;
        }
        for (const store::sqlite::ForeignClaim& claim : repository.upkeep.claims_of(rescue.owner)) {
            const std::string& id = claim.id.str();
            if (apart->attempt(repository.db, "rescue " + id, [&] { repository.upkeep.release(claim); })) {
                rescue.refused.push_back(id);
            } else {
                ++rescue.claims;
            }
        }
    }

    /// A record that says "inside" for a claim that is still held is a crash. All other claims were never entered, or
    /// had returned.
    void count_crashes(store::sqlite::Repository& repository, store::sqlite::Isolation* apart,
                       const detail::OwnerRow& row, Rescue& rescue) {
        const std::vector<store::sqlite::RecordView> records = lock_.read_records(row.slot, row.workers);
        for (const store::sqlite::ForeignClaim& claim : repository.upkeep.claims_of(row.owner)) {
            const store::sqlite::RecordView inside{static_cast<std::uint64_t>(claim.claim),
                                                   store::sqlite::hash_id(claim.id.str()),
                                                   store::sqlite::RecordState::inside};
            if (std::find(records.begin(), records.end(), inside) == records.end()) continue;
            (void)store::sqlite::attempt(apart, repository.db, "crash", claim.id.str(),
                                         [&] { repository.upkeep.count_crash(claim); });
            rescue.crashed.push_back(claim.id.str());
        }
    }

    /// The lowest slot that no row names and nobody holds. Slots rescued in this transaction stay out: if it rolls
    /// back, their records must still be there.
    void take_slot(const std::vector<detail::OwnerRow>& rows, const std::vector<Rescue>& rescues) {
        if (slot_ != never_a_slot) lock_.unlock(std::exchange(slot_, never_a_slot));
        const auto names = [](unsigned slot) { return [slot](const auto& row) { return row.slot == slot; }; };
        for (unsigned slot = 0; slot < store::sqlite::OwnerLock::max_slots; ++slot) {
            if (std::any_of(rows.begin(), rows.end(), names(slot))) continue;
            if (std::any_of(rescues.begin(), rescues.end(), names(slot))) continue;
            if (!lock_.try_lock(slot)) continue;
            slot_ = slot;
            return;
        }
        throw ConfigError(
            detail::format("more than {} clients are started on one database", {store::sqlite::OwnerLock::max_slots}));
    }

    void unlock(const std::vector<Rescue>& rescues) noexcept {
        for (const Rescue& rescue : rescues) {
            if (rescue.slot < store::sqlite::OwnerLock::max_slots) lock_.unlock(rescue.slot);
        }
    }

    void look_at(store::sqlite::ForeignClaim claim, Steady::time_point now, std::vector<Sighting>& seen,
                 std::vector<store::sqlite::ForeignClaim>& hung) const {
        Sighting sighting{claim.id, claim.claim, claim.lease, now, 1};
        const Sighting* before = sighting_of(claim, seen.size());
        if (before != nullptr && before->lease == claim.lease) {
            sighting.since = before->since;
            sighting.looks = before->looks + 1;
            sighting.writable = before->writable;
        }
        const bool hangs =
            sighting.looks >= looks_needed && now - sighting.since >= release_after_ && sighting.writable;
        seen.push_back(std::move(sighting));
        if (hangs) hung.push_back(std::move(claim));
    }

    /// What was seen of a claim before; null: nothing. Claims come in the same order each time, but for those that came
    /// and went in between: the search starts at the place that this one has now.
    [[nodiscard]] const Sighting* sighting_of(const store::sqlite::ForeignClaim& claim,
                                              std::size_t place) const noexcept {
        const std::size_t count = sightings_.size();
        for (std::size_t i = 0; i < count; ++i) {
            const Sighting& sighting = sightings_[(place + i) % count];
            if (sighting.claim == claim.claim && sighting.id == claim.id) return &sighting;
        }
        return nullptr;
    }

    /// Needs no memory: what is rescued is in the file already.
    void report(const std::vector<Rescue>& rescues) const noexcept {
        for (const Rescue& rescue : rescues) {
            const auto listed = [](const std::vector<std::string>& ids) -> std::string {
                try {
                    std::string text;
                    for (const std::string& id : ids) text.append(text.empty() ? "" : ",").append(id);
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
        }
    }

    // constant after construction
    store::sqlite::GroupCommit& writes_;
    const unsigned workers_;
    const Duration release_after_;
    const Clock& clock_;
    const detail::SafeLogger log_;

    store::sqlite::OwnerLock lock_;
    unsigned slot_ = never_a_slot;
    std::int64_t owner_ = 0;
    ProbeRing ring_{};
    std::vector<Sighting> sightings_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
