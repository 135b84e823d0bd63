// SPDX-License-Identifier: MIT
#pragma once
// OwnerLock: who is alive. One side file beside the database holds a lock and the workers' records for each started
// client; the kernel frees the lock when the owner dies, and the records stay readable.

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/fork.hpp>
#include <backlite/platform/random.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// Where a worker stood when its record was last written. Stored: never renumber.
enum class RecordState : std::uint32_t {
    idle = 0,      ///< in no processor: nothing to say about the claim
    inside = 1,    ///< in the processor: a death now is a crash
    returned = 2,  ///< the processor has returned, its outcome may not be committed yet
};

/// A copy of one worker's record.
struct RecordView {
    std::uint64_t claim = 0;    ///< claim number
    std::uint64_t id_hash = 0;  ///< `hash_id` of the task's id
    RecordState state = RecordState::idle;

    friend bool operator==(const RecordView&, const RecordView&) = default;
};

/// FNV-1a, 64 bits, of an id's text (draft-eastlake-fnv). Stored: never change how it is made.
[[nodiscard]] constexpr std::uint64_t hash_id(std::string_view id) noexcept {
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325U;
    for (const char c : id) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x0000'0100'0000'01b3U;
    }
    return hash;
}

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
    void enter(std::uint64_t claim, std::uint64_t id_hash) noexcept {
        state_.store(RecordState::idle, std::memory_order_relaxed);
        claim_.store(claim, std::memory_order_release);
        id_hash_.store(id_hash, std::memory_order_release);
        state_.store(RecordState::inside, std::memory_order_release);
    }

    /// First thing after the processor returned or threw.
    void returned() noexcept { state_.store(RecordState::returned, std::memory_order_release); }

    /// The worker holds no task any more.
    void clear() noexcept { state_.store(RecordState::idle, std::memory_order_release); }

private:
    // stored: never reorder
    std::atomic<std::uint64_t> claim_{0};
    std::atomic<std::uint64_t> id_hash_{0};
    std::atomic<RecordState> state_{RecordState::idle};
};

/// The side file `<database>-backlite`, opened once per client. Each started client owns one slot of it: a lock on the
/// slot's first byte, and a region with one record per worker.
///
/// The locks belong to the open file description (fcntl(2), "Open file description locks"): other clients in the same
/// process see them, closing another descriptor of the file does not drop them, and the kernel frees them at death.
/// They conflict between OwnerLocks, not between the threads that use one.
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

    /// The kernel's name for the time since the last boot. Read once.
    [[nodiscard]] static std::string boot_id();

    /// The file's name.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Where a slot's region begins in the file; its first byte is the one that is locked.
    [[nodiscard]] static off_t offset_of(unsigned slot) noexcept {
        return static_cast<off_t>((std::size_t{slot} + 1) * region_size);
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

    /// Gives the mapped region its room again if somebody has cut the file short, since a store behind its end is a
    /// SIGBUS. What the records said is lost. A store between the cut and this call is one still: pwrite(2) would be
    /// none, but costs 0.8 us a task on ext4, and workers would wait for each other. REQUIRES: no map() or unmap() at
    /// the same time. Errors: as map().
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

    [[noreturn]] void throw_error(int error, int code, std::string_view verb) const;
    void check_slot(const char* call, unsigned slot) const;
    void take_over_mode_and_owner(const struct ::stat& database) const noexcept;
    [[nodiscard]] Header header_for(std::string_view file_id) const;
    [[nodiscard]] int set_lock(unsigned slot, short type) const noexcept;
    [[nodiscard]] std::size_t read_at(off_t offset, void* to, std::size_t size) const;
    void write_at(off_t offset, const void* from, std::size_t size) const;
    void allocate(off_t offset, std::size_t size) const;

    // constant after construction
    platform::ForkGuard guard_{};
    std::string path_;
    platform::ForkClosedFd file_{};  // its open file description carries the locks

    // written by map() and unmap()
    WorkerRecord* records_ = nullptr;
    unsigned workers_ = 0;
    std::size_t mapped_size_ = 0;
    off_t mapped_at_ = 0;
};

