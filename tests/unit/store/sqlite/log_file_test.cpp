// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include <backlite/store/sqlite/log_file.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

namespace {

using namespace backlite;
using backlite_test::TempFolder;
using backlite_test::TestDatabase;
using store::sqlite::log_bytes;
using store::sqlite::readers_of;

TEST_CASE("log_bytes: is the size of the log, and nothing where there is none") {
    const TempFolder folder;
    const std::string database = folder.file("app.db");
    CHECK_FALSE(log_bytes(database));
    std::ofstream(database + "-wal") << "12345";
    CHECK(log_bytes(database) == 5);
}

TEST_CASE("log_file: its names are those that SQLite gives the files of an open database") {
    const TestDatabase database;
    const std::string& file = database.connection.file();
    CHECK(std::filesystem::exists(store::sqlite::log_file(file)));
    CHECK(std::filesystem::exists(store::sqlite::shm_file(file)));
}

TEST_CASE("readers_of: names this process while a connection of it reads, and nobody before and after") {
    TestDatabase database;
    const std::string file = database.connection.file();
    CHECK(readers_of(file) == "unknown");
    database.execute("BEGIN; SELECT * FROM backlite_meta");
    CHECK(readers_of(file) == fmt::format("{} (this process)", ::getpid()));
    database.execute("COMMIT");
    CHECK(readers_of(file) == "unknown");
    CHECK(readers_of(file + "-none") == "unknown");
}

TEST_CASE("readers_of: misses nobody while other files are locked and unlocked, which tears the system's list") {
    TestDatabase database;
    const TempFolder folder;
    database.execute("BEGIN; SELECT * FROM backlite_meta");
    const std::jthread others([&folder](const std::stop_token& stop) {
        std::vector<int> files;
        for (int i = 0; i < 300; ++i) {
            files.push_back(::open(folder.file(std::to_string(i)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        }
        while (!stop.stop_requested()) {
            for (const int file : files) ::flock(file, LOCK_EX);
            for (const int file : files) ::flock(file, LOCK_UN);
        }
        for (const int file : files) ::close(file);
    });
    int missed = 0;
    for (int i = 0; i < 3000; ++i) {
        if (readers_of(database.connection.file()) == "unknown") ++missed;
    }
    CHECK(missed == 0);
}

}  // namespace
