// SPDX-License-Identifier: MIT
#include "flows.hpp"

#include <atomic>
#include <chrono>
#include <optional>

#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

Joined join_children(const std::string& file, std::int64_t count) {
    Joined joined;
    std::atomic<std::int64_t> ran{0};
    std::optional<Stopwatch> watch;
    backlite::Client client{{.database = file, .num_workers = 2, .durability = backlite::Durability::process}};
    client.register_queue<Part>([&ran](const Part& part) {
        ++ran;
        return part.number + 1;
    });
    client.register_flow<Run>([&](backlite::Flow& flow, const Run& run) {
        if (joined.entered++ == 0) watch.emplace();
        std::vector<Part> parts(static_cast<std::size_t>(run.count));
        for (std::size_t i = 0; i < parts.size(); ++i) parts[i].number = static_cast<std::int64_t>(i);
        const std::vector<std::int64_t> results = flow.map("parts", parts);
        joined.seconds = watch->seconds();
        joined.right = results.size() == parts.size();
        for (std::size_t i = 0; i < results.size(); ++i) {
            joined.right = joined.right && results[i] == parts[i].number + 1;
        }
    });
    const backlite::TaskId id = client.add(Run{count}).save().front();
    client.start();
    if (!client.wait(id, std::chrono::minutes{10})) throw Incorrect("children were not joined within ten minutes");
    client.stop(std::chrono::seconds{30});
    joined.ran = ran;
    return joined;
}

}  // namespace bench
