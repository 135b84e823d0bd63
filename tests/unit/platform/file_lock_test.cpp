// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include <spawn.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/file_lock.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::Channel;
using backlite_test::in_child;
using backlite_test::kill_and_wait;
using backlite_test::start_child;
using backlite_test::TempFolder;
using backlite_test::wait_for;

constexpr platform::FileAccess ours{.mode = 0600};

// A file that is opened once more for each of these.
struct Holder {
    explicit Holder(const TempFolder& folder) : file(folder.file("locked")) {
        if (!file.open_or_make(ours)) std::abort();
    }
    [[nodiscard]] bool take(std::uint64_t byte) { return locks.try_take(byte) == true; }
    [[nodiscard]] bool refused(std::uint64_t byte) { return locks.try_take(byte) == false; }
    [[nodiscard]] bool sees(std::uint64_t byte) const { return locks.held_by_other(byte) == true; }
    [[nodiscard]] bool sees_none(std::uint64_t byte) const { return locks.held_by_other(byte) == false; }

    platform::File file;
    platform::FileLocks locks{file};
};

TEST_CASE("FileLocks: two in one process see each other's lock") {
    const TempFolder folder;
    Holder one(folder);
    Holder other(folder);
    CHECK(other.sees_none(5));

    REQUIRE(one.take(5));
    CHECK(other.sees(5));
    CHECK(other.refused(5));
    CHECK(one.sees_none(5));
}

TEST_CASE("FileLocks: a lock is taken once more by the one that holds it") {
    const TempFolder folder;
    Holder holder(folder);
    REQUIRE(holder.take(5));
    CHECK(holder.take(5));
}

TEST_CASE("FileLocks: one byte is locked and no other, also far behind the end of the file") {
    const TempFolder folder;
    Holder one(folder);
    Holder other(folder);
    constexpr std::uint64_t far = std::uint64_t{5} << 30;
    for (const std::uint64_t byte : {std::uint64_t{5}, far}) {
        REQUIRE(one.take(byte));
        CHECK(other.refused(byte));
        CHECK(other.take(byte - 1));
        CHECK(other.take(byte + 1));
    }
    CHECK(one.file.size() == 0U);
}

TEST_CASE("FileLocks: to look does not take, and a file that is open for reading can look") {
    const TempFolder folder;
    Holder one(folder);
    platform::File file(folder.file("locked"));
    REQUIRE(file.open_to_read());
    const platform::FileLocks watcher(file);
    CHECK(watcher.held_by_other(5) == false);
    REQUIRE(one.take(5));
    CHECK(watcher.held_by_other(5) == true);
    one.locks.release(5);
    CHECK(watcher.held_by_other(5) == false);
    CHECK(one.take(5));
}

TEST_CASE("FileLocks: releasing frees that byte for others, and nothing that another holds") {
    const TempFolder folder;
    Holder one(folder);
    Holder other(folder);
    REQUIRE(one.take(5));
    REQUIRE(one.take(6));
    other.locks.release(5);
    CHECK(other.sees(5));
    one.locks.release(5);
    CHECK(other.take(5));
    CHECK(other.refused(6));
}

TEST_CASE("FileLocks: the end of a File frees its locks, and those of no other File of the process") {
    const TempFolder folder;
    Holder one(folder);
    REQUIRE(one.take(5));
    {
        Holder other(folder);
        REQUIRE(other.take(6));
    }
    std::ifstream in(folder.file("locked"));
    static_cast<void>(in.get());
    in.close();
    const Holder watcher(folder);
    CHECK(watcher.sees(5));
    CHECK(watcher.sees_none(6));
}

TEST_CASE("FileLocks: the locked byte can be read and written by others") {
    const TempFolder folder;
    Holder one(folder);
    const Holder other(folder);
    REQUIRE(one.take(0));
    REQUIRE(other.file.write_at(0, "x", 1));
    char read = '\0';
    CHECK(other.file.read_at(0, &read, 1) == 1U);
    CHECK(read == 'x');
}

