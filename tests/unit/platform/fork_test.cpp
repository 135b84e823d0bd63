// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <backlite/error.hpp>
#include <backlite/platform/fork.hpp>

#include <backlite_catch.hpp>

namespace {

using backlite::ForkError;
using backlite::platform::ForkClosedFd;
using backlite::platform::ForkGuard;

// Runs `body` in a forked child and returns what it returned, -1 if the child threw or died otherwise. The child
// leaves by _exit: destructors, sanitizer reports at exit and Catch belong to the parent.
template <class Body>
int in_child(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int code = 255;
        try {
            code = body();
        } catch (...) {
            code = 255;
        }
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 255) return -1;
    return WEXITSTATUS(status);
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

class TempFile {
public:
    TempFile() {
        const int fd = ::mkstemp(name_.data());
        if (fd < 0) std::abort();
        ::close(fd);
    }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;
    ~TempFile() { ::unlink(name_.c_str()); }

    [[nodiscard]] const char* name() const { return name_.c_str(); }

private:
    std::string name_ = (std::filesystem::temp_directory_path() / "backlite-fork-XXXXXX").string();
};

std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        static_cast<void>(entry);
        ++count;
    }
    return count;
}

TEST_CASE("ForkGuard: lets the process that made it pass") {
    const ForkGuard guard;
    CHECK_FALSE(guard.forked());
    CHECK_NOTHROW(guard.check_process("Client::save"));
}

TEST_CASE("ForkGuard: throws in a forked child, and the parent is unharmed") {
    const ForkGuard guard;
    const int result = in_child([&guard] {
        try {
            guard.check_process("Client::save");
        } catch (const ForkError&) {
            return guard.forked() ? 1 : 2;
        }
        return 3;
    });
    CHECK(result == 1);
    CHECK_FALSE(guard.forked());
    CHECK_NOTHROW(guard.check_process("Client::save"));
}

TEST_CASE("ForkGuard: the error names the call and the reason") {
    const ForkGuard guard;
    const int result = in_child([&guard] {
        try {
            guard.check_process("Client::save");
        } catch (const ForkError& error) {
            const std::string what = error.what();
            return what == "Client::save: called in a forked child; a client belongs to the process that opened it";
        }
        return false;
    });
    CHECK(result == 1);
}

TEST_CASE("ForkGuard: one made in a forked child works there and not in that child's own children") {
    const int result = in_child([] {
        const ForkGuard guard;
        guard.check_process("Client::save");
        return in_child([&guard] { return guard.forked() ? 1 : 0; });
    });
    CHECK(result == 1);
}

TEST_CASE("ForkGuard: one from the grandparent stays refused") {
    const ForkGuard guard;
    CHECK(in_child([&guard] { return in_child([&guard] { return guard.forked() ? 1 : 0; }); }) == 1);
}

TEST_CASE("ForkClosedFd: is closed in a forked child and stays open in the parent") {
    const TempFile temp;
    ForkClosedFd file;
    REQUIRE(file.open(temp.name(), O_RDWR) == 0);
    const int fd = file.get();
    CHECK(in_child([&file, fd] { return !is_open(fd) && file.get() == -1; }) == 1);
    CHECK(file.get() == fd);
    CHECK(::write(fd, "x", 1) == 1);
}

TEST_CASE("ForkClosedFd: every open one is closed in a forked child, whatever order they were closed in before") {
    const TempFile temp;
    std::array<ForkClosedFd, 5> files;
    for (ForkClosedFd& file : files) REQUIRE(file.open(temp.name(), O_RDONLY) == 0);
    files[2].close();  // in the middle
    files[4].close();  // the newest
    files[0].close();  // the oldest
    REQUIRE(files[2].open(temp.name(), O_RDONLY) == 0);
    const std::array<int, 3> open{files[1].get(), files[2].get(), files[3].get()};
    const auto count_open = [&open] {
        int count = 0;
        for (const int fd : open) count += is_open(fd) ? 1 : 0;
        return count;
    };
    CHECK(in_child(count_open) == 0);
    CHECK(count_open() == 3);
}

TEST_CASE("ForkClosedFd: its destructor in a forked child closes nothing of the child's") {
    const TempFile temp;
    auto* const file = new ForkClosedFd;
    REQUIRE(file->open(temp.name(), O_RDONLY) == 0);
    const int fd = file->get();
    const int result = in_child([&temp, file, fd] {
        const int own = ::open(temp.name(), O_RDONLY | O_CLOEXEC);  // gets the number that became free
        delete file;
        return own == fd && is_open(own) ? 1 : 0;
    });
    CHECK(result == 1);
    CHECK(is_open(fd));
    delete file;
    CHECK_FALSE(is_open(fd));
}

TEST_CASE("ForkClosedFd: one opened in a forked child is the child's and is closed in the grandchild") {
    const TempFile temp;
    const int result = in_child([&temp] {
        ForkClosedFd file;
        if (file.open(temp.name(), O_RDONLY) != 0) return 2;
        const int fd = file.get();
        const int grandchild = in_child([fd] { return is_open(fd) ? 3 : 1; });
        return is_open(fd) ? grandchild : 4;
    });
    CHECK(result == 1);
}

TEST_CASE("ForkClosedFd: is closed by exec, whether asked for or not") {
    const TempFile temp;
    ForkClosedFd file;
    REQUIRE(file.open(temp.name(), O_RDONLY) == 0);
    CHECK((::fcntl(file.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("ForkClosedFd: a failed open returns the error number and owns nothing") {
    ForkClosedFd file;
    CHECK(file.open("/nonexistent/file", O_RDONLY) == ENOENT);
    CHECK(file.get() == -1);
}

TEST_CASE("ForkClosedFd: a fork while another thread opens and closes leaves nothing in the child") {
    const TempFile temp;
    struct stat wanted {};
    REQUIRE(::stat(temp.name(), &wanted) == 0);

    std::atomic<bool> stop{false};
    std::atomic<int> rounds{0};
    std::thread opener([&] {
        while (!stop.load()) {
            ForkClosedFd file;
            if (file.open(temp.name(), O_RDWR) == 0) rounds.fetch_add(1);
        }
    });
    int inherited = 0;
    for (int round = 0; round < 200; ++round) {
        inherited += in_child([&wanted] {
            int count = 0;
            for (int fd = 0; fd < 64; ++fd) {
                struct stat found {};
                if (::fstat(fd, &found) != 0) continue;
                count += found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino ? 1 : 0;
            }
            return count;
        });
    }
    stop.store(true);
    opener.join();
    CHECK(inherited == 0);
    CHECK(rounds.load() > 0);
}

TEST_CASE("ForkClosedFd: a thousand rounds leave no descriptor behind") {
    const TempFile temp;
    const std::size_t before = open_descriptors();
    for (int round = 0; round < 1000; ++round) {
        ForkClosedFd file;
        REQUIRE(file.open(temp.name(), O_RDWR) == 0);
    }
    CHECK(open_descriptors() == before);
}

}  // namespace
