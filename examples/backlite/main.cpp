// SPDX-License-Identifier: MIT
// backlite: looks at a database file of the library, also while programs use it, changes its tasks, and says what is
// wrong with it.

#include <chrono>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <backlite/error.hpp>

#include "commands.hpp"
#include "help.hpp"
#include "options.hpp"

namespace tool {

int run(const Options& options) {
    if (options.help) {
        fmt::print("{}", help(options.command));
        return done;
    }
    const std::string& command = options.command;
    if (command == "completion") {
        const std::string script = completion(options.file);
        if (script.empty()) throw UsageFault("completion: bash and zsh are known");
        fmt::print("{}", script);
        return done;
    }
    if (command == "ls") return list(options);
    if (command == "show") return show(options);
    if (command == "queues") return queues(options);
    if (command == "stats") return stats(options);
    if (command == "schedules") return schedules(options);
    if (command == "pause" || command == "resume") return pause_or_resume(options);
    if (command == "signal") return send_signal(options);
    if (command == "purge") return purge(options);
    if (command == "doctor") return doctor(options);
    return act(options);
}

}  // namespace tool

int main(int argc, char** argv) {
    try {
        return tool::run(tool::parse({argv + 1, argv + argc}, std::chrono::system_clock::now()));
    } catch (const tool::UsageFault& fault) {
        const bool known = argc > 1 && tool::is_command(argv[1]);
        fmt::print(stderr, "backlite: {}\n`backlite {}--help` says how.\n", fault.what(),
                   known ? argv[1] + std::string{" "} : "");
        return tool::misunderstood;
    } catch (const backlite::StorageError& error) {
        fmt::print(stderr, "backlite: {}\n", error.what());
        return tool::unusable;
    } catch (const backlite::ConfigError& error) {
        fmt::print(stderr, "backlite: {}\n", error.what());
        return tool::misunderstood;
    } catch (const std::exception& error) {
        fmt::print(stderr, "backlite: {}\n", error.what());
        return tool::unusable;
    }
}