TEST_CASE("FileLocks: what is not open has no locks, and cannot tell of others") {
    const platform::File file("none");
    platform::FileLocks locks(file);
    CHECK_FALSE(locks.try_take(5));
    CHECK_FALSE(locks.held_by_other(5));
    locks.release(5);
}

TEST_CASE("FileLocks: the lock of another process is seen while it lives and free as soon as it ended") {
    const TempFolder folder;
    Holder here(folder);
    for (const bool killed : {true, false}) {
        CAPTURE(killed);
        Channel channel;
        const pid_t pid = start_child([&] {
            channel.be_child();
            Holder there(folder);
            if (!there.take(5)) return 1;
            channel.tell_parent('r');
            static_cast<void>(channel.await_parent());
            ::_exit(0);  // past every destructor
        });
        channel.be_parent();
        REQUIRE(channel.await_child() == 'r');
        CHECK(here.sees(5));
        CHECK(here.refused(5));
        if (killed) {
            kill_and_wait(pid);
        } else {
            channel.hang_up();
            CHECK(wait_for(pid) == 0);
        }
        CHECK(here.sees_none(5));
        REQUIRE(here.take(5));
        here.locks.release(5);
    }
}

TEST_CASE("FileLocks: a forked child neither holds nor frees the lock of its parent") {
    const TempFolder folder;
    Holder holder(folder);
    REQUIRE(holder.take(5));
    CHECK(in_child([&] {
              holder.locks.release(5);
              if (holder.locks.try_take(5) || holder.locks.held_by_other(5)) return 1;
              const Holder own(folder);
              return own.sees(5) ? 0 : 2;
          }) == 0);
    const Holder watcher(folder);
    CHECK(watcher.sees(5));
}

TEST_CASE("FileLocks: a forked child that outlives its parent does not keep the parent's lock") {
    const TempFolder folder;
    // This process, not a distant init, gets the orphan.
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    Channel orphan;
    const pid_t parent = start_child([&] {
        Holder holder(folder);
        if (!holder.take(5)) return 1;
        start_child([&] {
            orphan.be_child();
            orphan.tell_parent('r');
            while (orphan.await_parent() == '?') orphan.tell_parent('y');
            return 0;
        });
        orphan.be_child();
        static_cast<void>(orphan.await_parent());  // the orphan is told nothing before this process was killed
        return 0;
    });
    orphan.be_parent();
    REQUIRE(orphan.await_child() == 'r');

    Holder here(folder);
    CHECK(here.sees(5));
    kill_and_wait(parent);
    CHECK(here.sees_none(5));
    CHECK(here.take(5));
    orphan.tell_child('?');
    CHECK(orphan.await_child() == 'y');  // it lived all the while

    orphan.hang_up();
    CHECK(wait_for(-1) == 0);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST_CASE("FileLocks: a program that outlives the process that started it does not keep the lock") {
    const TempFolder folder;
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    Channel cat;
    const pid_t parent = start_child([&] {
        Holder holder(folder);
        if (!holder.take(5)) return 1;
        ::posix_spawn_file_actions_t actions{};
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, cat.child_input(), STDIN_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, cat.child_output(), STDOUT_FILENO);
        std::string name = "cat";
        const std::array<char*, 2> arguments{name.data(), nullptr};
        pid_t pid = -1;
        if (::posix_spawnp(&pid, "cat", &actions, nullptr, arguments.data(), environ) != 0) return 2;
        cat.hang_up();
        return wait_for(pid);
    });
    cat.be_parent();
    cat.tell_child('1');
    REQUIRE(cat.await_child() == '1');

    Holder here(folder);
    CHECK(here.sees(5));
    kill_and_wait(parent);
    CHECK(here.take(5));
    cat.tell_child('2');
    CHECK(cat.await_child() == '2');

    cat.hang_up();
    CHECK(wait_for(-1) == 0);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

}  // namespace
