// SPDX-License-Identifier: MIT
#include "children.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <backlite/backlite.hpp>

#include "flows.hpp"
#include "raw.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

constexpr const char* this_program = "/proc/self/exe";

int insert_what_is_asked_for(const std::string& file) {
    const RawDatabase database(file, backlite::Durability::process);
    RawInsert insert(database);
    std::size_t number = 0;
    while (std::cin >> number) {
        const RawTask task = raw_tasks(number, 1).front();
        std::cout << insert.commit_one(task, now_ms()) << std::endl;
    }
    return 0;
}

long long most_memory() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word) {
        long long kib = 0;
        if (word == "VmHWM:" && status >> kib) return kib * 1024;
    }
    return -1;
}

/// Quick tasks first, so that the client learns to claim ahead; the others wait behind workers that are stuck.
int measure_memory(const std::string& file) {
    constexpr int quick_tasks = 500;
    std::atomic<int> started{0};
    backlite::Client client{{.database = file, .num_workers = 2}};
    client.register_queue<Upload>([&](backlite::Context& context, const Upload&) {
        if (++started <= quick_tasks) return backlite::Outcome::success();
        std::mutex mutex;
        std::condition_variable_any never;
        std::unique_lock lock(mutex);
        never.wait(lock, context.stop_token(), [] { return false; });
        return backlite::Outcome::retry("the measurement is over");
    });
    client.start();
    while (started <= quick_tasks + 1) std::this_thread::sleep_for(std::chrono::milliseconds{10});
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    std::cout << most_memory() << std::endl;
    client.stop(backlite::Duration{0});
    return 0;
}

int measure_join(const std::string& what) {
    const std::size_t space = what.find(' ');
    const std::int64_t count = std::stoll(what.substr(0, space));
    const Joined joined = join_children(what.substr(space + 1), count);
    if (joined.ran != count || !joined.right) return 1;
    std::cout << most_memory() << std::endl;
    return 0;
}

}  // namespace

Child::Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {this_program, "--child"});
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);

    int input[2];
    int output[2];
    if (::pipe2(input, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
    if (::pipe2(output, O_CLOEXEC) != 0) {
        ::close(input[0]);
        ::close(input[1]);
        throw std::runtime_error("cannot make a pipe");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    const int error = ::posix_spawn(&process_, this_program, &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(input[0]);
    ::close(output[1]);
    to_ = ::fdopen(input[1], "w");
    from_ = ::fdopen(output[0], "r");
    if (error == 0) return;
    std::fclose(to_);
    std::fclose(from_);
    throw std::runtime_error("cannot start a child process");
}

Child::~Child() {
    std::fclose(to_);
    std::fclose(from_);
    ::waitpid(process_, nullptr, 0);
}

void Child::tell(std::string_view line) {
    std::fwrite(line.data(), 1, line.size(), to_);
    std::fputc('\n', to_);
    std::fflush(to_);
}

long long Child::hear() {
    char line[32];
    if (std::fgets(line, sizeof line, from_) == nullptr) throw std::runtime_error("a child process ended early");
    return std::atoll(line);
}

std::optional<int> run_child(const std::vector<std::string_view>& arguments) {
    if (arguments.size() != 3 || arguments[0] != "--child") return std::nullopt;
    const std::string file{arguments[2]};
    if (arguments[1] == "join") return measure_join(file);
    return arguments[1] == "insert" ? insert_what_is_asked_for(file) : measure_memory(file);
}

}  // namespace bench
