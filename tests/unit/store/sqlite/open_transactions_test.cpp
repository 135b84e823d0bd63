// SPDX-License-Identifier: MIT
#include <thread>

#include <sqlite3.h>

#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/open_transactions.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using platform::FileIdentity;

const FileIdentity file{.device = 7, .inode = 1};
const FileIdentity other_file{.device = 7, .inode = 2};

store::sqlite::OpenTransactions& all() { return store::sqlite::OpenTransactions::instance(); }

/// In the list for the length of a scope.
class Listed {
public:
    explicit Listed(FileIdentity identity, std::thread::id thread = std::this_thread::get_id())
        : identity_(identity), thread_(thread) {
        all().add(identity_, thread_);
    }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;
    ~Listed() { all().remove(identity_, thread_); }

private:
    FileIdentity identity_;
    std::thread::id thread_;
};

TEST_CASE("OpenTransactions: there is none at first") { CHECK_FALSE(all().on_this_thread(file)); }

TEST_CASE("OpenTransactions: another module of the program is led to the same ones by SQLite") {
    store::sqlite::OpenTransactions& own = all();
    const sqlite3_vfs* known = sqlite3_vfs_find("backlite-open-transactions-1");
    REQUIRE(known != nullptr);
    CHECK(known->pAppData == &own);
    CHECK(sqlite3_vfs_find(nullptr) != known);
}

TEST_CASE("OpenTransactions: one of this thread is seen on its file, and on no other") {
    const Listed listed(file);
    CHECK(all().on_this_thread(file));
    CHECK_FALSE(all().on_this_thread(other_file));
}

TEST_CASE("OpenTransactions: one that has ended is seen no more") {
    { const Listed listed(file); }
    CHECK_FALSE(all().on_this_thread(file));
}

TEST_CASE("OpenTransactions: one of another thread is none of this one's") {
    bool seen = true;
    const Listed listed(file);
    std::jthread([&seen] { seen = all().on_this_thread(file); }).join();
    CHECK_FALSE(seen);
}

TEST_CASE("OpenTransactions: two of one thread on one file end one by one") {
    const Listed outer(file);
    { const Listed inner(file); }
    CHECK(all().on_this_thread(file));
}

TEST_CASE("OpenTransactions: one may end on another thread than it began on") {
    const std::thread::id here = std::this_thread::get_id();
    all().add(file, here);
    std::jthread([here] { all().remove(file, here); }).join();
    CHECK_FALSE(all().on_this_thread(file));
}

TEST_CASE("OpenTransactions: the end of one that is not listed changes nothing") {
    const Listed listed(file);
    all().remove(other_file, std::this_thread::get_id());
    CHECK(all().on_this_thread(file));
}

}  // namespace
