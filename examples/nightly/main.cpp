// SPDX-License-Identifier: MIT
// A nightly clean-up: of the logs in a folder, which are named by their days, those go that are older than a week.
//
//     nightly FOLDER       cleans it up each night at three, until it is interrupted; nightly.db is its database
//     nightly --rehearse   a fortnight of nights in a moment, by a clock that this program moves

#include <chrono>
#include <csignal>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <backlite/backlite.hpp>
#include <backlite/schedule.hpp>
#include <backlite/testing/test_client.hpp>

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using backlite::TimePoint;

struct CleanUp {
    std::string folder{};
    int keep_days = 7;
    static backlite::QueueConfig config() { return {.name = "clean_up", .max_attempts = 3, .backoff = 5min}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(CleanUp, folder, keep_days)

// Such as "2020-01-31.log": names sort as their days do.
std::string log_of(TimePoint day) {
    return fmt::format("{:%Y-%m-%d}.log", fmt::gmtime(std::chrono::system_clock::to_time_t(day)));
}

// A clean-up that runs twice finds nothing left the second time, so it may run again after a crash.
std::vector<std::string> clean_up(const CleanUp& task, TimePoint now) {
    const std::string oldest = log_of(now - 24h * task.keep_days);
    std::vector<std::string> removed;
    for (const fs::directory_entry& entry : fs::directory_iterator(task.folder)) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() == ".log" && name < oldest && fs::remove(entry.path())) removed.push_back(name);
    }
    return removed;
}

// Called at every start of the program: what is stored already stays as it is, so no night is skipped or doubled.
void plan(const backlite::ClientHandle& client, const std::string& folder) {
    client.schedule({.name = "clean-up",
                     .when = backlite::Cron{"0 3 * * *"},
                     .misfire = backlite::Misfire::once,  // after a week without power once is enough
                     .overlap = backlite::Overlap::skip},
                    CleanUp{.folder = folder});
}

// `client`: a Client, or the TestClient of the rehearsal.
template <class C>
void register_queue(C& client) {
    client.template register_queue<CleanUp>([](const backlite::Context& context, const CleanUp& task) {
        const auto clock = context.client().config().clock;
        const TimePoint now = clock ? clock->now() : std::chrono::system_clock::now();
        for (const std::string& name : clean_up(task, now)) std::cout << "removed " << name << std::endl;
    });
}

int run(const std::string& folder) {
    sigset_t signals{};
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    backlite::Client client{{.database = "nightly.db"}};
    register_queue(client);
    plan(client, fs::absolute(folder).string());
    client.start();
    const backlite::ScheduleInfo info = client.schedules().at(0);
    std::cout << fmt::format("next clean-up: {:%F %T} UTC",
                             fmt::gmtime(std::chrono::system_clock::to_time_t(info.next.value())))
              << std::endl;
    int signal = 0;
    sigwait(&signals, &signal);
    return client.stop(10s) ? 0 : 1;
}

int rehearse() {
    const fs::path folder = fs::temp_directory_path() / fmt::format("nightly-{}", ::getpid());
    fs::create_directories(folder);
    backlite::testing::TestClient client;
    register_queue(client);
    plan(client.client(), folder.string());
    std::size_t nights = 0;
    for (int day = 0; day < 14; ++day) {
        std::ofstream(folder / log_of(client.clock().now())) << "a day's work\n";
        nights += client.drain_until(client.clock().now() + 24h).size();
    }
    client.clock().suspend(24h * 4);  // the machine sleeps, and four nights are missed
    nights += client.drain().size();
    std::size_t left = 0;
    for ([[maybe_unused]] const fs::directory_entry& entry : fs::directory_iterator(folder)) ++left;
    fs::remove_all(folder);
    std::cout << nights << " clean-ups, " << left << " logs left" << std::endl;
    return nights == 15 ? 0 : 1;
}

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: nightly FOLDER | nightly --rehearse\n";
        return 2;
    }
    try {
        return std::string_view{argv[1]} == "--rehearse" ? rehearse() : run(argv[1]);
    } catch (const std::exception& error) {
        std::cerr << "nightly: " << error.what() << '\n';
        return 1;
    }
}
