// SPDX-License-Identifier: MIT
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <sqlite3.h>

#include <backlite/error.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;

TEST_CASE("Error: every one of the library's is caught as Error, and as std::runtime_error") {
    STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, Error>);
    STATIC_REQUIRE(std::is_base_of_v<Error, ConfigError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, UsageError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, EncodeError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, StorageError>);
    STATIC_REQUIRE(std::is_base_of_v<Error, Cancelled>);
    STATIC_REQUIRE(std::is_base_of_v<Error, ForkError>);
}

TEST_CASE("UsageError: handlers of ConfigError catch it too") {
    STATIC_REQUIRE(std::is_base_of_v<ConfigError, UsageError>);
}

TEST_CASE("StorageError: what can be told apart is caught as StorageError too") {
    STATIC_REQUIRE(std::is_base_of_v<StorageError, BusyError>);
    STATIC_REQUIRE(std::is_base_of_v<StorageError, FullError>);
    STATIC_REQUIRE(std::is_base_of_v<StorageError, CorruptError>);
}

TEST_CASE("Error: a copy throws nothing, so that it can be thrown") {
    STATIC_REQUIRE(std::is_copy_constructible_v<StorageError>);
    STATIC_REQUIRE(std::is_copy_constructible_v<EncodeError>);
}

TEST_CASE("Error: says that nothing was added unless it was told otherwise") {
    CHECK(Error("x").added() == Added::no);
    CHECK(BusyError("x", SQLITE_BUSY).added() == Added::no);
    CHECK(StorageError("x", SQLITE_IOERR, Added::unknown).added() == Added::unknown);
}

TEST_CASE("Error: keeps its text") { CHECK(std::string{ConfigError("the value is 3").what()} == "the value is 3"); }

TEST_CASE("Error: is about no queue and no task until somebody says so") {
    const Error error("x");
    CHECK(error.queue().empty());
    CHECK(error.task_id().empty());
}

TEST_CASE("Error: what it is about survives the throw") {
    std::string queue;
    std::string task;
    try {
        FullError error("disk full", SQLITE_FULL);
        error.set_subject("mail", "some-id");
        throw error;
    } catch (const Error& error) {
        queue = error.queue();
        task = error.task_id();
    }
    CHECK(queue == "mail");
    CHECK(task == "some-id");
}

TEST_CASE("EncodeError: is about a queue") { CHECK(EncodeError("x", "mail").queue() == "mail"); }

TEST_CASE("StorageError: keeps SQLite's extended code and knows the primary one") {
    const StorageError error("x", SQLITE_IOERR_FSYNC);
    CHECK(error.extended_code() == SQLITE_IOERR_FSYNC);
    CHECK(error.code() == SQLITE_IOERR);
}

}  // namespace
