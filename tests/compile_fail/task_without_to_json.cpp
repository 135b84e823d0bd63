// expect: backlite: this task type cannot be written as JSON: give it a to_json
// SPDX-License-Identifier: MIT
#include <string>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};

void send(backlite::Client& client) { client.add(SendEmail{}).save(); }
