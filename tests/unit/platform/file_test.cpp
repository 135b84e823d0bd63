// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/last_error.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::in_child;
using backlite_test::TempFolder;
using platform::File;
namespace fs = std::filesystem;

constexpr platform::FileAccess ours{.mode = 0600};

void make(const std::string& name, const std::string& text) { std::ofstream(name) << text; }

::mode_t mode_of(const std::string& name) {
    struct ::stat found {};
    return ::stat(name.c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
}

TEST_CASE("File: open_or_make makes what is not there, with the permissions asked for, and opens what is there") {
    const TempFolder folder;
    File made(folder.file("a"));
    REQUIRE(made.open_or_make(ours));
    CHECK(mode_of(folder.file("a")) == 0600);
    make(folder.file("b"), "content");
    File found(folder.file("b"));
    REQUIRE(found.open_or_make(ours));
    CHECK(found.size() == 7);
    CHECK(found.name() == folder.file("b"));
}

TEST_CASE("File: a symbolic link is not opened, whether it leads somewhere or nowhere") {
    const TempFolder folder;
    make(folder.file("target"), "precious");
    fs::create_symlink(folder.file("target"), folder.file("link"));
    fs::create_symlink(folder.file("nowhere"), folder.file("dead"));
    for (const std::string name : {"link", "dead"}) {
        CAPTURE(name);
        File file(folder.file(name));
        CHECK_FALSE(file.open_or_make(ours));
        CHECK(platform::last_error() == ELOOP);
        CHECK_FALSE(file.open_to_read());
        CHECK(platform::last_error() == ELOOP);
    }
    CHECK_FALSE(fs::exists(folder.file("nowhere")));
}

TEST_CASE("File: open_to_read makes nothing, and writes nothing") {
    const TempFolder folder;
    File none(folder.file("a"));
    CHECK_FALSE(none.open_to_read());
    CHECK(platform::says_absent(platform::last_error()));
    CHECK_FALSE(fs::exists(folder.file("a")));
    make(folder.file("a"), "content");
    REQUIRE(none.open_to_read());
    CHECK_FALSE(none.write_at(0, "x", 1));
    CHECK(platform::last_error() == EBADF);
}

TEST_CASE("File: reads what was written, up to the end of the file, at any place") {
    const TempFolder folder;
    File file(folder.file("a"));
    REQUIRE(file.open_or_make(ours));
    REQUIRE(file.write_at(3, "abcdef", 6));
    REQUIRE(file.write_at(5, "X", 1));
    std::array<char, 16> text{};
    CHECK(file.read_at(3, text.data(), text.size()) == 6U);
    CHECK(std::string{text.data(), 6} == "abXdef");
    CHECK(file.read_at(9, text.data(), text.size()) == 0U);
    CHECK(file.read_at(1000, text.data(), text.size()) == 0U);
    constexpr std::uint64_t far = std::uint64_t{5} << 30;
    REQUIRE(file.write_at(far, "y", 1));
    CHECK(file.size() == far + 1);
}

TEST_CASE("File: in_place is false once another file or none has its name, and true again when it came back") {
    const TempFolder folder;
    File file(folder.file("a"));
    REQUIRE(file.open_or_make(ours));
    CHECK(file.in_place() == true);
    fs::rename(folder.file("a"), folder.file("away"));
    CHECK(file.in_place() == false);
    make(folder.file("a"), "another");
    CHECK(file.in_place() == false);
    fs::rename(folder.file("away"), folder.file("a"));
    CHECK(file.in_place() == true);
}

TEST_CASE("File: in_place cannot be told where the folder cannot be looked into") {
    const TempFolder folder;
    fs::create_directory(folder.file("sub"));
    File file(folder.file("sub/a"));
    REQUIRE(file.open_or_make(ours));
    fs::rename(folder.file("sub"), folder.file("away"));
    fs::create_symlink(folder.file("sub"), folder.file("sub"));  // a link to itself: the system gives up on it
    CHECK_FALSE(file.in_place());
    CHECK(platform::last_error() == ELOOP);
}

TEST_CASE("File: tells a regular file from a folder, and takes over the permissions of another") {
    const TempFolder folder;
    make(folder.file("model"), "");
    fs::permissions(folder.file("model"), fs::perms{0640});
    const auto access = platform::access_of(folder.file("model"));
    REQUIRE(access);
    CHECK(access->mode == 0640);
    File file(folder.file("a"));
    REQUIRE(file.open_or_make(ours));
    CHECK(file.is_regular() == true);
    file.take_over(*access);
    CHECK(mode_of(folder.file("a")) == 0640);
    File around(folder.name());
    REQUIRE(around.open_to_read());
    CHECK(around.is_regular() == false);
    CHECK_FALSE(platform::access_of(folder.file("none")));
    CHECK(platform::says_absent(platform::last_error()));
}

TEST_CASE("make_private: leaves the file to its owner alone, and what is not there unmade") {
    const TempFolder folder;
    make(folder.file("a"), "");
    fs::permissions(folder.file("a"), fs::perms{0666});
    platform::make_private(folder.file("a"));
    CHECK(mode_of(folder.file("a")) == 0600);
    platform::make_private(folder.file("none"));
    CHECK_FALSE(fs::exists(folder.file("none")));
}

TEST_CASE("File: a forked child does not have it") {
    const TempFolder folder;
    File file(folder.file("a"));
    REQUIRE(file.open_or_make(ours));
    const int descriptor = file.descriptor();
    CHECK(in_child([&] {
              if (file.descriptor() != -1 || ::fcntl(descriptor, F_GETFD) >= 0) return 1;
              return file.write_at(0, "x", 1) || file.size() ? 2 : 0;
          }) == 0);
    CHECK(file.size() == 0U);
}

}  // namespace
