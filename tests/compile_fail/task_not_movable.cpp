// expect: backlite: a task type must be movable
// SPDX-License-Identifier: MIT
#include <mutex>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::mutex mutex;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};

void to_json(nlohmann::json&, const SendEmail&) {}
void from_json(const nlohmann::json&, SendEmail&) {}

void process(backlite::Client& client) {
    client.register_queue<SendEmail>([](const SendEmail&) {});
}
