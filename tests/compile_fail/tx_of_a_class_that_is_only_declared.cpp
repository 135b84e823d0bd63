// expect: function for call to
// SPDX-License-Identifier: MIT
// adder.hpp alone: what a Transaction is stands in transaction.hpp. No surprise of the linker's.
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/adder.hpp>

struct SendEmail {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "send_email"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendEmail, to)

void send(backlite::Adder adder, backlite::Transaction& tx) { adder.add(SendEmail{}).tx(tx).save(); }
