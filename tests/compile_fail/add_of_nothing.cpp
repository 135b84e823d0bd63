// expect: backlite: add() needs a task or a range of tasks
// SPDX-License-Identifier: MIT
#include <backlite/backlite.hpp>

void send(backlite::Client& client) { client.add().save(); }
