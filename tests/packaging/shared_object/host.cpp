// SPDX-License-Identifier: MIT
// A host whose plugin, a shared object that shares no symbol with it, opens and starts the client. 0, or which of the
// demands was not met.

#include <chrono>
#include <cstdio>
#include <future>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.hpp"

using namespace std::chrono_literals;

namespace {

const char* const file = "tasks.db";
const backlite::Client* of_plugin = nullptr;
const backlite::Client* of_host = nullptr;
bool both_refuse = false;

void ask_both() { both_refuse = refuses_add(*of_plugin) && refuses_add(*of_host); }

template <class Function>
Function* find(void* plugin, const char* name) {
    return reinterpret_cast<Function*>(::dlsym(plugin, name));
}

}  // namespace

int main() {
    std::remove(file);
    void* const plugin = ::dlopen("./plugin.so", RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) return std::puts(::dlerror()), 1;
    backlite::Client* const client = find<decltype(make_client)>(plugin, "make_client")(file);
    of_plugin = client;

    // A stop inside a task only asks.
    std::promise<bool> stopped;
    client->register_queue<Job>(
        [&](backlite::Context& context, const Job&) { stopped.set_value(context.client().stop(1h)); });
    find<decltype(start_client)>(plugin, "start_client")(client);
    client->add(Job{1}).save();
    std::future<bool> answer = stopped.get_future();
    if (answer.wait_for(30s) != std::future_status::ready || answer.get()) return 2;
    if (!client->stop(30s)) return 3;

    // An add beside a Transaction of the same thread is refused, whichever modules they are of.
    {
        const backlite::Client own{{.database = file, .num_workers = 1}};
        of_host = &own;
        find<decltype(within)>(plugin, "within")(client, file, &ask_both);
        if (!both_refuse) return 4;
        for (const backlite::Client* begins : {of_plugin, of_host}) {
            both_refuse = false;
            SQLite::Database database(file, SQLite::OPEN_READWRITE);
            const backlite::Transaction transaction{*begins, database};
            ask_both();
            if (!both_refuse) return 5;
        }
        if (refuses_add(*client) || refuses_add(own)) return 6;
    }

    // An error of the plugin's is one for the host.
    try {
        find<decltype(make_client)>(plugin, "make_client")("/nowhere/tasks.db");
        return 7;
    } catch (const backlite::ConfigError&) {
    }

    // The plugin goes; fork, and a client of the host's, work on.
    find<decltype(free_client)>(plugin, "free_client")(client);
    ::dlclose(plugin);
    const backlite::Client last{{.database = file, .num_workers = 1}};
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    int status = -1;
    if (::waitpid(child, &status, 0) != child || status != 0 || refuses_add(last)) return 8;
    return 0;
}
