// SPDX-License-Identifier: MIT
// What the dashboard costs whom it watches.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/config.hpp>
#include <backlite/ui/dashboard.hpp>

#include "drain.hpp"
#include "raw.hpp"
#include "rows.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

/// Somebody who looks at the overview once a second.
class Onlooker {
public:
    explicit Onlooker(const std::string& file) : dashboard_(file, config()) {}

    /// How many pages were seen. Errors: Incorrect if one was not shown.
    [[nodiscard]] int stop() {
        thread_.request_stop();
        thread_.join();
        if (fault_ != 0) throw Incorrect(fmt::format("the dashboard answered with status {}", fault_));
        return seen_;
    }

private:
    static backlite::ui::DashboardConfig config() {
        backlite::ui::DashboardConfig config;
        config.authorization = backlite::ui::this_machine();
        return config;
    }

    void look(const std::stop_token& stop) {
        backlite::ui::Request request;
        request.headers = {{"Host", "localhost"}};
        request.remote_addr = "127.0.0.1";
        std::mutex mutex;
        std::condition_variable_any door;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
            const backlite::ui::Response page = dashboard_.handle(request);
            ++seen_;
            if (page.status != 200) fault_ = page.status;
            door.wait_for(lock, stop, std::chrono::seconds{1}, [] { return false; });
        }
    }

    backlite::ui::Dashboard dashboard_;
    int seen_ = 0;
    int fault_ = 0;
    std::jthread thread_{[this](const std::stop_token& stop) { look(stop); }};
};

double drain_rate(const Bench& bench, std::size_t count, bool watched) {
    const std::string file = bench.folder.fresh("ours");
    fill(file, count, now_ms() - 1);
    Drained drained;
    if (watched) {
        Onlooker onlooker(file);
        drained = drain(file, backlite::Durability::process, 2, count);
        if (onlooker.stop() < 1) throw Incorrect("nobody has looked at the dashboard");
    } else {
        drained = drain(file, backlite::Durability::process, 2, count);
    }
    check_gone(file);
    return static_cast<double>(count) / drained.until_entered;
}

}  // namespace

void append_dashboard_rows(std::vector<Row>& rows) {
    const std::string name = "drain beside a dashboard";
    rows.push_back({name,
                    {{name, "tasks/s", {Budget::Sense::at_least, 0.95}}},
                    [](const Bench& bench, std::vector<Result>& results) {
                        const std::size_t count = bench.options.scaled(500'000);  // some seconds
                        compare(
                            bench, results[0], [&] { return drain_rate(bench, count, true); },
                            [&] { return drain_rate(bench, count, false); });
                    }});
}

}  // namespace bench