// ---- opening --------------------------------------------------------------------------------------------------------

inline OwnerLock::OwnerLock(const std::string& database) : path_(database + "-backlite") {
    struct ::stat source {};
    if (::stat(database.c_str(), &source) != 0) {
        const int error = errno;
        throw StorageError(detail::format("cannot look at {}: {}", {database, std::generic_category().message(error)}),
                           SQLITE_CANTOPEN);
    }

    // Without O_CREAT first: with it, Linux may refuse an existing file in a sticky directory (fs.protected_regular).
    // O_NOFOLLOW: whoever may write to the directory could plant a link, and have us write to its target.
    // A second and third round happen when others create the file at the same time; more are a bound, not a plan.
    int error = ENOENT;
    for (int round = 0; round < 100 && (error == ENOENT || error == EEXIST); ++round) {
        const int create = error == ENOENT && round > 0 ? O_CREAT | O_EXCL : 0;
        error = file_.open(path_.c_str(), O_RDWR | O_NOFOLLOW | create, source.st_mode & 0777);
    }
    if (error != 0) throw_error(error, SQLITE_CANTOPEN, "open");

    struct ::stat own {};
    if (::fstat(file_.get(), &own) != 0) throw_error(errno, SQLITE_CANTOPEN, "look at");
    if (!S_ISREG(own.st_mode)) throw StorageError(path_ + " is not a regular file", SQLITE_CANTOPEN);
    take_over_mode_and_owner(source);
}

// Also for a file that was there: its creator may have died before this, and the database's mode may have changed.
// What the process may not set stays as it is, as SQLite does with -wal.
inline void OwnerLock::take_over_mode_and_owner(const struct ::stat& database) const noexcept {
    struct ::stat own {};
    if (::fstat(file_.get(), &own) != 0) return;
    if (own.st_uid != database.st_uid || own.st_gid != database.st_gid) {
        if (::fchown(file_.get(), database.st_uid, database.st_gid) != 0) {
            const uid_t keep = static_cast<uid_t>(-1);
            static_cast<void>(::fchown(file_.get(), keep, database.st_gid) == 0);
        }
    }
    // After the owner, so that the mode is not open to the wrong group.
    const mode_t mode = database.st_mode & 0777;
    if ((own.st_mode & 07777) != mode) static_cast<void>(::fchmod(file_.get(), mode));
}

