// expect: backlite: this task type cannot be read from JSON: give it a from_json
// SPDX-License-Identifier: MIT
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};

void to_json(nlohmann::json& json, const SendEmail& task) { json = task.to; }

void send(backlite::Client& client) { client.add(SendEmail{}).save(); }
