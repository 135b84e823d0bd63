// SPDX-License-Identifier: MIT
// Makes a file for the tool's test: mails, of which two fail and one does not, and two reports, one of them due later.

#include <chrono>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

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

}  // namespace

/// rows FILE [works]: with `works` nothing fails, reports are run too, and nothing is added.
int main(int argc, char** argv) {
    if (argc < 2) return 2;
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
