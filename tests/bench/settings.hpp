// SPDX-License-Identifier: MIT
#pragma once
// Tasks with every setting there is: three queues with a timeout, retries and retention, a logger, and first attempts
// that fail.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/backlite.hpp>

#include "workload.hpp"

namespace bench {

/// Whether a row's tasks have the least settings, or all of them.
enum class Settings { few, all };

/// What the ratio of a row with all settings has to keep of that with few.
inline constexpr double kept_with_all_settings = 0.7;

inline constexpr std::size_t fails_every = 20;  ///< so many tasks have a first attempt that fails

[[nodiscard]] inline backlite::QueueConfig all_settings(std::string name) {
    return {.name = std::move(name),
            .max_attempts = 3,
            .timeout = std::chrono::seconds{30},
            .backoff = std::chrono::milliseconds{0},
            .retention = backlite::Retention{.duration = std::chrono::hours{24}, .data = backlite::RetainData{}}};
}
// Their JSON is that of what they derive from.
struct Scan : Upload {
    static backlite::QueueConfig config() { return all_settings("scan"); }
};
struct Mail : Upload {
    static backlite::QueueConfig config() { return all_settings("mail"); }
};
struct Print : Upload {
    static backlite::QueueConfig config() { return all_settings("print"); }
};
inline constexpr std::array<std::string_view, 3> queues{"scan", "mail", "print"};

[[nodiscard]] inline backlite::ClientConfig client_config(Settings settings, std::string file,
                                                          backlite::Durability durability,
                                                          std::atomic<std::size_t>& events) {
    backlite::ClientConfig config{.database = std::move(file), .num_workers = 2, .durability = durability};
    if (settings == Settings::all) config.logger = backlite::make_logger([&events](auto&&...) { ++events; });
    return config;
}

/// Registers a processor for tasks with few settings, or for those with all. It calls `start(const Upload&)` at each
/// attempt, and `finish(const Upload&)` at the last.
template <class Start, class Finish>
void register_queues(Settings settings, backlite::Client& client, Start start, Finish finish) {
    const auto run = [=](const backlite::Context& context, const Upload& task) {
        start(task);
        if (context.max_attempts() > 1 && context.attempt() == 1 &&
            static_cast<std::size_t>(task.number) % fails_every == 0) {
            throw std::runtime_error("the first attempt fails");
        }
        finish(task);
    };
    if (settings == Settings::few) {
        client.register_queue<Upload>(run);
    } else {
        client.register_queue<Scan>(run);
        client.register_queue<Mail>(run);
        client.register_queue<Print>(run);
    }
}

/// `client.add(task)`, to the queue that is the task's turn if there are three.
[[nodiscard]] inline backlite::AddOp add(Settings settings, backlite::Client& client, const Upload& task) {
    if (settings == Settings::few) return client.add(task);
    switch (task.number % 3) {
        case 0: return client.add(Scan{task});
        case 1: return client.add(Mail{task});
        default: return client.add(Print{task});
    }
}

}  // namespace bench
