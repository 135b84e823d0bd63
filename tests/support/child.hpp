// SPDX-License-Identifier: MIT
#pragma once
// A process that a test forks, and what the two say to each other.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backlite_test {

/// Forks a child that runs `body` and leaves by _exit with what it returned, 255 if it threw.
template <class Body>
pid_t start_child(Body body) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    int code = 255;
    try {
        code = body();
    } catch (...) {
        code = 255;
    }
    ::_exit(code);
}

/// The exit code; 1000 and the signal's number if a signal killed it.
inline int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

inline void kill_and_wait(pid_t pid) {
    ::kill(pid, SIGKILL);
    wait_for(pid);
}

template <class Body>
int in_child(Body body) {
    return wait_for(start_child(body));
}

/// Two pipes between this process and one that it forks. A closed or silent other side reads as '\0'.
class Channel {
public:
    Channel() {
        if (::pipe2(down_.data(), O_CLOEXEC) != 0 || ::pipe2(up_.data(), O_CLOEXEC) != 0) std::abort();
    }
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() {
        for (const int fd : {down_[0], down_[1], up_[0], up_[1]}) close_end(fd);
    }

    /// In the parent, once every process that shall hold the other side has been forked.
    void be_parent() { close_end(down_[0]), down_[0] = -1, close_end(up_[1]), up_[1] = -1; }
    void be_child() { close_end(down_[1]), down_[1] = -1, close_end(up_[0]), up_[0] = -1; }
    void hang_up() { close_end(down_[1]), down_[1] = -1; }

    void tell_child(char c) const { put(down_[1], c); }
    void tell_parent(char c) const { put(up_[1], c); }
    [[nodiscard]] char await_child() const { return get(up_[0]); }
    [[nodiscard]] char await_parent() const { return get(down_[0]); }

    [[nodiscard]] int child_input() const { return down_[0]; }
    [[nodiscard]] int child_output() const { return up_[1]; }

private:
    static void close_end(int fd) {
        if (fd >= 0) ::close(fd);
    }
    static void put(int fd, char c) { static_cast<void>(::write(fd, &c, 1) == 1); }
    static char get(int fd) {
        struct ::pollfd ready {};
        ready.fd = fd;
        ready.events = POLLIN;
        char c = '\0';
        if (::poll(&ready, 1, 30'000) <= 0 || ::read(fd, &c, 1) != 1) return '\0';
        return c;
    }

    std::array<int, 2> down_{-1, -1};
    std::array<int, 2> up_{-1, -1};
};

}  // namespace backlite_test
