// SPDX-License-Identifier: MIT
#pragma once
// Other processes that rows need: this program, started anew as a child that does one thing. A child is started and not
// only forked, so that it has nothing of this process's clients and memory.

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace bench {

/// A child that is talked to in lines.
class Child {
public:
    /// Starts this program with the arguments `--child` and `arguments`. Errors: std::runtime_error.
    explicit Child(std::vector<std::string> arguments);
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    /// Closes the child's input, which ends it, and waits for its end.
    ~Child();

    void tell(std::string_view line);
    /// The child's next line, as a number. Errors: std::runtime_error if the child has ended.
    [[nodiscard]] long long hear();

private:
    pid_t process_ = -1;
    std::FILE* to_ = nullptr;
    std::FILE* from_ = nullptr;
};

/// The main function of a child; nullopt if the arguments do not ask for one.
///   insert FILE     for each line of input: inserts the task of that number by plain SQL; answers with the steady time
///                   in nanoseconds at which it called COMMIT
///   memory FILE     starts a client on the file, runs some of its tasks; answers with the most memory it had in use,
///                   in bytes
///   join "N FILE"   starts a client on the file, and a flow with N children; the same answer
[[nodiscard]] std::optional<int> run_child(const std::vector<std::string_view>& arguments);

}  // namespace bench
