// SPDX-License-Identifier: MIT
#pragma once
// A process that a harness ends when it likes.

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <system_error>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backlite_test {

/// A forked process. REQUIRES: no client and no connection is open in this one.
class Forked {
public:
    template <class Body>
    explicit Forked(Body body) : pid_(::fork()) {
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ > 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        int status = 3;
        try {
            status = body();
        } catch (const std::exception& error) {
            static_cast<void>(std::fprintf(stderr, "a child threw: %s\n", error.what()));
        }
        ::_exit(status);
    }
    Forked(const Forked&) = delete;
    Forked& operator=(const Forked&) = delete;
    ~Forked() { kill(SIGKILL); }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    /// Sends a signal, and waits for the end; the exit status, negative if a signal ended it.
    int kill(int signal) {
        if (pid_ <= 0) return 0;
        ::kill(pid_, signal);
        return join();
    }
    int join() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

private:
    pid_t pid_;
};

}  // namespace backlite_test
