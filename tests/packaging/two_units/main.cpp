// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdio>
#include <future>
#include <string>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include "letter.hpp"

using namespace std::chrono_literals;

const int* version_in_other_unit();

int main() {
    // One library, not one per translation unit.
    if (&backlite::version_number != version_in_other_unit()) return 1;

    // What a unit adds that knows only backlite/adder.hpp runs like anything else.
    std::remove("two_units.db");
    std::promise<std::string> name;
    std::future<std::string> posted = name.get_future();
    backlite::Client client{{.database = "two_units.db", .num_workers = 1}};
    client.register_queue<Letter>([&](const Letter& letter) { name.set_value(letter.to); });
    client.start();
    const backlite::TaskId id = post(client, "ada@example.org");
    if (posted.wait_for(30s) != std::future_status::ready || posted.get() != "ada@example.org") return 2;
    if (!client.stop(5s)) return 3;
    return client.status(id) == backlite::TaskStatus::not_found ? 0 : 4;  // done, and its queue keeps nothing
}
