// SPDX-License-Identifier: MIT
#include "job.hpp"

backlite::Client* make_client(const char* file) { return new backlite::Client{{.database = file, .num_workers = 2}}; }
void start_client(backlite::Client* client) { client->start(); }
void free_client(backlite::Client* client) { delete client; }

void within(const backlite::Client* client, const char* file, void (*then)()) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    const backlite::Transaction transaction{*client, database};
    then();
}