inline bool OwnerLock::in_place() const {
    guard_.check_process("OwnerLock::in_place");
    struct ::stat own {};
    struct ::stat named {};
    if (::fstat(file_.get(), &own) != 0) throw_error(errno, SQLITE_IOERR_FSTAT, "look at");
    if (::lstat(path_.c_str(), &named) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return false;
        throw_error(errno, SQLITE_IOERR_FSTAT, "look at");
    }
    return own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

// ---- the header -----------------------------------------------------------------------------------------------------

inline bool OwnerLock::trusted(std::string_view file_id) const {
    guard_.check_process("OwnerLock::trusted");
    if (file_id.size() != 32) return false;
    Header found{};
    if (read_at(0, found.data(), found.size()) != found.size()) return false;
    return found == header_for(file_id);
}

inline std::string OwnerLock::initialise() {
    guard_.check_process("OwnerLock::initialise");
    std::string file_id;
    for (const std::uint64_t half : {platform::random_seed(), platform::random_seed()}) {
        for (int shift = 60; shift >= 0; shift -= 4) file_id += "0123456789abcdef"[half >> shift & 0xf];
    }
    const Header header = header_for(file_id);
    write_at(0, header.data(), header.size());
    return file_id;
}

// All that a trusted header says; the rest of it is zero. Text, for whoever has to look at one.
// The birth time is in it because a file system may give a new file the inode number of one just deleted.
inline OwnerLock::Header OwnerLock::header_for(std::string_view file_id) const {
    struct ::statx own {};
    if (::statx(file_.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &own) != 0) {
        throw_error(errno, SQLITE_IOERR_FSTAT, "look at");
    }
    const bool has_birth = (own.stx_mask & STATX_BTIME) != 0;
    const std::string fraction = std::to_string(has_birth ? own.stx_btime.tv_nsec : 0U);
    const std::string text =
        detail::format("backlite owners\nlayout 1\nboot {}\nid {}\ndevice {}:{}\ninode {}\nbirth {}.{}{}\n",
                       {boot_id(), file_id, own.stx_dev_major, own.stx_dev_minor, own.stx_ino,
                        has_birth ? own.stx_btime.tv_sec : 0, std::string(9 - fraction.size(), '0'), fraction});
    Header header{};
    assert(text.size() < header.size());
    std::copy_n(text.begin(), (std::min)(text.size(), header.size()), header.begin());
    return header;
}

inline std::string OwnerLock::boot_id() {
    static const std::string& id = *new std::string([] {
        const char* const path = "/proc/sys/kernel/random/boot_id";
        platform::ForkClosedFd file;
        int error = file.open(path, O_RDONLY);
        std::array<char, 64> text{};
        ssize_t size = -1;
        while (error == 0 && (size = ::read(file.get(), text.data(), text.size())) < 0) {
            if (errno != EINTR) error = errno;
        }
        const std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
        std::string found{line.substr(0, line.find('\n'))};
        if (found.empty()) {
            throw StorageError(
                detail::format("cannot read {}: {}; is /proc mounted?", {path, std::generic_category().message(error)}),
                SQLITE_CANTOPEN);
        }
        return found;
    }());  // never destroyed, as ForkHooks
    return id;
}

// ---- locks ----------------------------------------------------------------------------------------------------------

inline bool OwnerLock::try_lock(unsigned slot) {
    check_slot("OwnerLock::try_lock", slot);
    const int error = set_lock(slot, F_WRLCK);
    if (error == EAGAIN || error == EACCES) return false;
    if (error != 0) throw_error(error, SQLITE_IOERR_LOCK, "lock a byte of");
    return true;
}

inline void OwnerLock::unlock(unsigned slot) noexcept {
    if (slot < max_slots && !guard_.forked()) static_cast<void>(set_lock(slot, F_UNLCK));
}

inline bool OwnerLock::held_by_other(unsigned slot) const {
    check_slot("OwnerLock::held_by_other", slot);
    struct ::flock probe {};
    probe.l_type = F_WRLCK;
    probe.l_whence = SEEK_SET;
    probe.l_start = offset_of(slot);
    probe.l_len = 1;
    while (::fcntl(file_.get(), F_OFD_GETLK, &probe) != 0) {
        if (errno != EINTR) throw_error(errno, SQLITE_IOERR_LOCK, "probe a lock of");
    }
    return probe.l_type != F_UNLCK;
}

inline int OwnerLock::set_lock(unsigned slot, short type) const noexcept {
    struct ::flock lock {};  // l_pid must be zero
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = offset_of(slot);
    lock.l_len = 1;
    while (::fcntl(file_.get(), F_OFD_SETLK, &lock) != 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

// ---- records --------------------------------------------------------------------------------------------------------

inline void OwnerLock::map(unsigned slot, unsigned workers) {
    check_slot("OwnerLock::map", slot);
    if (workers == 0 || workers > max_workers) {
        throw ConfigError(
            detail::format("num_workers is {}, but a client has from 1 to {} workers", {workers, max_workers}));
    }
    unmap();

    // Whole pages, since a store makes the file system allocate the whole page that it touches.
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t size = (workers * sizeof(WorkerRecord) + page - 1) / page * page;
    allocate(offset_of(slot), size);

    // Through a second open file description, which the mapping keeps alive until the last of them is gone: the lock
    // must not be on it. By way of /proc: the name may lead to another file by now.
    platform::ForkClosedFd second;
    const int error = second.open(detail::format("/proc/self/fd/{}", {file_.get()}).c_str(), O_RDWR);
    if (error != 0) throw_error(error, SQLITE_CANTOPEN, "open");
    void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, second.get(), offset_of(slot));
    if (at == MAP_FAILED) throw_error(errno, SQLITE_IOERR_MMAP, "map");
    if (::madvise(at, size, MADV_DONTFORK) != 0) {
        const int refused = errno;
        ::munmap(at, size);
        throw_error(refused, SQLITE_IOERR_MMAP, "map");
    }

    auto* const bytes = static_cast<std::byte*>(at);
    records_ = ::new (at) WorkerRecord;
    for (unsigned i = 1; i < workers; ++i) ::new (bytes + i * sizeof(WorkerRecord)) WorkerRecord;
    workers_ = workers;
    mapped_size_ = size;
    mapped_at_ = offset_of(slot);
}

inline void OwnerLock::keep_room() const {
    guard_.check_process("OwnerLock::keep_room");
    if (records_ == nullptr) return;
    struct ::stat own {};
    if (::fstat(file_.get(), &own) != 0) throw_error(errno, SQLITE_IOERR_FSTAT, "look at");
    if (own.st_size < mapped_at_ + static_cast<off_t>(mapped_size_)) allocate(mapped_at_, mapped_size_);
}

inline void OwnerLock::unmap() noexcept {
    if (records_ == nullptr) return;
    // MADV_DONTFORK: in a child nothing is mapped there, or by now something of the child's own.
    if (!guard_.forked()) ::munmap(records_, mapped_size_);
    records_ = nullptr;
    workers_ = 0;
    mapped_size_ = 0;
}

inline std::vector<RecordView> OwnerLock::read_records(unsigned slot, unsigned workers) const {
    check_slot("OwnerLock::read_records", slot);
    std::string region(size_of(workers), '\0');
    region.resize(read_at(offset_of(slot), region.data(), region.size()));
    return records_in(region, workers);
}

inline std::vector<RecordView> OwnerLock::records_in(std::string_view region, unsigned workers) {
    std::vector<RecordView> records((std::min)(workers, max_workers));
    for (std::size_t i = 0; i < records.size() && (i + 1) * sizeof(StoredRecord) <= region.size(); ++i) {
        StoredRecord stored;
        std::memcpy(&stored, region.data() + i * sizeof stored, sizeof stored);
        const auto state = static_cast<RecordState>(stored.state);
        if (state != RecordState::inside && state != RecordState::returned) continue;
        records[i] = {.claim = stored.claim, .id_hash = stored.id_hash, .state = state};
    }
    return records;
}

// A store into a hole of a mapped file on a full disk is a SIGBUS. Here a full disk is an error.
inline void OwnerLock::allocate(off_t offset, std::size_t size) const {
    int error = EINTR;
    while (error == EINTR) error = ::posix_fallocate(file_.get(), offset, static_cast<off_t>(size));
    // Not every C library imitates it where the file system has none; then the zeros below allocate.
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL && error != ENOSYS) {
        throw_error(error, SQLITE_IOERR_WRITE, "allocate a region of");
    }
    const std::vector<std::byte> zeros(size);
    write_at(offset, zeros.data(), zeros.size());
}

// ---- the file -------------------------------------------------------------------------------------------------------

inline std::size_t OwnerLock::read_at(off_t offset, void* to, std::size_t size) const {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n =
            ::pread(file_.get(), static_cast<std::byte*>(to) + done, size - done, offset + static_cast<off_t>(done));
        if (n == 0) break;
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            throw_error(errno, SQLITE_IOERR_READ, "read");
        }
    }
    return done;
}

inline void OwnerLock::write_at(off_t offset, const void* from, std::size_t size) const {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n = ::pwrite(file_.get(), static_cast<const std::byte*>(from) + done, size - done,
                                   offset + static_cast<off_t>(done));
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (n == 0 || errno != EINTR) {
            throw_error(n == 0 ? EIO : errno, SQLITE_IOERR_WRITE, "write to");
        }
    }
}

inline void OwnerLock::check_slot(const char* call, unsigned slot) const {
    guard_.check_process(call);
    if (slot >= max_slots) {
        throw ConfigError(detail::format("{}: slot {} is not below {}", {call, slot, max_slots}));
    }
}

inline void OwnerLock::throw_error(int error, int code, std::string_view verb) const {
    const std::string what = detail::format("cannot {} {}: {}", {verb, path_, std::generic_category().message(error)});
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw FullError(what, SQLITE_FULL);
    throw StorageError(what, code);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
