// SPDX-License-Identifier: MIT
// What a task that has waited for others reads of them.

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>

namespace parents_test {

using namespace backlite;
using namespace std::chrono_literals;
using testing::TestClient;

struct Scan {
    int page = 0;
    using Result = std::string;
    static QueueConfig config() { return {.name = "scan", .retention = Retention{.duration = 1h}}; }
};
struct Bind {
    std::vector<std::string> pages{};
    static QueueConfig config() { return {.name = "bind"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Scan, page)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Bind, pages)

TEST_CASE("Parents: a task reads what those returned that it has waited for, and nothing of one that failed") {
    TestClient client;
    std::vector<std::string> read;
    bool refused = false;
    client.register_queue<Scan>([](const Scan& scan) -> std::string {
        if (scan.page == 2) throw std::runtime_error("stuck");
        return "text " + std::to_string(scan.page);
    });
    client.register_queue<Bind>([&](Context& context, const Bind& bind) {
        for (const std::string& page : bind.pages) {
            read.push_back(context.parent_result<Scan>(TaskId::parse(page)).value_or("nothing"));
        }
        try {
            static_cast<void>(context.parent_result<Scan>(context.task_id()));
        } catch (const Error&) {
            refused = true;
        }
    });
    const std::vector<TaskId> scans = client.add(Scan{1}, Scan{2}, Scan{3}).save();
    Bind bind;
    for (const TaskId& id : scans) bind.pages.push_back(id.str());
    client.add(bind).after(scans, OnParentFailure::run).save();
    client.drain();
    CHECK(read == std::vector<std::string>{"text 1", "nothing", "text 3"});
    CHECK(refused);  // its own id is of another queue
}

}  // namespace parents_test
