// SPDX-License-Identifier: MIT
#pragma once
// A VFS for SQLite that fails when a test says so.

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

namespace backlite_test {

/// SQLite's own VFS under another name, whose write-ahead log cannot be written or synced while a test wants it so.
/// Threads: any. REQUIRES: outlives the connections that were opened through it.
class FaultyVfs {
public:
    explicit FaultyVfs(std::string name) : name_(std::move(name)), real_(sqlite3_vfs_find(nullptr)) {
        vfs_ = *real_;
        vfs_.zName = name_.c_str();
        vfs_.pNext = nullptr;
        vfs_.pAppData = this;
        vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
        vfs_.xOpen = &FaultyVfs::open;
        if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK) throw std::runtime_error("no VFS " + name_);
    }
    FaultyVfs(const FaultyVfs&) = delete;
    FaultyVfs& operator=(const FaultyVfs&) = delete;
    ~FaultyVfs() { sqlite3_vfs_unregister(&vfs_); }

    /// What writing to the log returns from now on; SQLITE_OK: it works.
    void fail_writes(int code) noexcept { write_code_ = code; }
    /// What syncing the log returns from now on; SQLITE_OK: it works.
    void fail_syncs(int code) noexcept { sync_code_ = code; }

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
        sqlite3_io_methods methods;
    };

    static File* ours(sqlite3_file* file) noexcept { return reinterpret_cast<File*>(file); }
    static sqlite3_file* real(sqlite3_file* file) noexcept {
        return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(File));
    }

    static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) noexcept {
        auto* self = static_cast<FaultyVfs*>(vfs->pAppData);
        File* const own = ours(file);
        *own = File{};
        const int code = self->real_->xOpen(self->real_, name, real(file), flags, out_flags);
        const sqlite3_io_methods* const below = real(file)->pMethods;
        if (below == nullptr) return code;
        own->vfs = self;
        own->log = (flags & SQLITE_OPEN_WAL) != 0;
        own->methods = forwarding(*below);
        own->base.pMethods = &own->methods;
        return code;
    }

    /// Each method hands on to the one below; two of them may fail before.
    static sqlite3_io_methods forwarding(const sqlite3_io_methods& below) noexcept {
        sqlite3_io_methods methods{};
        methods.iVersion = below.iVersion;
        methods.xClose = [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); };
        methods.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
            return real(f)->pMethods->xRead(real(f), to, size, at);
        };
        methods.xWrite = [](sqlite3_file* f, const void* from, int size, sqlite3_int64 at) {
            const int code = ours(f)->log ? ours(f)->vfs->write_code_.load() : SQLITE_OK;
            return code != SQLITE_OK ? code : real(f)->pMethods->xWrite(real(f), from, size, at);
        };
        methods.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
            return real(f)->pMethods->xTruncate(real(f), size);
        };
        methods.xSync = [](sqlite3_file* f, int flags) {
            const int code = ours(f)->log ? ours(f)->vfs->sync_code_.load() : SQLITE_OK;
            return code != SQLITE_OK ? code : real(f)->pMethods->xSync(real(f), flags);
        };
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
            return real(f)->pMethods->xShmMap(real(f), region, size, extend, at);
        };
        methods.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
            return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
        };
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
    std::atomic<int> sync_code_{SQLITE_OK};
};

}  // namespace backlite_test
