// expect: backlite: this type is no task: it needs `static backlite::QueueConfig config()`
// SPDX-License-Identifier: MIT
#include <string>

#include <backlite/backlite.hpp>

void send(backlite::Client& client) { client.add(std::string{"ann@example.com"}).save(); }
