// SPDX-License-Identifier: MIT
// A program that uses the library: adds a task, runs it, and says how that went by its exit code.
#include <chrono>
#include <cstdio>
#include <future>
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

using namespace std::chrono_literals;

struct Greeting {
    std::string name{};

    static backlite::QueueConfig config() { return {.name = "greeting", .timeout = 10s}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Greeting, name)

int main() {
    std::remove("host.db");  // from the run before
    std::promise<std::string> name;
    std::future<std::string> greeted = name.get_future();

    backlite::Client client{{.database = "host.db", .num_workers = 1}};
    client.register_queue<Greeting>([&](const Greeting& greeting) { name.set_value(greeting.name); });
    client.start();
    client.add(Greeting{.name = "world"}).save();

    const bool ran = greeted.wait_for(30s) == std::future_status::ready && greeted.get() == "world";
    const bool drained = client.stop(5s);
    std::printf("ran: %d, drained: %d\n", ran, drained);
    return ran && drained ? 0 : 1;
}
