// SPDX-License-Identifier: MIT
#pragma once
// OwnerLock: who is alive. One side file beside the database holds a lock and the workers' records for each started
// client; the kernel frees the lock when the owner dies, and the records stay readable.

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <backlite/base/hash.hpp>
#include <backlite/platform/file.hpp>
#include <backlite/platform/file_lock.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/shared_memory.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Where a worker stood when its record was last written. Stored: never renumber.
enum class RecordState : std::uint32_t {
    idle = 0,          ///< in no processor: nothing to say about the claim
    inside = 1,        ///< in the processor: a death now is a crash
    returned = 2,      ///< the processor has returned, its outcome may not be committed yet
    inside_batch = 3,  ///< as `inside`, with all tasks of a batch
};

/// A copy of one worker's record.
struct RecordView {
    std::uint64_t claim = 0;    ///< claim number; of a batch: its `batch_number`
    std::uint64_t id_hash = 0;  ///< `hash_id` of the task's id
    RecordState state = RecordState::idle;

    friend bool operator==(const RecordView&, const RecordView&) = default;
};

/// What records hold of a task's id. Stored: never change how it is made.
[[nodiscard]] constexpr std::uint64_t hash_id(std::string_view id) noexcept { return backlite::detail::fnv1a(id); }

/// One worker's record in the side file. It is written with plain stores into a shared mapping, so that it costs no
/// system call and is complete up to the last store when the process is killed.
/// REQUIRES: not in a forked child, where the mapping does not exist and a store is a SIGSEGV. A processor may have
/// forked and returned in the child: ask ForkGuard first.
/// Threads: written by its worker only.
class alignas(64) WorkerRecord {
public:
    WorkerRecord() noexcept = default;
    WorkerRecord(const WorkerRecord&) = delete;
    WorkerRecord& operator=(const WorkerRecord&) = delete;

    /// Last thing before the processor is called. The state is stored first and last, and no store passes another
    /// (each releases the ones before it): no moment shows a state beside the claim of another task.
    void enter(std::uint64_t claim, std::uint64_t id_hash) noexcept { enter(claim, id_hash, RecordState::inside); }

    /// The same with all tasks of a batch.
    void enter_batch(std::uint64_t number) noexcept { enter(number, 0, RecordState::inside_batch); }

    /// First thing after the processor returned or threw.
    void returned() noexcept { state_.store(RecordState::returned, std::memory_order_release); }

    /// The worker holds no task any more.
    void clear() noexcept { state_.store(RecordState::idle, std::memory_order_release); }

private:
    void enter(std::uint64_t claim, std::uint64_t id_hash, RecordState state) noexcept;

    // stored: never reorder
    std::atomic<std::uint64_t> claim_{0};
    std::atomic<std::uint64_t> id_hash_{0};
    std::atomic<RecordState> state_{RecordState::idle};
};

/// The side file `<database>-backlite`, opened once per client. Each started client owns one slot of it: a lock on the
/// slot's first byte, and a region with one record per worker.
///
/// Other clients of the same process see the locks too, and the kernel frees them at death (see FileLocks). They
/// conflict between OwnerLocks, not between the threads that use one.
///
/// The file is never unlinked and never made shorter, since both would pull it from under living clients. Nothing here
/// opens the database, its -wal or its -shm: closing such a descriptor would drop SQLite's locks.
///
/// Threads: any for locks and reading; `map` and `unmap` need the owner's care.
/// Errors: every function that is not noexcept throws ForkError in a forked child, ConfigError for a slot that is not
/// below `max_slots`, and StorageError when the system fails (FullError, SQLITE_FULL, when disk or quota are full).
class OwnerLock {
public:
    static constexpr unsigned max_workers = 1024;
    static constexpr unsigned max_slots = 4096;

    /// Opens the side file of `database`, or creates it, with the database's mode and owner as far as the process may
    /// set them.
    /// REQUIRES: `database` is a resolved file name (no symbolic link in it) and exists.
    /// Errors: StorageError, SQLITE_CANTOPEN.
    explicit OwnerLock(const std::string& database);
    OwnerLock(const OwnerLock&) = delete;
    OwnerLock& operator=(const OwnerLock&) = delete;
    /// Unmaps, and frees every lock. In a forked child it leaves all to the parent.
    ~OwnerLock() { unmap(); }

    /// True if the file's records belong to this boot, to this very file, and to the database that remembers `file_id`.
    /// False after a reboot, for a copied, restored or replaced file, for a header that is cut short or garbage:
    /// nothing that the records say may be believed then.
    [[nodiscard]] bool trusted(std::string_view file_id) const;

