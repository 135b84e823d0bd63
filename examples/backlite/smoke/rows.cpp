// SPDX-License-Identifier: MIT
// Makes a file for the tool's test: mails, of which two fail and one does not, and two reports, one of them due later.

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

namespace {

using namespace std::chrono_literals;

struct Mail {
    std::string to{};
    static backlite::QueueConfig config() {
        return {.name = "mail", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Mail, to)

struct Report {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "report"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Report, name)

struct Order {
    int number = 0;
    using Result = std::string;
    static backlite::QueueConfig config() { return {.name = "order", .retention = backlite::Retention{}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, number)

/// Adds an order if there is none, and lets it go on until it waits or has ended.
int run_flow(const char* file) {
    backlite::Client client{{.database = file, .num_workers = 1}};
    client.register_flow<Order>([](backlite::Flow& flow, const Order&) {
        flow.step("pay", [] { return std::string{"paid"}; });
        return "packed " + flow.wait<std::string>("packed", 1h).value_or("by nobody");
    });
    if (client.counts().empty()) client.add(Order{}).save();
    client.start();
    const bool idle = client.wait_idle(30s);
    return client.stop(10s) && idle ? 0 : 1;
}

}  // namespace

/// Asks the tool while a client is started that knows nothing of the queue in which a task is due for a minute.
int ask_beside_stranger(const std::string& file, const std::string& tool) {
    backlite::Client client{{.database = file, .num_workers = 1}};
    client.register_queue<Mail>([](const Mail&) {});
    client.add(Report{"unknown"}).save();
    SQLite::Database(file, SQLite::OPEN_READWRITE, 5'000)
        .exec("UPDATE backlite_tasks SET created_at = created_at - 60000");
    client.start();
    return std::system((tool + " doctor " + file).c_str()) == 0 ? 0 : 1;  // NOLINT(concurrency-mt-unsafe)
}

/// rows FILE [works]: with `works` nothing fails, reports are run too, and nothing is added. rows FILE flow: a flow.
/// rows FILE stranger TOOL: what `TOOL doctor FILE` says beside a client that does not know the queue.
int main(int argc, char** argv) {
    if (argc < 2) return 2;
    if (argc > 2 && argv[2] == std::string{"flow"}) return run_flow(argv[1]);
    if (argc > 3 && argv[2] == std::string{"stranger"}) return ask_beside_stranger(argv[1], argv[3]);
    const bool works = argc > 2;
    backlite::Client client{{.database = argv[1], .num_workers = 1}};
    client.register_queue<Mail>([&](const Mail& mail) {
        if (!works && mail.to != "ada") throw std::runtime_error("no route to " + mail.to);
    });
    if (works) client.register_queue<Report>([](const Report&) {});
    if (!works) {
        client.add(Mail{"ada"}, Mail{"bob"}, Mail{"eve"}).save();
        client.add(Report{"yearly"}).save();
        client.add(Report{"later"}).wait(1h).save();
    }
    client.start();
    const bool idle = client.wait_idle(30s);
    return client.stop(10s) && idle ? 0 : 1;
}
