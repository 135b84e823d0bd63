// expect: backlite: a task type must be default-constructible
// SPDX-License-Identifier: MIT
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;

    explicit SendEmail(std::string address) : to(std::move(address)) {}

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

void send(backlite::Client& client) { client.add(SendEmail{"ann@example.com"}).save(); }
