// SPDX-License-Identifier: MIT
// thumbnails FOLDER: makes a sheet of the pictures in it. Run it again if it was killed, or once a picture is mended.

#include <chrono>

#include <fmt/format.h>

#include <backlite/admin.hpp>

#include "thumbnails.hpp"

int main(int argc, char** argv) {
    using namespace std::chrono_literals;
    if (argc != 2) return 2;
    const std::string folder = argv[1];
    backlite::Client client{{.database = folder + "/gallery.db"}};
    client.register_queue<gallery::Thumbnail>(gallery::make);
    client.register_flow<gallery::Gallery>(gallery::process);
    const backlite::Admin admin{client};
    // What failed goes on from what it has done.
    if (client.counts().empty() && admin.retry({.queue = "gallery", .state = backlite::TaskState::failed}).count == 0) {
        client.add(gallery::Gallery{folder}).save();
    }
    const backlite::TaskId id = admin.tasks({.queue = "gallery"}).tasks.at(0).id;  // the unfinished one is first
    client.start();
    if (client.wait(id, 1h) == backlite::TaskStatus::succeeded) {
        fmt::print("{} pictures\n", client.result<gallery::Gallery>(id).value_or(0));
        return 0;
    }
    const auto gone = admin.task(id);
    fmt::print("{}\n", gone ? gone->error : "it is gone");
    return 1;
}
