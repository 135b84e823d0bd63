// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/mount.h>
#include <sys/stat.h>

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
using store::sqlite::FileIdentity;
namespace fs = std::filesystem;

void make(const std::string& file) { std::ofstream(file) << "content"; }

std::string complaint(const std::string& name) {
    return message_of<ConfigError>([&] { store::sqlite::check_database_name(name); });
}

/// What is said against the place of a file.
std::string refusal(const std::string& name) {
    return message_of<ConfigError>([&] { store::sqlite::check_place(name, false); });
}

TEST_CASE("identify: two names of one file are one identity") {
    const TempFolder folder;
    make(folder.file("a"));
    make(folder.file("b"));
    fs::create_hard_link(folder.file("a"), folder.file("hard"));
    fs::create_symlink(folder.file("a"), folder.file("soft"));
    const FileIdentity a = store::sqlite::identify(folder.file("a"));
    CHECK(store::sqlite::identify(folder.file("hard")) == a);
    CHECK(store::sqlite::identify(folder.file("soft")) == a);
    CHECK(store::sqlite::identify(folder.file("b")) != a);
}

TEST_CASE("identify: a file that is not there has none") {
    const TempFolder folder;
    CHECK(store::sqlite::identify(folder.file("a")) == FileIdentity{});
    CHECK_FALSE(store::sqlite::exists(folder.file("a")));
    make(folder.file("a"));
    CHECK(store::sqlite::exists(folder.file("a")));
}

TEST_CASE("resolve: is the absolute name behind links and dots") {
    const TempFolder folder;
    make(folder.file("a"));
    fs::create_directory(folder.file("sub"));
    fs::create_symlink(folder.file("a"), folder.file("sub/soft"));
    CHECK(store::sqlite::resolve(folder.file("sub/soft")) == folder.file("a"));
    CHECK(store::sqlite::resolve(folder.file("sub/../a")) == folder.file("a"));
}

TEST_CASE("resolve: a name that leads nowhere stays as it is") {
    const TempFolder folder;
    CHECK(store::sqlite::resolve(folder.file("a")) == folder.file("a"));
}

TEST_CASE("folder_of: is what stands before the last slash") {
    CHECK(store::sqlite::folder_of("/var/lib/app.db") == "/var/lib");
    CHECK(store::sqlite::folder_of("lib/app.db") == "lib");
    CHECK(store::sqlite::folder_of("app.db") == ".");
    CHECK(store::sqlite::folder_of("/app.db") == "/");
    CHECK(store::sqlite::folder_of("lib/") == "lib");
}

TEST_CASE("look_at: an error that does not say that the file is gone is no absence") {
    const TempFolder folder;
    fs::create_symlink(folder.file("round"), folder.file("round"));  // a link to itself: the system gives up on it
    struct ::statx found {};
    const std::string name = folder.file("round/app.db");
    const std::string what = message_of<StorageError>([&] { (void)store::sqlite::look_at(name, found); });
    CHECK(what.starts_with("cannot look at \"" + name + "\": "));
    CHECK_THROWS_AS(store::sqlite::exists(name), StorageError);
    CHECK_THROWS_AS(store::sqlite::identify(folder.file(std::string(300, 'x'))), StorageError);
    CHECK_THROWS_AS(store::sqlite::check_database_name(name), StorageError);
    CHECK_THROWS_AS(store::sqlite::check_place(name, true), StorageError);
}

TEST_CASE("look_at: a file in a folder's place says that what would be in it is not there") {
    const TempFolder folder;
    make(folder.file("a"));
    CHECK_FALSE(store::sqlite::exists(folder.file("a/b")));
}

// The numbers are those of linux/magic.h and of the file systems' own sources.
TEST_CASE("is_local_file_system: those that machines and containers have their disks on") {
    for (const std::uint32_t type : {0xEF53U, 0x58465342U, 0x9123683EU, 0xF2F52010U, 0x2FC12FC1U, 0x01021994U,
                                     0x858458F6U, 0x794C7630U, 0x24051905U, 0x4D44U}) {
        CAPTURE(type);
        CHECK(store::sqlite::is_local_file_system(type, ""));
    }
}

TEST_CASE("is_local_file_system: neither those of a network nor those that nobody has heard of") {
    // nfs, cifs, smb, smb2, 9p, ceph, lustre, afs, gfs2, ocfs2, beegfs, coda, vboxsf; none
    for (const std::uint32_t type :
         {0x6969U, 0xFF534D42U, 0x517BU, 0xFE534D42U, 0x01021997U, 0x00C36400U, 0x0BD00BD0U, 0x5346414FU, 0x01161970U,
          0x7461636FU, 0x19830326U, 0x73757245U, 0x786F4256U, 0x12345678U}) {
        CAPTURE(type);
        CHECK_FALSE(store::sqlite::is_local_file_system(type, ""));
    }
}

TEST_CASE("is_local_file_system: of those that run in user space, the kind of mount decides") {
    constexpr std::uint32_t fuse = 0x65735546;
    for (const char* mount : {"fuseblk", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.encfs"}) {
        CAPTURE(mount);
        CHECK(store::sqlite::is_local_file_system(fuse, mount));
    }
    for (const char* mount : {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "virtiofs", "fuse", ""}) {
        CAPTURE(mount);
        CHECK_FALSE(store::sqlite::is_local_file_system(fuse, mount));
    }
}

TEST_CASE("mount_type: is the kernel's name for the mount") {
    struct ::statx found {};
    REQUIRE(store::sqlite::look_at("/proc", found));
    CHECK(store::sqlite::mount_type(found.stx_dev_major, found.stx_dev_minor) == "proc");
}

TEST_CASE("mount_type: of a device that is not mounted is empty") {
    CHECK(store::sqlite::mount_type(4095, 77).empty());
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

TEST_CASE("check_place: where the kernel does not tell mount points, a device of the file's own tells them") {
    struct ::statx file {};
    struct ::statx folder {};
    file.stx_dev_major = folder.stx_dev_major = 8;
    file.stx_dev_minor = folder.stx_dev_minor = 1;
    CHECK_FALSE(store::sqlite::is_mounted_alone(file, folder));
    file.stx_dev_minor = 2;
    CHECK(store::sqlite::is_mounted_alone(file, folder));
    file.stx_attributes_mask = 0x2000;
    CHECK_FALSE(store::sqlite::is_mounted_alone(file, folder));
    file.stx_attributes = 0x2000;
    CHECK(store::sqlite::is_mounted_alone(file, folder));
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
