// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/owner_lock.hpp>.

#include <backlite/store/sqlite/owner_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void WorkerRecord::enter(std::uint64_t claim, std::uint64_t id_hash) noexcept {
    state_.store(RecordState::idle, std::memory_order_relaxed);
    claim_.store(claim, std::memory_order_release);
    id_hash_.store(id_hash, std::memory_order_release);
    state_.store(RecordState::inside, std::memory_order_release);
}

BACKLITE_DECL OwnerLock::OwnerLock(const std::string& database) : path_(database + "-backlite") {
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
BACKLITE_DECL void OwnerLock::take_over_mode_and_owner(const struct ::stat& database) const noexcept {
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

BACKLITE_DECL bool OwnerLock::in_place() const {
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

BACKLITE_DECL bool OwnerLock::trusted(std::string_view file_id) const {
    guard_.check_process("OwnerLock::trusted");
    if (file_id.size() != 32) return false;
    Header found{};
    if (read_at(0, found.data(), found.size()) != found.size()) return false;
    return found == header_for(file_id);
}

BACKLITE_DECL std::string OwnerLock::initialise() {
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
BACKLITE_DECL OwnerLock::Header OwnerLock::header_for(std::string_view file_id) const {
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

BACKLITE_DECL std::string OwnerLock::boot_id() {
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

BACKLITE_DECL bool OwnerLock::try_lock(unsigned slot) {
    check_slot("OwnerLock::try_lock", slot);
    const int error = set_lock(slot, F_WRLCK);
    if (error == EAGAIN || error == EACCES) return false;
    if (error != 0) throw_error(error, SQLITE_IOERR_LOCK, "lock a byte of");
    return true;
}

BACKLITE_DECL void OwnerLock::unlock(unsigned slot) noexcept {
    if (slot < max_slots && !guard_.forked()) static_cast<void>(set_lock(slot, F_UNLCK));
}

BACKLITE_DECL bool OwnerLock::held_by_other(unsigned slot) const {
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

BACKLITE_DECL int OwnerLock::set_lock(unsigned slot, short type) const noexcept {
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

BACKLITE_DECL void OwnerLock::map(unsigned slot, unsigned workers) {
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

BACKLITE_DECL void OwnerLock::keep_room() const {
    guard_.check_process("OwnerLock::keep_room");
    if (records_ == nullptr) return;
    struct ::stat own {};
    if (::fstat(file_.get(), &own) != 0) throw_error(errno, SQLITE_IOERR_FSTAT, "look at");
    if (own.st_size < mapped_at_ + static_cast<off_t>(mapped_size_)) allocate(mapped_at_, mapped_size_);
}

BACKLITE_DECL void OwnerLock::unmap() noexcept {
    if (records_ == nullptr) return;
    // MADV_DONTFORK: in a child nothing is mapped there, or by now something of the child's own.
    if (!guard_.forked()) ::munmap(records_, mapped_size_);
    records_ = nullptr;
    workers_ = 0;
    mapped_size_ = 0;
}

BACKLITE_DECL std::vector<RecordView> OwnerLock::read_records(unsigned slot, unsigned workers) const {
    check_slot("OwnerLock::read_records", slot);
    std::string region(size_of(workers), '\0');
    region.resize(read_at(offset_of(slot), region.data(), region.size()));
    return records_in(region, workers);
}

BACKLITE_DECL std::vector<RecordView> OwnerLock::records_in(std::string_view region, unsigned workers) {
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
BACKLITE_DECL void OwnerLock::allocate(off_t offset, std::size_t size) const {
    int error = EINTR;
    while (error == EINTR) error = ::posix_fallocate(file_.get(), offset, static_cast<off_t>(size));
    // Not every C library imitates it where the file system has none; then the zeros below allocate.
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL && error != ENOSYS) {
        throw_error(error, SQLITE_IOERR_WRITE, "allocate a region of");
    }
    const std::vector<std::byte> zeros(size);
    write_at(offset, zeros.data(), zeros.size());
}

BACKLITE_DECL std::size_t OwnerLock::read_at(off_t offset, void* to, std::size_t size) const {
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

BACKLITE_DECL void OwnerLock::write_at(off_t offset, const void* from, std::size_t size) const {
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

BACKLITE_DECL void OwnerLock::check_slot(const char* call, unsigned slot) const {
    guard_.check_process(call);
    if (slot >= max_slots) {
        throw ConfigError(detail::format("{}: slot {} is not below {}", {call, slot, max_slots}));
    }
}

BACKLITE_DECL void OwnerLock::throw_error(int error, int code, std::string_view verb) const {
    const std::string what = detail::format("cannot {} {}: {}", {verb, path_, std::generic_category().message(error)});
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw FullError(what, SQLITE_FULL);
    throw StorageError(what, code);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
