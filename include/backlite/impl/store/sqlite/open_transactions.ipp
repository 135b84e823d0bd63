// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/open_transactions.hpp>.

#include <backlite/store/sqlite/open_transactions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void OpenTransactions::remove(platform::FileIdentity file, std::thread::id thread) noexcept {
    const detail::LockGuard lock(mutex_);
    for (std::atomic<Entry*>* place = &first_; Entry* const entry = *place; place = &entry->next) {
        if (!entry->is(file, thread)) continue;
        place->store(entry->next);
        delete entry;
        return;
    }
}

BACKLITE_DECL bool OpenTransactions::on_this_thread(platform::FileIdentity file) {
    if (first_ == nullptr) return false;  // own ones are always seen
    const detail::LockGuard lock(mutex_);
    const Entry* entry = first_;
    while (entry != nullptr && !entry->is(file, std::this_thread::get_id())) entry = entry->next;
    return entry != nullptr;
}

BACKLITE_DECL OpenTransactions& OpenTransactions::shared() {
    struct Place {
        char name[32] = "backlite-open-transactions-1";
        OpenTransactions all{};
        sqlite3_vfs vfs{};
    };
    auto* place = new Place;
    sqlite3_mutex* const mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    sqlite3_mutex_enter(mutex);
    const sqlite3_vfs* known = sqlite3_vfs_find(place->name);
    if (known == nullptr) {
        place->vfs.zName = place->name;
        place->vfs.pAppData = &place->all;
        if (sqlite3_vfs_register(&place->vfs, 0) == SQLITE_OK) known = &std::exchange(place, nullptr)->vfs;
    }
    sqlite3_mutex_leave(mutex);
    delete place;
    if (known == nullptr) throw std::bad_alloc();
    return *static_cast<OpenTransactions*>(known->pAppData);
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
