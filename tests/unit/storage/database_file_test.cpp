// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/stat.h>

#include <backlite/error.hpp>
#include <backlite/storage/database_file.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;
using backlite_test::TempFolder;
using storage::FileIdentity;
namespace fs = std::filesystem;

void make(const std::string& file) { std::ofstream(file) << "content"; }

std::string complaint(const std::string& name) {
    return message_of<ConfigError>([&] { storage::check_database_name(name); });
}

TEST_CASE("identify: two names of one file are one identity") {
    const TempFolder folder;
    make(folder.file("a"));
    make(folder.file("b"));
    fs::create_hard_link(folder.file("a"), folder.file("hard"));
    fs::create_symlink(folder.file("a"), folder.file("soft"));
    const FileIdentity a = storage::identify(folder.file("a"));
    CHECK(storage::identify(folder.file("hard")) == a);
    CHECK(storage::identify(folder.file("soft")) == a);
    CHECK(storage::identify(folder.file("b")) != a);
}

TEST_CASE("identify: a file that is not there has none") {
    const TempFolder folder;
    CHECK(storage::identify(folder.file("a")) == FileIdentity{});
    CHECK_FALSE(storage::exists(folder.file("a")));
    make(folder.file("a"));
    CHECK(storage::exists(folder.file("a")));
}

TEST_CASE("resolve: is the absolute name behind links and dots") {
    const TempFolder folder;
    make(folder.file("a"));
    fs::create_directory(folder.file("sub"));
    fs::create_symlink(folder.file("a"), folder.file("sub/soft"));
    CHECK(storage::resolve(folder.file("sub/soft")) == folder.file("a"));
    CHECK(storage::resolve(folder.file("sub/../a")) == folder.file("a"));
}

TEST_CASE("resolve: a name that leads nowhere stays as it is") {
    const TempFolder folder;
    CHECK(storage::resolve(folder.file("a")) == folder.file("a"));
}

TEST_CASE("folder_of: is what stands before the last slash") {
    CHECK(storage::folder_of("/var/lib/app.db") == "/var/lib");
    CHECK(storage::folder_of("lib/app.db") == "lib");
    CHECK(storage::folder_of("app.db") == ".");
    CHECK(storage::folder_of("/app.db") == "/");
    CHECK(storage::folder_of("lib/") == "lib");
}

TEST_CASE("network_file_system: names those whose locks do not reach everybody") {
    CHECK(storage::network_file_system(0x6969, "nfs4") == "nfs");
    CHECK(storage::network_file_system(0xFF534D42, "cifs") == "cifs");
    CHECK(storage::network_file_system(0x517B, "smb") == "smb");
    CHECK(storage::network_file_system(0xFE534D42, "smb3") == "smb2");
    CHECK(storage::network_file_system(0x01021997, "9p") == "9p");
    CHECK(storage::network_file_system(0x00C36400, "ceph") == "ceph");
}

TEST_CASE("network_file_system: of those that run in user space, only the remote one") {
    CHECK(storage::network_file_system(0x65735546, "fuse.sshfs") == "fuse.sshfs");
    CHECK(storage::network_file_system(0x65735546, "fuseblk").empty());
    CHECK(storage::network_file_system(0x65735546, "").empty());
}

TEST_CASE("network_file_system: local ones are none") {
    constexpr std::uint64_t ext4 = 0xEF53;
    constexpr std::uint64_t tmpfs = 0x01021994;
    constexpr std::uint64_t btrfs = 0x9123683E;
    for (const std::uint64_t type : {ext4, tmpfs, btrfs}) CHECK(storage::network_file_system(type, "x").empty());
}

TEST_CASE("mount_type: is the kernel's name for the mount") {
    struct stat status {};
    REQUIRE(::stat("/proc", &status) == 0);
    CHECK(storage::mount_type(status.st_dev) == "proc");
}

TEST_CASE("mount_type: of a device that is not mounted is empty") {
    CHECK(storage::mount_type(~std::uint64_t{0}).empty());
}

TEST_CASE("check_database_name: takes a file that is there, and one that is not yet") {
    const TempFolder folder;
    CHECK_NOTHROW(storage::check_database_name(folder.file("new.db")));
    make(folder.file("old.db"));
    CHECK_NOTHROW(storage::check_database_name(folder.file("old.db")));
    CHECK_NOTHROW(storage::check_database_name("a-name-without-folder.db"));
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
