// expect: backlite: a processor takes (const T&) or (backlite::Context&, const T&) and returns void,
// SPDX-License-Identifier: MIT
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

void process(backlite::Client& client) {
    client.register_queue<SendEmail>([](const SendEmail&) { return true; });
}
