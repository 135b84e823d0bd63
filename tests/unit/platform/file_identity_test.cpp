// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

#include <backlite/error.hpp>
#include <backlite/platform/file.hpp>
#include <backlite/platform/file_identity.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;
using backlite_test::TempFolder;
using platform::FileIdentity;
namespace fs = std::filesystem;

void make(const std::string& file) { std::ofstream(file) << "content"; }

TEST_CASE("look_at: tells a file's kind, size and number of names") {
    const TempFolder folder;
    make(folder.file("a"));
    fs::create_hard_link(folder.file("a"), folder.file("hard"));
    const auto file = platform::look_at(folder.file("a"));
    REQUIRE(file);
    CHECK(file->regular);
    CHECK_FALSE(file->folder);
    CHECK(file->size == 7);
    CHECK(file->names == 2);
    const auto around = platform::look_at(folder.name());
    REQUIRE(around);
    CHECK_FALSE(around->regular);
    CHECK(around->folder);
    CHECK(around->identity.device == file->identity.device);
    CHECK_FALSE(platform::is_mounted_alone(*file, *around));
}

TEST_CASE("identify: two names of one file are one identity") {
    const TempFolder folder;
    make(folder.file("a"));
    make(folder.file("b"));
    fs::create_hard_link(folder.file("a"), folder.file("hard"));
    fs::create_symlink(folder.file("a"), folder.file("soft"));
    const FileIdentity a = platform::identify(folder.file("a"));
    CHECK(platform::identify(folder.file("hard")) == a);
    CHECK(platform::identify(folder.file("soft")) == a);
    CHECK(platform::identify(folder.file("b")) != a);
}

TEST_CASE("identify: a file that is not there has none") {
    const TempFolder folder;
    CHECK(platform::identify(folder.file("a")) == FileIdentity{});
    CHECK_FALSE(platform::exists(folder.file("a")));
    make(folder.file("a"));
    CHECK(platform::exists(folder.file("a")));
}

TEST_CASE("identify: an open file is told by its identity and by when it was made, whatever its name is by now") {
    const TempFolder folder;
    platform::File file(folder.file("a"));
    REQUIRE(file.open_or_make({.mode = 0600}));
    const FileIdentity named = platform::identify(folder.file("a"));
    fs::rename(folder.file("a"), folder.file("b"));
    const auto opened = platform::identify(file);
    REQUIRE(opened);
    CHECK(opened->identity == named);
    struct ::statx made {};
    REQUIRE(::statx(AT_FDCWD, folder.file("b").c_str(), 0, STATX_BTIME, &made) == 0);
    if ((made.stx_mask & STATX_BTIME) == 0) {
        WARN("NOT TESTED: this file system does not keep the time");
        return;
    }
    CHECK(opened->born_seconds == made.stx_btime.tv_sec);
    CHECK(opened->born_nanoseconds == made.stx_btime.tv_nsec);
}

TEST_CASE("identify: what is not open cannot be told") {
    const platform::File file("none");
    CHECK_FALSE(platform::identify(file));
}

TEST_CASE("resolve: is the absolute name behind links and dots") {
    const TempFolder folder;
    make(folder.file("a"));
    fs::create_directory(folder.file("sub"));
    fs::create_symlink(folder.file("a"), folder.file("sub/soft"));
    CHECK(platform::resolve(folder.file("sub/soft")) == folder.file("a"));
    CHECK(platform::resolve(folder.file("sub/../a")) == folder.file("a"));
}

TEST_CASE("resolve: a name that leads nowhere stays as it is") {
    const TempFolder folder;
    CHECK(platform::resolve(folder.file("a")) == folder.file("a"));
}

TEST_CASE("folder_of: is what stands before the last slash") {
    CHECK(platform::folder_of("/var/lib/app.db") == "/var/lib");
    CHECK(platform::folder_of("lib/app.db") == "lib");
    CHECK(platform::folder_of("app.db") == ".");
    CHECK(platform::folder_of("/app.db") == "/");
    CHECK(platform::folder_of("lib/") == "lib");
}

TEST_CASE("look_at: an error that does not say that the file is gone is no absence") {
    const TempFolder folder;
    fs::create_symlink(folder.file("round"), folder.file("round"));  // a link to itself: the system gives up on it
    const std::string name = folder.file("round/app.db");
    const std::string what = message_of<StorageError>([&] { (void)platform::look_at(name); });
    CHECK(what.starts_with("cannot look at \"" + name + "\": "));
    CHECK_THROWS_AS(platform::exists(name), StorageError);
    CHECK_THROWS_AS(platform::identify(folder.file(std::string(300, 'x'))), StorageError);
    CHECK_THROWS_AS(platform::file_system_type(name), StorageError);
}

TEST_CASE("look_at: a file in a folder's place says that what would be in it is not there") {
    const TempFolder folder;
    make(folder.file("a"));
    CHECK_FALSE(platform::exists(folder.file("a/b")));
}

// The numbers are those of linux/magic.h and of the file systems' own sources.
TEST_CASE("is_local_file_system: those that machines and containers have their disks on") {
    for (const std::uint32_t type : {0xEF53U, 0x58465342U, 0x9123683EU, 0xF2F52010U, 0x2FC12FC1U, 0x01021994U,
                                     0x858458F6U, 0x794C7630U, 0x24051905U, 0x4D44U}) {
        CAPTURE(type);
        CHECK(platform::is_local_file_system(type, ""));
    }
}

TEST_CASE("is_local_file_system: neither those of a network nor those that nobody has heard of") {
    // nfs, cifs, smb, smb2, 9p, ceph, lustre, afs, gfs2, ocfs2, beegfs, coda, vboxsf; none
    for (const std::uint32_t type :
         {0x6969U, 0xFF534D42U, 0x517BU, 0xFE534D42U, 0x01021997U, 0x00C36400U, 0x0BD00BD0U, 0x5346414FU, 0x01161970U,
          0x7461636FU, 0x19830326U, 0x73757245U, 0x786F4256U, 0x12345678U}) {
        CAPTURE(type);
        CHECK_FALSE(platform::is_local_file_system(type, ""));
    }
}

TEST_CASE("is_local_file_system: of those that run in user space, the kind of mount decides") {
    constexpr std::uint32_t fuse = 0x65735546;
    for (const char* mount : {"fuseblk", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.encfs"}) {
        CAPTURE(mount);
        CHECK(platform::is_local_file_system(fuse, mount));
    }
    for (const char* mount : {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "virtiofs", "fuse", ""}) {
        CAPTURE(mount);
        CHECK_FALSE(platform::is_local_file_system(fuse, mount));
    }
}

TEST_CASE("mount_type: is the kernel's name for the mount") {
    CHECK(platform::mount_type(platform::identify("/proc").device) == "proc");
}

TEST_CASE("mount_type: of a device that is not mounted is empty") {
    CHECK(platform::mount_type(std::uint64_t{4095} << 32 | 77).empty());
}

TEST_CASE("is_mounted_alone: where the kernel does not tell mount points, a device of the file's own tells them") {
    platform::FileFacts file{.identity = {.device = 8, .inode = 1}};
    const platform::FileFacts folder{.identity = {.device = 8, .inode = 2}};
    CHECK_FALSE(platform::is_mounted_alone(file, folder));
    file.identity.device = 9;
    CHECK(platform::is_mounted_alone(file, folder));
    file.mount_point = false;
    CHECK_FALSE(platform::is_mounted_alone(file, folder));
    file.mount_point = true;
    CHECK(platform::is_mounted_alone(file, folder));
}

}  // namespace
