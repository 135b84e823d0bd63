// SPDX-License-Identifier: MIT
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/mount.h>

#include <backlite/error.hpp>
#include <backlite/store/sqlite/database_file.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::contains;
using backlite_test::message_of;
using backlite_test::TempFolder;
namespace fs = std::filesystem;

void make(const std::string& file) { std::ofstream(file) << "content"; }

std::string complaint(const std::string& name) {
    return message_of<ConfigError>([&] { store::sqlite::check_database_name(name); });
}

/// What is said against the place of a file.
std::string refusal(const std::string& name) {
    return message_of<ConfigError>([&] { store::sqlite::check_place(name, false); });
}

TEST_CASE("check_place: what cannot be looked at is a StorageError, no absence") {
    const TempFolder folder;
    fs::create_symlink(folder.file("round"), folder.file("round"));  // a link to itself: the system gives up on it
    const std::string name = folder.file("round/app.db");
    CHECK_THROWS_AS(store::sqlite::check_database_name(name), StorageError);
    CHECK_THROWS_AS(store::sqlite::check_place(name, true), StorageError);
}

TEST_CASE("check_place: takes a file that is there, one that is not yet, and a name that is no file's") {
    const TempFolder folder;
    CHECK_NOTHROW(store::sqlite::check_place(folder.file("new.db"), false));
    make(folder.file("old.db"));
    CHECK_NOTHROW(store::sqlite::check_place(folder.file("old.db"), false));
    CHECK_NOTHROW(store::sqlite::check_place(folder.file("missing/app.db"), false));
}

TEST_CASE("check_place: a file with two names is refused, since each has a log of its own") {
    const TempFolder folder;
    make(folder.file("app.db"));
    fs::create_hard_link(folder.file("app.db"), folder.file("other.db"));
    for (const std::string& name : {folder.file("app.db"), folder.file("other.db")}) {
        CHECK(contains(refusal(name), "database \"" + name + "\" has 2 names (hard links)"));
    }
    fs::remove(folder.file("other.db"));
    CHECK(refusal(folder.file("app.db")) == "nothing thrown");
}

TEST_CASE("check_place: a file that is mounted by itself is refused, a folder that is mounted is not") {
    const TempFolder folder;
    fs::create_directory(folder.file("host"));
    fs::create_directory(folder.file("container"));
    make(folder.file("host/app.db"));
    make(folder.file("container/app.db"));
    const std::string name = folder.file("container/app.db");
    if (::mount(folder.file("host/app.db").c_str(), name.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        WARN("NOT TESTED: this process may not mount a file");
        return;
    }
    const std::string alone = refusal(name);
    REQUIRE(::umount2(name.c_str(), MNT_DETACH) == 0);
    CHECK(contains(alone, "database \"" + name + "\" is mounted by itself"));
    CHECK(contains(alone, "mount the folder"));
    REQUIRE(::mount(folder.file("host").c_str(), folder.file("container").c_str(), nullptr, MS_BIND, nullptr) == 0);
    const std::string with_folder = refusal(name);
    REQUIRE(::umount2(folder.file("container").c_str(), MNT_DETACH) == 0);
    CHECK(with_folder == "nothing thrown");
}

// /proc stands for the many file systems that are not known to be local.
TEST_CASE("check_place: an unknown file system is refused by its name, unless the host trusts it") {
    const std::string name = "/proc/backlite-test.db";
    CHECK(
        contains(refusal(name), "database \"" + name + "\" is on a file system (proc) that is not known to be local"));
    CHECK(contains(refusal(name), "ClientConfig::trust_file_system"));
    CHECK_NOTHROW(store::sqlite::check_place(name, true));
}

TEST_CASE("check_database_name: takes a file that is there, and one that is not yet") {
    const TempFolder folder;
    CHECK_NOTHROW(store::sqlite::check_database_name(folder.file("new.db")));
    make(folder.file("old.db"));
    CHECK_NOTHROW(store::sqlite::check_database_name(folder.file("old.db")));
    CHECK_NOTHROW(store::sqlite::check_database_name("a-name-without-folder.db"));
}

TEST_CASE("check_database_name: an empty name is refused") {
    CHECK(complaint("") == "ClientConfig::database is empty: name the database file");
}

TEST_CASE("check_database_name: a name with a NUL character is refused") {
    CHECK(complaint(std::string("/tmp/a\0b", 8)) == "the database's name holds a NUL character");
}

TEST_CASE("check_database_name: what is no file name for SQLite is refused") {
    CHECK(complaint(":memory:") == "database \":memory:\": a file name is needed, no in-memory database and no URI");
    CHECK(complaint("file:/tmp/app.db?mode=ro") ==
          "database \"file:/tmp/app.db?mode=ro\": a file name is needed, no in-memory database and no URI");
}

TEST_CASE("check_database_name: a folder that does not exist is refused") {
    const TempFolder folder;
    const std::string name = folder.file("missing/app.db");
    CHECK(complaint(name) == "database \"" + name + "\": its folder does not exist");
}

TEST_CASE("check_database_name: a file in the folder's place is refused") {
    const TempFolder folder;
    make(folder.file("file"));
    const std::string name = folder.file("file/app.db");
    CHECK(complaint(name) == "database \"" + name + "\": its folder does not exist");
}

TEST_CASE("check_database_name: a folder or a device in the file's place is refused") {
    const TempFolder folder;
    CHECK(complaint(folder.name()) == "database \"" + folder.name() + "\" is not a regular file");
    CHECK(complaint("/dev/null") == "database \"/dev/null\" is not a regular file");
}

}  // namespace
