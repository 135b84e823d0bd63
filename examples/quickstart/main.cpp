// SPDX-License-Identifier: MIT
#include <backlite/backlite.hpp>

#include <fmt/format.h>

using namespace std::chrono_literals;

struct Greeting {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "greetings", .max_attempts = 3, .backoff = 5s}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Greeting, name)

int main() {
    backlite::Client client{{.database = "quickstart.db"}};
    client.register_queue<Greeting>([](const Greeting& task) { fmt::print("Hello, {}!\n", task.name); });
    client.start();

    client.add(Greeting{"world"}, Greeting{"SQLite"}).save();  // on disk when save() returns
    client.add(Greeting{"future"}).wait(1s).save();

    while (!client.counts().empty()) std::this_thread::sleep_for(50ms);  // a server would just go on
    return client.stop(5s) ? 0 : 1;
}
