// SPDX-License-Identifier: MIT
#pragma once
// What a host and its plugin know of each other.
#include <backlite/backlite.hpp>

struct Job {
    int n = 0;

    static backlite::QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, n)

/// Whether an add by this client is refused at once, because this thread would wait for itself.
inline bool refuses_add(const backlite::Client& client) {
    try {
        client.add(Job{}).save();
        return false;
    } catch (const backlite::BusyError&) {
        return false;
    } catch (const backlite::UsageError&) {
        return true;
    }
}

extern "C" __attribute__((visibility("default"))) backlite::Client* make_client(const char* file);
extern "C" __attribute__((visibility("default"))) void start_client(backlite::Client* client);
extern "C" __attribute__((visibility("default"))) void free_client(backlite::Client* client);
/// Calls `then` inside of a Transaction of the plugin's.
extern "C" __attribute__((visibility("default"))) void within(const backlite::Client* client, const char* file,
                                                              void (*then)());
