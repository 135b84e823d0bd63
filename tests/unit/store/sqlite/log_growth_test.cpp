// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <backlite/base/safe_logger.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/sqlite/log_growth.hpp>

#include <backlite_catch.hpp>
#include <recording_logger.hpp>
#include <temp_folder.hpp>

namespace {

using namespace backlite;
using namespace std::chrono_literals;
using backlite_test::RecordingLogger;
using backlite_test::TempFolder;
using store::sqlite::LogGrowth;

constexpr const char* grows = "the log of the database grows: a reader does not end";
constexpr const char* small_again = "the log of the database is small again";

struct Log1000 {
    /// Gives the log that many bytes, and looks a second after the last look.
    void becomes(std::uintmax_t bytes) {
        std::filesystem::resize_file(file, bytes);
        growth.look(tell, now += 1s);
    }
    [[nodiscard]] auto warnings() const { return logger->count(grows); }
    [[nodiscard]] auto ends() const { return logger->count(small_again); }

    TempFolder folder{};
    const std::string file = folder.file("x.db-wal");
    std::shared_ptr<RecordingLogger> logger = (std::ofstream(file), std::make_shared<RecordingLogger>());
    detail::SafeLogger tell{logger};
    LogGrowth growth{folder.file("x.db"), 1000};
    std::chrono::steady_clock::time_point now{};
};

TEST_CASE("LogGrowth: is told at four times the size that is kept, then each time it doubled, then once small again") {
    Log1000 log;
    log.becomes(3999);
    CHECK(log.warnings() == 0);
    log.becomes(4000);
    CHECK(log.warnings() == 1);
    log.becomes(7999);
    CHECK(log.warnings() == 1);
    log.becomes(8000);
    CHECK(log.warnings() == 2);
    CHECK(log.ends() == 0);
    log.becomes(1000);
    log.becomes(0);
    CHECK(log.ends() == 1);
    log.becomes(4000);
    CHECK(log.warnings() == 3);
}

TEST_CASE("LogGrowth: looks once a second at most, and a log that is not there is small") {
    Log1000 log;
    log.becomes(10);
    std::filesystem::resize_file(log.file, 5000);
    log.growth.look(log.tell, log.now + 999ms);
    CHECK(log.warnings() == 0);
    log.growth.look(log.tell, log.now + 1s);
    CHECK(log.warnings() == 1);
    std::filesystem::remove(log.file);
    log.growth.look(log.tell, log.now + 2s);
    CHECK(log.ends() == 1);
}

}  // namespace
