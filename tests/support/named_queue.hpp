// SPDX-License-Identifier: MIT
#pragma once
// Queues for tests of what knows a queue by its name and configuration alone.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/config.hpp>
#include <backlite/queue.hpp>
#include <backlite/runtime/queue_registry.hpp>

namespace backlite_test {

class NamedQueue final : public backlite::QueueBase {
public:
    explicit NamedQueue(std::string name, int max_crashes = 3) {
        config_.name = std::move(name);
        config_.max_crashes = max_crashes;
    }
    [[nodiscard]] const backlite::QueueConfig& config() const noexcept override { return config_; }
    [[nodiscard]] std::string_view type() const noexcept override { return "Test"; }
    [[nodiscard]] std::unique_ptr<Job> decode(std::string_view) const override { return nullptr; }

private:
    backlite::QueueConfig config_{};
};

/// `mail` (0) and `print` (1).
[[nodiscard]] inline backlite::runtime::QueueRegistry two_queues() {
    backlite::runtime::QueueRegistry queues;
    queues.add(std::make_unique<NamedQueue>("mail"));
    queues.add(std::make_unique<NamedQueue>("print"));
    return queues;
}

}  // namespace backlite_test
