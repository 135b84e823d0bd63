// SPDX-License-Identifier: MIT
#pragma once
// Queues for tests of what knows a queue by its name and configuration alone.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/config.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/queue.hpp>

namespace backlite_test {

class NamedQueue final : public backlite::detail::QueueBase {
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
[[nodiscard]] inline backlite::core::QueueRegistry two_queues() {
    backlite::core::QueueRegistry queues;
    queues.add(std::make_unique<NamedQueue>("mail"));
    queues.add(std::make_unique<NamedQueue>("print"));
    return queues;
}

}  // namespace backlite_test
