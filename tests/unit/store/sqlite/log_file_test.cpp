// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

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

}  // namespace
