// SPDX-License-Identifier: MIT
#pragma once
// A task, and a function that adds it from a translation unit that includes no more than that needs.
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/adder.hpp>

struct Letter {
    std::string to;

    static backlite::QueueConfig config() { return {.name = "letters"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Letter, to)

backlite::TaskId post(backlite::Adder adder, const std::string& to);
