// expect: nodiscard
// SPDX-License-Identifier: MIT
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

void send(backlite::Client& client) { client.add(SendEmail{}); }
