// SPDX-License-Identifier: MIT
// backlite_dashboard: opens a database file of the library, also one made by Go backlite or in use by a program that
// runs, and shows it in a browser. It only reads, unless it is to act.

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <httplib.h>
#include <pthread.h>

#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/mount.hpp>

#include "demo.hpp"

namespace {

constexpr std::string_view usage =
    "usage: backlite_dashboard FILE [--port N] [--host ADDRESS] [--name NAME]... [--act] [--demo]\n"
    "  FILE            a database file of backlite\n"
    "  --port N        8080 unless given; 0: any free one\n"
    "  --host ADDRESS  127.0.0.1 unless given; others need a password in BACKLITE_DASHBOARD_PASSWORD (user \"admin\")\n"
    "  --name NAME     a name by which browsers reach it, beside localhost\n"
    "  --act           whoever is let in may also act on tasks and queues\n"
    "  --demo          fills FILE with tasks and runs them, so that there is something to look at\n"
    "Without a password the address to open holds a token, a new one at each start unless BACKLITE_DASHBOARD_TOKEN has "
    "one.\n";

struct Options {
    std::string file{};
    int port = 8080;
    std::string host = "127.0.0.1";
    std::vector<std::string> names{};
    bool act = false;
    bool demo = false;
};

/// nullopt: they cannot be understood.
std::optional<Options> parse(const std::vector<std::string>& arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        const bool has_value = i + 1 < arguments.size();
        if (argument == "--demo") {
            options.demo = true;
        } else if (argument == "--act") {
            options.act = true;
        } else if (argument == "--port" && has_value) {
            const std::string& text = arguments[++i];
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), options.port);
            if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
        } else if (argument == "--host" && has_value) {
            options.host = arguments[++i];
        } else if (argument == "--name" && has_value) {
            options.names.push_back(arguments[++i]);
        } else if (!argument.starts_with("--") && options.file.empty()) {
            options.file = argument;
        } else {
            return std::nullopt;
        }
    }
    if (options.file.empty()) return std::nullopt;
    return options;
}

int serve(const Options& options) {
    backlite::ui::DashboardConfig config;
    config.logger = std::make_shared<backlite::StderrLogger>(backlite::LogLevel::warning);
    config.hosts = options.names;
    if (const char* password = std::getenv("BACKLITE_DASHBOARD_PASSWORD"); password != nullptr && *password != '\0') {
        config.authorization = backlite::ui::basic_auth(
            "admin", password, options.act ? backlite::ui::Access::operate : backlite::ui::Access::read);
        config.hosts.push_back(options.host);
    }
    if (const char* token = std::getenv("BACKLITE_DASHBOARD_TOKEN"); token != nullptr) config.token = token;
    std::optional<demo::Demo> demo;
    if (options.demo) demo.emplace(options.file);
    if (options.act) {
        config.actions = backlite::Admin{options.file};
        config.audit = [](const backlite::ui::ActionRecord& record) {
            fmt::print("{}: {} {}: {} changed, {} skipped {}\n", record.who, record.action, record.tasks,
                       record.affected.count, record.affected.skipped, record.failure);
            std::fflush(stdout);
        };
    }

    backlite::ui::Dashboard dashboard{options.file, std::move(config)};
    httplib::Server server;
    backlite::ui::prepare(server);
    server.set_payload_max_length(1 << 20);
    backlite::ui::mount(server, dashboard);
    const int port = backlite::ui::bind(server, dashboard, options.host, options.port);
    const bool is_v6 = options.host.find(':') != std::string::npos;
    fmt::print("{} is shown at http://{}{}{}:{}{}\n", options.file, is_v6 ? "[" : "", options.host, is_v6 ? "]" : "",
               port, dashboard.entrance());
    std::fflush(stdout);

    // The signals were blocked before any thread began; this one takes them.
    std::jthread stopper([&server](const std::stop_token& stop) {
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        const timespec moment{0, 100'000'000};
        while (!stop.stop_requested()) {
            if (sigtimedwait(&signals, nullptr, &moment) > 0) {
                while (!server.is_running() && !stop.stop_requested()) std::this_thread::yield();
                server.stop();
                return;
            }
        }
    });
    return server.listen_after_bind() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() == 1 && arguments[0] == "--help") {
        fmt::print("{}", usage);
        return 0;
    }
    const std::optional<Options> options = parse(arguments);
    if (!options) {
        fmt::print(stderr, "{}", usage);
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    try {
        return serve(*options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "backlite_dashboard: {}\n", error.what());
        return 2;
    }
}
