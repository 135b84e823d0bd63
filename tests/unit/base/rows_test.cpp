// SPDX-License-Identifier: MIT
#include <backlite/base/rows.hpp>
#include <backlite/status.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;

TEST_CASE("TaskStatus: each has a name") {
    CHECK(to_string(TaskStatus::pending) == "pending");
    CHECK(to_string(TaskStatus::running) == "running");
    CHECK(to_string(TaskStatus::succeeded) == "succeeded");
    CHECK(to_string(TaskStatus::failed) == "failed");
    CHECK(to_string(TaskStatus::not_found) == "not_found");
}

TEST_CASE("AttemptResult: one that nobody filled in gives the claim back and spends nothing") {
    const detail::AttemptResult resolved;
    CHECK(resolved.resolution == detail::RowChange::release);
    CHECK_FALSE(resolved.spends_attempt);
    CHECK_FALSE(resolved.keep_row);
}

}  // namespace
