// SPDX-License-Identifier: MIT
// A part of a program, compiled several times: each time with another copy of the library, and UNIT as its name.

#include <chrono>
#include <future>
#include <string>
#include <utility>

#include <backlite/backlite.hpp>

using namespace std::chrono_literals;

namespace {

struct Job {
    int n = 0;

    static backlite::QueueConfig config() { return {.name = UNIT, .max_attempts = 2}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, n)

// Adds a task, and waits until it has run.
bool run_one(const backlite::Client& client, std::promise<int>& ran) {
    std::promise<int> next;
    std::future<int> result = next.get_future();
    ran = std::move(next);
    client.add(Job{7}).save();
    return result.wait_for(30s) == std::future_status::ready && result.get() == 7;
}

}  // namespace

/// Runs a task of its client before and after `then` has used another one on the same file.
extern "C" bool USE(const char* file, bool (*then)(const char*)) {
    backlite::Client client{{.database = file, .num_workers = 2}};
    std::promise<int> ran;
    client.register_queue<Job>([&](backlite::Context& context, const Job& job) {
        if (context.attempt() == 1) throw backlite::UsageError("again");
        ran.set_value(job.n);
    });
    client.start();
    if (!run_one(client, ran) || (then != nullptr && !then(file)) || !run_one(client, ran)) return false;
    return client.stop(30s);
}
