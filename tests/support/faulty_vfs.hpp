// SPDX-License-Identifier: MIT
#pragma once
// A VFS for SQLite that fails when a test says so.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <disk_record.hpp>

namespace backlite_test {

/// What SQLite asks of a disk. `map` is a piece of the shared memory that lies beside a write-ahead log.
enum class DiskCall { open, read, write, truncate, sync, remove, map };

[[nodiscard]] constexpr std::string_view to_string(DiskCall call) noexcept {
    switch (call) {
        case DiskCall::open: return "open";
        case DiskCall::read: return "read";
        case DiskCall::write: return "write";
        case DiskCall::truncate: return "truncate";
        case DiskCall::sync: return "sync";
        case DiskCall::remove: return "remove";
        case DiskCall::map: break;
    }
    return "map";
}

/// Which calls fail, counted from when the fault was armed.
struct DiskFault {
    std::uint64_t nth = 1;  ///< the first that fails; the first call is 1
    bool for_good = false;  ///< all that follow fail too
    bool full = false;      ///< the disk has no room: only calls that need some are counted. Otherwise any, with IOERR
};

/// SQLite's own VFS under another name. It fails the calls that a test wants to fail, and keeps a record of what
/// reaches the disk. Threads: any. REQUIRES: outlives the connections that were opened through it.
class FaultyVfs {
public:
    explicit FaultyVfs(std::string name) : name_(std::move(name)), real_(sqlite3_vfs_find(nullptr)) {
        vfs_ = *real_;
        vfs_.zName = name_.c_str();
        vfs_.pNext = nullptr;
        vfs_.pAppData = this;
        vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
        vfs_.xOpen = &FaultyVfs::open;
        vfs_.xDelete = &FaultyVfs::remove;
        if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK) throw std::runtime_error("no VFS " + name_);
    }
    FaultyVfs(const FaultyVfs&) = delete;
    FaultyVfs& operator=(const FaultyVfs&) = delete;
    ~FaultyVfs() { sqlite3_vfs_unregister(&vfs_); }

    /// What writing to the log returns from now on, and the reason that the system gives; SQLITE_OK: it works.
    void fail_writes(int code, int reason = EIO) noexcept {
        write_reason_ = reason;
        write_code_ = code;
    }
    /// What syncing the log returns from now on; SQLITE_OK: it works.
    void fail_syncs(int code) noexcept { sync_code_ = code; }

    /// Calls on any file fail from now on as `fault` says; those before are forgotten.
    void arm(const DiskFault& fault) {
        const std::lock_guard lock(mutex_);
        fault_ = fault;
        armed_ = true;
        calls_ = 0;
        met_ = false;
    }
    void disarm() {
        const std::lock_guard lock(mutex_);
        armed_ = false;
    }
    /// Whether a call has failed since the fault was armed.
    [[nodiscard]] bool met() const {
        const std::lock_guard lock(mutex_);
        return met_;
    }
    /// How many calls could have failed since the fault was armed.
    [[nodiscard]] std::uint64_t calls() const {
        const std::lock_guard lock(mutex_);
        return calls_;
    }
    /// The first call that failed.
    [[nodiscard]] DiskCall met_call() const {
        const std::lock_guard lock(mutex_);
        return met_call_;
    }

    /// How long a sync takes instead of what it really takes: then nothing is synced.
    void imitate_syncs(std::chrono::microseconds time) noexcept { sync_time_ = time.count(); }

    /// What reaches the files from now on is recorded; null: no more. REQUIRES: no file is open.
    void record(DiskRecord* record) noexcept { record_ = record; }

    /// A connection through this VFS.
    [[nodiscard]] SQLite::Database connect(const std::string& file) const {
        return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, name_.c_str());
    }