    /// Writes a new header with a new random id, and returns that id (32 hexadecimal digits) for the database to keep.
    /// Not synced: after a power cut the boot is another.
    /// REQUIRES: the caller holds the database's write lock, and stores the id in that transaction.
    [[nodiscard]] std::string initialise();

    /// The name of a database's side file.
    [[nodiscard]] static std::string name_for(const std::string& database) { return database + "-backlite"; }

    /// The file's name.
    [[nodiscard]] const std::string& path() const noexcept { return file_.name(); }

    /// Where a slot's region begins in the file; its first byte is the one that is locked.
    [[nodiscard]] static constexpr std::uint64_t offset_of(unsigned slot) noexcept {
        return (std::uint64_t{slot} + 1) * region_size;
    }

    /// True while the file at `path()` is the one that was opened. False once it was deleted or replaced: clients that
    /// start from then on do not see this one's locks.
    [[nodiscard]] bool in_place() const;

    /// Takes the slot's lock; true also if this OwnerLock holds it already. False if another one does. Never waits.
    [[nodiscard]] bool try_lock(unsigned slot);

    /// Frees the slot's lock, if held.
    void unlock(unsigned slot) noexcept;

    /// Whether another OwnerLock, in this process or another, holds the slot's lock now.
    [[nodiscard]] bool held_by_other(unsigned slot) const;

    /// Maps the slot's region, all records idle.
    /// REQUIRES: the slot's lock is held by this OwnerLock. No record of an earlier map() is in use.
    /// Errors: ConfigError if `workers` is 0 or above `max_workers`. Nothing is mapped after an error.
    void map(unsigned slot, unsigned workers);

    void unmap() noexcept;

    /// Gives the mapped region its room again if somebody has cut the file short (see SharedMemory). What the records
    /// said is lost. A store between the cut and this call is a SIGBUS still: pwrite(2) would be none, but costs 0.8 us
    /// a task on ext4, and workers would wait for each other. REQUIRES: no map() or unmap() at the same time. Errors:
    /// as map().
    void keep_room() const;

    /// REQUIRES: map() with more than `worker` workers; not in a forked child. Valid until unmap().
    [[nodiscard]] WorkerRecord& record(unsigned worker) noexcept {
        assert(worker < workers_ && !guard_.forked());
        return records_[worker];
    }

    /// The records in a slot, in the order of its workers; at most `max_workers` of them. What the file is too short
    /// for, and states that have no name, read as idle. A record of a living worker may come out half old, half new.
    [[nodiscard]] std::vector<RecordView> read_records(unsigned slot, unsigned workers) const;

    /// How many bytes the records of so many workers take, from the start of their slot's region.
    [[nodiscard]] static constexpr std::size_t size_of(unsigned workers) noexcept {
        return std::size_t{(std::min)(workers, max_workers)} * sizeof(WorkerRecord);
    }

    /// The same as read_records, of the beginning of a region that the caller has read.
    [[nodiscard]] static std::vector<RecordView> records_in(std::string_view region, unsigned workers);

private:
    // Stored: never change without a new layout number in the header.
    // The header has a region of its own, so that slots are aligned to pages of up to 64 KiB.
    static constexpr std::size_t region_size = 65'536;
    static constexpr std::size_t header_size = 512;

    // The bytes of a WorkerRecord, as they lie in the file.
    struct StoredRecord {
        std::uint64_t claim = 0;
        std::uint64_t id_hash = 0;
        std::uint32_t state = 0;
        std::array<std::byte, 44> unused{};
    };
    static_assert(sizeof(WorkerRecord) == 64 && sizeof(StoredRecord) == sizeof(WorkerRecord));
    static_assert(std::is_standard_layout_v<WorkerRecord> && std::is_trivially_destructible_v<WorkerRecord>);
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<RecordState>::is_always_lock_free,
                  "backlite needs lock-free 64-bit atomics: its records are read after the writer's death");
    static_assert(max_workers * sizeof(WorkerRecord) == region_size);

    using Header = std::array<char, header_size>;

    /// For the last error of the system.
    [[noreturn]] void throw_error(int code, std::string_view verb) const;
    void demand(platform::SharedMemory::Fault fault) const;
    void check_slot(const char* call, unsigned slot) const;
    [[nodiscard]] Header header_for(std::string_view file_id) const;
    [[nodiscard]] std::size_t read_at(std::uint64_t offset, void* to, std::size_t size) const;

    // constant after construction
    platform::ForkGuard guard_{};
    platform::File file_;
    platform::FileLocks locks_{file_};

    // written by map() and unmap()
    platform::SharedMemory region_{};
    WorkerRecord* records_ = nullptr;
    unsigned workers_ = 0;
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/owner_lock.ipp>
#endif
