// SPDX-License-Identifier: MIT
#pragma once
// A started client among the others on its file: says that it lives, notices who died, and takes back what they held.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <backlite/base/format.hpp>
#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/cycle.hpp>
#include <backlite/store/sqlite/group_commit.hpp>
#include <backlite/store/sqlite/isolation.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>
#include <backlite/store/sqlite/repository.hpp>
#include <backlite/store/store.hpp>
#include <backlite/store/trouble.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Which of the others on a file a client probes, so that n clients cost n probes a look, not n times n. They stand in
/// a ring in the order of their numbers, and each watches the next one: of any number that died, the first has a living
/// one before it. Should that one hang, the others help: every second look each probes one more, a step further each
/// time, so that one look of all of them together passes over nobody.
/// Threads: one at a time.
class ProbeRing {
public:
    /// `others`: sorted by number.
    void set(std::vector<detail::OwnerRow> others, std::int64_t own);

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
class Liveness final : public Owner {
public:
    using Steady = std::chrono::steady_clock;
    using Patience = store::Patience;

    Liveness(GroupCommit& writes, const std::string& database, unsigned workers, Duration release_after,
             const Clock& clock, detail::SafeLogger log, std::function<void(const Rescued&)> rescued = {});
    Liveness(const Liveness&) = delete;
    Liveness& operator=(const Liveness&) = delete;

    /// Rescues what dead owners hold, takes a slot and a number, and enters the list of clients, in one transaction.
    /// Errors: ConfigError if there are more workers or clients than the side file has room for; FullError when the
    /// disk is; StorageError. Then the client is not in the list.
    void join(const Patience& patience);

    void leave(const Patience& patience) override {
        writes_.write([&](Repository& repository) { repository.upkeep.delete_owner(owner_); }, patience);
    }

    /// Frees the lock.
    void let_go() noexcept override {
        lock_.unmap();
        if (slot_ != never_a_slot) lock_.unlock(std::exchange(slot_, never_a_slot));
    }

    [[nodiscard]] std::int64_t number() const noexcept override { return owner_; }

    /// See OwnerLock::keep_room.
    void keep_room() noexcept override;

    void entering(std::size_t worker, const detail::ClaimedTask& task) noexcept override {
        if (task.batch != 0) return record(worker).enter_batch(task.batch);
        record(worker).enter(static_cast<std::uint64_t>(task.claim), hash_id(task.id.str()));
    }
    void left(std::size_t worker) noexcept override { record(worker).returned(); }

    [[nodiscard]] WorkerRecord& record(std::size_t worker) noexcept {
        return lock_.record(static_cast<unsigned>(worker));
    }

    [[nodiscard]] FileState read(std::vector<QueueHead> heads, bool known, const Patience& patience) override;

    /// Takes note of who else is there. For use inside a read or write of the group commit, between join and leave.
    /// Errors: StorageError that is fatal if this client is not in the list any more. Then nobody would notice its
    /// death, and whoever starts takes its claims.
    [[nodiscard]] std::vector<detail::OwnerRow> read_others(Repository& repository) const;
    void set_others(std::vector<detail::OwnerRow> others) { ring_.set(std::move(others), owner_); }

    [[nodiscard]] bool others_known() const noexcept override { return !ring_.others().empty(); }

    /// See ProbeRing. No SQL.
    [[nodiscard]] bool someone_died() override {
        return ring_.look([&](const detail::OwnerRow& row) { return dead(row); });
    }

    int rescue(const Patience& patience) override;

    int observe(const Patience& patience) override;

private:
    /// One claim of another client, as this one has seen it.
    struct Sighting {
        detail::ClaimKey key{};
        std::int64_t lease = 0;
        Steady::time_point since{};
        int looks = 0;
        bool writable = false;  ///< this observer could write to the file at one of these looks
    };

    struct Rescue {
        unsigned slot = 0;
        std::int64_t owner = 0;
        int claims = 0;
        std::vector<Rescued::Task> crashed{};
        std::vector<Rescued::Task> refused{};  ///< tasks that are still claimed by it: SQLite refused the change
    };

    static constexpr unsigned never_a_slot = OwnerLock::max_slots;
    /// A lease must stand still over this many looks, so that one long pause of the observer's own is not enough.
    static constexpr int looks_needed = 4;

    [[nodiscard]] bool dead(const detail::OwnerRow& row) const {
        // A row with a slot that no lock can be for is nobody's.
        return row.slot >= OwnerLock::max_slots || (row.slot != slot_ && !lock_.held_by_other(row.slot));
    }

    /// Gives back what the dead hold and deletes their rows; the rows that are left. The locks of the dead are taken,
    /// and named in `rescues` for letting go once the transaction is over.
    std::vector<detail::OwnerRow> rescue_dead(Repository& repository, Isolation* apart, std::vector<Rescue>& rescues);

    static void release_all(Repository& repository, Isolation* apart, Rescue& rescue);

    /// Tasks whose end was asked for end with the claim. What is refused stays asked for.
    static void end_cancelled(Repository& repository, Isolation* apart);

    /// A record that says "inside" for a claim that is still held is a crash; one of a batch for each claim that may be
    /// of it. All other claims were never entered, or had returned.
    void count_crashes(Repository& repository, Isolation* apart, const detail::OwnerRow& row, Rescue& rescue);

    /// The lowest slot that no row names and nobody holds. Slots rescued in this transaction stay out: if it rolls
    /// back, their records must still be there.
    void take_slot(const std::vector<detail::OwnerRow>& rows, const std::vector<Rescue>& rescues);

    void unlock(const std::vector<Rescue>& rescues) noexcept;

    void look_at(ForeignClaim claim, Steady::time_point now, std::vector<Sighting>& seen,
                 std::vector<ForeignClaim>& hung) const;

    /// What was seen of a claim before; null: nothing. Claims come in the same order each time, but for those that came
    /// and went in between: the search starts at the place that this one has now.
    [[nodiscard]] const Sighting* sighting_of(const ForeignClaim& claim, std::size_t place) const noexcept;

    /// Needs no memory: what is rescued is in the file already.
    void report(const std::vector<Rescue>& rescues) const noexcept;

    // constant after construction
    GroupCommit& writes_;
    const unsigned workers_;
    const Duration release_after_;
    const Clock& clock_;
    const detail::SafeLogger log_;
    const std::function<void(const Rescued&)> rescued_;

    OwnerLock lock_;
    unsigned slot_ = never_a_slot;
    std::int64_t owner_ = 0;
    ProbeRing ring_{};
    std::vector<Sighting> sightings_{};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/liveness.ipp>
#endif