private:
    /// SQLite gives each file one block of memory: ours first, the real VFS's behind it.
    struct File {
        sqlite3_file base;
        FaultyVfs* vfs;
        bool log;
        std::size_t recorded;
        sqlite3_io_methods methods;
    };

    static File* ours(sqlite3_file* file) noexcept { return reinterpret_cast<File*>(file); }
    static sqlite3_file* real(sqlite3_file* file) noexcept {
        return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(File));
    }

    static int code_of(DiskCall call, bool full) noexcept {
        switch (call) {
            case DiskCall::open: return SQLITE_CANTOPEN;
            case DiskCall::read: return SQLITE_IOERR_READ;
            case DiskCall::write: return full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
            case DiskCall::truncate: return SQLITE_IOERR_TRUNCATE;
            case DiskCall::sync: return SQLITE_IOERR_FSYNC;
            case DiskCall::remove: return SQLITE_IOERR_DELETE;
            case DiskCall::map: break;
        }
        return SQLITE_IOERR_SHMSIZE;  // what the real one says for a full disk too
    }

    /// What this call returns without being made; SQLITE_OK: it is made.
    int fault(DiskCall call) noexcept {
        const std::lock_guard lock(mutex_);
        if (!armed_) return SQLITE_OK;
        if (fault_.full && call != DiskCall::write && call != DiskCall::map) return SQLITE_OK;
        ++calls_;
        if (fault_.for_good ? calls_ < fault_.nth : calls_ != fault_.nth) return SQLITE_OK;
        if (!std::exchange(met_, true)) met_call_ = call;
        return code_of(call, fault_.full);
    }

    static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) noexcept {
        auto* self = static_cast<FaultyVfs*>(vfs->pAppData);
        File* const own = ours(file);
        *own = File{};
        int code = self->fault(DiskCall::open);
        if (code != SQLITE_OK) return code;
        const auto open_real = [&] {
            code = self->real_->xOpen(self->real_, name, real(file), flags, out_flags);
            return code == SQLITE_OK;
        };
        if (self->record_ != nullptr && name != nullptr) {
            own->recorded = self->record_->open(name, open_real);
        } else {
            open_real();
        }
        const sqlite3_io_methods* const below = real(file)->pMethods;
        if (below == nullptr) return code;
        own->vfs = self;
        own->log = (flags & SQLITE_OPEN_WAL) != 0;
        own->methods = forwarding(*below);
        own->base.pMethods = &own->methods;
        return code;
    }

    static int remove(sqlite3_vfs* vfs, const char* name, int sync_folder) noexcept {
        auto* self = static_cast<FaultyVfs*>(vfs->pAppData);
        int code = self->fault(DiskCall::remove);
        if (code == SQLITE_OK) code = self->real_->xDelete(self->real_, name, sync_folder);
        if (code == SQLITE_OK && self->record_ != nullptr) self->record_->remove(name);
        return code;
    }

    static int write(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) noexcept {
        File* const own = ours(file);
        int code = own->log ? own->vfs->write_code_.load() : SQLITE_OK;
        if (code != SQLITE_OK) errno = own->vfs->write_reason_;
        if (code == SQLITE_OK) code = own->vfs->fault(DiskCall::write);
        if (code == SQLITE_OK) code = real(file)->pMethods->xWrite(real(file), from, size, at);
        if (code == SQLITE_OK && own->recorded != 0) {
            own->vfs->record_->write(own->recorded, {static_cast<const char*>(from), static_cast<std::size_t>(size)},
                                     static_cast<std::size_t>(at));
        }
        return code;
    }

    static int truncate(sqlite3_file* file, sqlite3_int64 size) noexcept {
        File* const own = ours(file);
        int code = own->vfs->fault(DiskCall::truncate);
        if (code == SQLITE_OK) code = real(file)->pMethods->xTruncate(real(file), size);
        if (code == SQLITE_OK && own->recorded != 0) {
            own->vfs->record_->truncate(own->recorded, static_cast<std::size_t>(size));
        }
        return code;
    }

    static int sync(sqlite3_file* file, int flags) noexcept {
        File* const own = ours(file);
        FaultyVfs& self = *own->vfs;
        int code = own->log ? self.sync_code_.load() : SQLITE_OK;
        if (code == SQLITE_OK) code = self.fault(DiskCall::sync);
        const std::size_t begun = own->recorded == 0 ? 0 : self.record_->position();
        const std::int64_t imitated = self.sync_time_;
        if (code == SQLITE_OK && imitated < 0) code = real(file)->pMethods->xSync(real(file), flags);
        if (imitated > 0) std::this_thread::sleep_for(std::chrono::microseconds{imitated});
        if (code == SQLITE_OK && own->recorded != 0) self.record_->sync(own->recorded, begun);
        return code;
    }

    /// In a write-ahead log, the lock at offset 0 is the writer's.
    static int lock_shared(sqlite3_file* file, int offset, int n, int flags) noexcept {
        constexpr int exclusive = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
        constexpr int over = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE;
        File* const own = ours(file);
        const bool writer = own->recorded != 0 && offset == 0;
        if (writer && flags == over) own->vfs->record_->end_writing();
        const int code = real(file)->pMethods->xShmLock(real(file), offset, n, flags);
        if (writer && flags == exclusive && code == SQLITE_OK) own->vfs->record_->begin_writing();
        return code;
    }

    /// Each method hands on to the one below; some may fail before, or are recorded.
    static sqlite3_io_methods forwarding(const sqlite3_io_methods& below) noexcept {
        sqlite3_io_methods methods{};
        methods.iVersion = below.iVersion;
        methods.xClose = [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); };
        methods.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
            const int code = ours(f)->vfs->fault(DiskCall::read);
            return code != SQLITE_OK ? code : real(f)->pMethods->xRead(real(f), to, size, at);
        };
        methods.xWrite = &FaultyVfs::write;
        methods.xTruncate = &FaultyVfs::truncate;
        methods.xSync = &FaultyVfs::sync;
        methods.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
            return real(f)->pMethods->xFileSize(real(f), size);
        };
        methods.xLock = [](sqlite3_file* f, int lock) { return real(f)->pMethods->xLock(real(f), lock); };
        methods.xUnlock = [](sqlite3_file* f, int lock) { return real(f)->pMethods->xUnlock(real(f), lock); };
        methods.xCheckReservedLock = [](sqlite3_file* f, int* held) {
            return real(f)->pMethods->xCheckReservedLock(real(f), held);
        };
        methods.xFileControl = [](sqlite3_file* f, int what, void* with) {
            return real(f)->pMethods->xFileControl(real(f), what, with);
        };
        methods.xSectorSize = [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); };
        methods.xDeviceCharacteristics = [](sqlite3_file* f) {
            return real(f)->pMethods->xDeviceCharacteristics(real(f));
        };
        methods.xShmMap = [](sqlite3_file* f, int region, int size, int extend, volatile void** at) {
            const int code = ours(f)->vfs->fault(DiskCall::map);
            return code != SQLITE_OK ? code : real(f)->pMethods->xShmMap(real(f), region, size, extend, at);
        };
        methods.xShmLock = &FaultyVfs::lock_shared;
        methods.xShmBarrier = [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); };
        methods.xShmUnmap = [](sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); };
        methods.xFetch = [](sqlite3_file* f, sqlite3_int64 at, int size, void** to) {
            return real(f)->pMethods->xFetch(real(f), at, size, to);
        };
        methods.xUnfetch = [](sqlite3_file* f, sqlite3_int64 at, void* from) {
            return real(f)->pMethods->xUnfetch(real(f), at, from);
        };
        return methods;
    }

    const std::string name_;
    sqlite3_vfs* const real_;
    sqlite3_vfs vfs_{};
    std::atomic<int> write_code_{SQLITE_OK};
    std::atomic<int> write_reason_{EIO};
    std::atomic<int> sync_code_{SQLITE_OK};
    std::atomic<std::int64_t> sync_time_{-1};  // microseconds; below zero: syncs are real
    DiskRecord* record_ = nullptr;             // constant while a file is open

    mutable std::mutex mutex_{};
    // guarded by mutex_
    bool armed_ = false;
    DiskFault fault_{};
    std::uint64_t calls_ = 0;
    bool met_ = false;
    DiskCall met_call_ = DiskCall::open;
};

}  // namespace backlite_test
