// expect: backlite: the unique_key of this task type must be `std::string unique_key() const`
// SPDX-License-Identifier: MIT
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

struct SendEmail {
    std::string to;
    std::string unique_key() { return to; }
    static backlite::QueueConfig config() {
        return {.name = "send_email", .unique = {.conflict = backlite::Conflict::keep}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

void send(backlite::Client& client) { client.add(SendEmail{}).save(); }
