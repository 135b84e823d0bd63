// expect success
// SPDX-License-Identifier: MIT
// What the other files here do wrong, done right: where this one does not compile, their failures mean nothing.
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

struct Tick {  // without fields it needs no hooks
    static backlite::QueueConfig config() { return {.name = "tick"}; }
};

void send(backlite::Client& client) {
    client.register_queue<SendEmail>([](const SendEmail&) {});
    client.add(SendEmail{}, Tick{}).save();
}
