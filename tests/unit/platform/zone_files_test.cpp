// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <sys/stat.h>

#include <backlite/platform/last_error.hpp>
#include <backlite/platform/zone_files.hpp>

#include <backlite_catch.hpp>
#include <chosen_zones.hpp>

namespace {

using backlite_test::ChosenZones;
namespace platform = backlite::platform;

TEST_CASE("zone files: TZDIR names the folder, and nothing is looked for elsewhere then") {
    const ChosenZones zones;
    zones.put("Test/Zone", "bytes");
    CHECK(platform::chosen_zone_folder() == zones.folder());
    CHECK(platform::zone_file("Test/Zone", 100) == "bytes");
    CHECK_FALSE(platform::zone_file("Europe/Berlin", 100));
    CHECK(platform::says_absent(platform::last_error()));
}

TEST_CASE("zone files: of a file that is too large only so much is read") {
    const ChosenZones zones;
    zones.put("Large", std::string(100'000, 'x'));
    CHECK(platform::zone_file("Large", 10'000) == std::string(10'000, 'x'));
    CHECK(platform::zone_file("Large", 200'000) == std::string(100'000, 'x'));
}

TEST_CASE("zone files: a link leads to its zone") {
    const ChosenZones zones;
    zones.put("Real", "bytes");
    std::filesystem::create_symlink("Real", zones.folder() + "/Link");
    CHECK(platform::zone_file("Link", 100) == "bytes");
}

TEST_CASE("zone files: a folder and a pipe are no zones, and do not block") {
    const ChosenZones zones;
    std::filesystem::create_directory(zones.folder() + "/Europe");
    REQUIRE(::mkfifo((zones.folder() + "/Pipe").c_str(), 0600) == 0);
    for (const char* const name : {"Europe", "Pipe", ""}) {
        CHECK_FALSE(platform::zone_file(name, 100));
        CHECK(platform::says_absent(platform::last_error()));
    }
}

}  // namespace
