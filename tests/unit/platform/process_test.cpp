// SPDX-License-Identifier: MIT
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <backlite/platform/file_identity.hpp>
#include <backlite/platform/process.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using backlite_test::TempFolder;

TEST_CASE("process_name: is the name in the list of processes, and empty if there is none of that number") {
    std::string name;
    std::getline(std::ifstream("/proc/self/comm"), name);
    CHECK(platform::process_name(platform::own_pid()) == name);
    CHECK(platform::process_name(-1).empty());
}

TEST_CASE("host_name: is what the system says, and one and the same text") {
    std::string name;
    std::getline(std::ifstream("/proc/sys/kernel/hostname"), name);
    CHECK(platform::host_name() == name);
    CHECK(&platform::host_name() == &platform::host_name());
}

TEST_CASE("process_locks: lists a lock on the file with its bytes, its kind and its holder until it is gone") {
    const TempFolder folder;
    const int fd = ::open(folder.file("a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    const auto inode = platform::identify(folder.file("a")).inode;
    CHECK(platform::process_locks(inode).empty());
    for (const auto type : {static_cast<short>(F_RDLCK), static_cast<short>(F_WRLCK)}) {
        struct ::flock lock {};
        lock.l_type = type;
        lock.l_start = 120;
        lock.l_len = 3;
        REQUIRE(::fcntl(fd, F_SETLK, &lock) == 0);
        const auto locks = platform::process_locks(inode);
        REQUIRE(locks.size() == 1);
        CHECK(locks[0].pid == platform::own_pid());
        CHECK(locks[0].shared == (type == F_RDLCK));
        CHECK(locks[0].first == 120);
        CHECK(locks[0].last == 122);
        CHECK(locks[0].file.ends_with(":" + std::to_string(inode)));
    }
    ::close(fd);
    CHECK(platform::process_locks(inode).empty());
}

TEST_CASE("boot_id: is the kernel's, and stays the same") {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string expected;
    REQUIRE(std::getline(in, expected));
    CHECK(platform::boot_id() == expected);
    CHECK(platform::boot_id().size() == 36);
}

TEST_CASE("end_process: says why on stderr, and runs nothing on its way out") {
    int pipe[2] = {-1, -1};
    REQUIRE(::pipe(pipe) == 0);
    const ::pid_t child = ::fork();
    if (child == 0) {
        ::dup2(pipe[1], STDERR_FILENO);
        std::atexit([] { ::kill(::getpid(), SIGKILL); });
        platform::end_process("that is all\n");
    }
    ::close(pipe[1]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
    char text[64] = {};
    CHECK(::read(pipe[0], text, sizeof text - 1) == 12);
    CHECK(std::string{text} == "that is all\n");
    ::close(pipe[0]);
}

}  // namespace
