// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/owner_lock.hpp>.

#include <cstring>
#include <new>

#include <sqlite3.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/last_error.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void WorkerRecord::enter(std::uint64_t claim, std::uint64_t id_hash, RecordState state) noexcept {
    state_.store(RecordState::idle, std::memory_order_relaxed);
    claim_.store(claim, std::memory_order_release);
    id_hash_.store(id_hash, std::memory_order_release);
    state_.store(state, std::memory_order_release);
}

BACKLITE_DECL OwnerLock::OwnerLock(const std::string& database) : file_(name_for(database)) {
    const std::optional<platform::FileAccess> access = platform::access_of(database);
    if (!access) {
        const int error = platform::last_error();
        throw StorageError(detail::format("cannot look at {}: {}", {database, platform::error_text(error)}),
                           SQLITE_CANTOPEN);
    }
    if (!file_.open_or_make(*access)) throw_error(SQLITE_CANTOPEN, "open");
    const std::optional<bool> regular = file_.is_regular();
    if (!regular) throw_error(SQLITE_CANTOPEN, "look at");
    if (!*regular) throw StorageError(path() + " is not a regular file", SQLITE_CANTOPEN);
    // Also for a file that was there: its creator may have died before this, and the database's mode may have changed.
    // What the process may not set stays as it is, as SQLite does with -wal.
    file_.take_over(*access);
}

BACKLITE_DECL bool OwnerLock::in_place() const {
    guard_.check_process("OwnerLock::in_place");
    const std::optional<bool> found = file_.in_place();
    if (!found) throw_error(SQLITE_IOERR_FSTAT, "look at");
    return *found;
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
    if (!file_.write_at(0, header.data(), header.size())) throw_error(SQLITE_IOERR_WRITE, "write to");
    return file_id;
}

// All that a trusted header says; the rest of it is zero. Text, for whoever has to look at one.
BACKLITE_DECL OwnerLock::Header OwnerLock::header_for(std::string_view file_id) const {
    const std::optional<platform::OpenedIdentity> own = platform::identify(file_);
    if (!own) throw_error(SQLITE_IOERR_FSTAT, "look at");
    const std::string fraction = std::to_string(own->born_nanoseconds);
    const std::string text =
        detail::format("backlite owners\nlayout 1\nboot {}\nid {}\ndevice {}:{}\ninode {}\nbirth {}.{}{}\n",
                       {platform::boot_id(), file_id, own->identity.device >> 32, own->identity.device & 0xffffffff,
                        own->identity.inode, own->born_seconds, std::string(9 - fraction.size(), '0'), fraction});
    Header header{};
    assert(text.size() < header.size());
    std::copy_n(text.begin(), (std::min)(text.size(), header.size()), header.begin());
    return header;
}

BACKLITE_DECL bool OwnerLock::try_lock(unsigned slot) {
    check_slot("OwnerLock::try_lock", slot);
    const std::optional<bool> taken = locks_.try_take(offset_of(slot));
    if (!taken) throw_error(SQLITE_IOERR_LOCK, "lock a byte of");
    return *taken;
}

BACKLITE_DECL void OwnerLock::unlock(unsigned slot) noexcept {
    if (slot < max_slots && !guard_.forked()) locks_.release(offset_of(slot));
}

BACKLITE_DECL bool OwnerLock::held_by_other(unsigned slot) const {
    check_slot("OwnerLock::held_by_other", slot);
    const std::optional<bool> held = locks_.held_by_other(offset_of(slot));
    if (!held) throw_error(SQLITE_IOERR_LOCK, "probe a lock of");
    return *held;
}

BACKLITE_DECL void OwnerLock::map(unsigned slot, unsigned workers) {
    check_slot("OwnerLock::map", slot);
    if (workers == 0 || workers > max_workers) {
        throw ConfigError(
            detail::format("num_workers is {}, but a client has from 1 to {} workers", {workers, max_workers}));
    }
    unmap();
    demand(region_.map(file_, offset_of(slot), workers * sizeof(WorkerRecord)));
    std::byte* const at = region_.data();
    records_ = ::new (at) WorkerRecord;
    for (unsigned i = 1; i < workers; ++i) ::new (at + i * sizeof(WorkerRecord)) WorkerRecord;
    workers_ = workers;
}

BACKLITE_DECL void OwnerLock::keep_room() const {
    guard_.check_process("OwnerLock::keep_room");
    demand(region_.keep_room(file_));
}

BACKLITE_DECL void OwnerLock::unmap() noexcept {
    region_.unmap();
    records_ = nullptr;
    workers_ = 0;
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
        if (state != RecordState::inside && state != RecordState::returned && state != RecordState::inside_batch) {
            continue;
        }
        records[i] = {.claim = stored.claim, .id_hash = stored.id_hash, .state = state};
    }
    return records;
}

BACKLITE_DECL std::size_t OwnerLock::read_at(std::uint64_t offset, void* to, std::size_t size) const {
    const std::optional<std::size_t> read = file_.read_at(offset, to, size);
    if (!read) throw_error(SQLITE_IOERR_READ, "read");
    return *read;
}

BACKLITE_DECL void OwnerLock::check_slot(const char* call, unsigned slot) const {
    guard_.check_process(call);
    if (slot >= max_slots) {
        throw ConfigError(detail::format("{}: slot {} is not below {}", {call, slot, max_slots}));
    }
}

BACKLITE_DECL void OwnerLock::demand(platform::SharedMemory::Fault fault) const {
    using Fault = platform::SharedMemory::Fault;
    switch (fault) {
        case Fault::none: return;
        case Fault::look: throw_error(SQLITE_IOERR_FSTAT, "look at");
        case Fault::allocate: throw_error(SQLITE_IOERR_WRITE, "allocate a region of");
        case Fault::write: throw_error(SQLITE_IOERR_WRITE, "write to");
        case Fault::open: throw_error(SQLITE_CANTOPEN, "open");
        case Fault::map: throw_error(SQLITE_IOERR_MMAP, "map");
    }
}

BACKLITE_DECL void OwnerLock::throw_error(int code, std::string_view verb) const {
    const int error = platform::last_error();
    const std::string what = detail::format("cannot {} {}: {}", {verb, path(), platform::error_text(error)});
    if (platform::says_full(error)) throw FullError(what, SQLITE_FULL);
    throw StorageError(what, code);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
