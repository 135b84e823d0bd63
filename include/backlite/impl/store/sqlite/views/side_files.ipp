// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/side_files.hpp>.

#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/file_lock.hpp>
#include <backlite/platform/last_error.hpp>
#include <backlite/store/sqlite/views/side_files.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<std::vector<Inside>> read_inside(const platform::File& file, const Process& process) {
    if (process.workers < 1 || process.workers > OwnerLock::max_workers) return std::nullopt;
    const unsigned workers = places_for(static_cast<unsigned>(process.workers));
    std::string region(OwnerLock::size_of(workers), '\0');
    if (file.read_at(OwnerLock::offset_of(process.slot), region.data(), region.size()) != region.size()) {
        return std::nullopt;
    }
    std::vector<Inside> inside;
    for (const RecordView& record : OwnerLock::records_in(region, workers)) {
        if (record.state == RecordState::inside) inside.push_back({record.claim, record.id_hash});
        if (record.state == RecordState::inside_batch) inside.push_back({0, 0, record.claim});
    }
    return inside;
}

BACKLITE_DECL void find_living(const std::string& database, std::vector<Process>& processes) noexcept {
    if (processes.empty()) return;
    try {
        platform::File file(OwnerLock::name_for(platform::resolve(database)));
        if (!file.open_to_read()) {
            if (!platform::says_absent(platform::last_error())) return;
            for (Process& process : processes) process.alive = false;
            return;
        }
        const platform::FileLocks locks(file);
        for (Process& process : processes) {
            if (process.slot >= OwnerLock::max_slots) continue;
            if (const auto held = locks.held_by_other(OwnerLock::offset_of(process.slot))) process.alive = held;
            if (process.alive == true) process.inside = read_inside(file, process);
        }
    } catch (...) {  // without memory nothing is known
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
