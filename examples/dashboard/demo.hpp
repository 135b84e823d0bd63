// SPDX-License-Identifier: MIT
#pragma once
// Something to look at: a file with a day of history, and queues that work.

#include <stop_token>
#include <string>
#include <thread>

#include <backlite/backlite.hpp>

namespace demo {

/// Fills `file` with a day of finished tasks, unless it has any, and runs queues on it that are fast, slow, failing,
/// or scheduled, until it is destroyed.
class Demo {
public:
    explicit Demo(const std::string& file);

private:
    void produce(const std::stop_token& stop);

    backlite::Client client_;
    std::jthread producer_{};  // last: joined before the client goes
};

}  // namespace demo
