// SPDX-License-Identifier: MIT
#include "beside.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/config.hpp>

#include "raw.hpp"
#include "stopwatch.hpp"

namespace bench {

namespace {

/// What lies beside has numbers that are not counted, and is due later.
constexpr const char* payload_beside =
    R"({"file":"/var/spool/scan-000000.pdf","number":-1,"target":"archive/2024/inbox"})";
constexpr std::string_view many_numbers =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ";

constexpr Beside kinds[] = {
    {"future",
     "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until) "
     "SELECT printf('beside-%029d', i), ?2, 'upload', CAST(?3 AS blob), ?2 + 86400000 + i FROM n"},
    {"ready",
     "INSERT INTO backlite_tasks (id, created_at, queue, task) "
     "SELECT printf('beside-%029d', i), ?2, 'upload', CAST(?3 AS blob) FROM n"},
    {"less urgent",
     "INSERT INTO backlite_tasks (id, created_at, queue, task, priority) "
     "SELECT printf('beside-%029d', i), ?2, 'upload', CAST(?3 AS blob), -1000 FROM n"},
    {"held",  // by a parent that is not done, and would be first otherwise
     "INSERT INTO backlite_tasks (id, created_at, queue, task, priority, hold) "
     "SELECT printf('beside-%029d', i), ?2 - 86400000, 'upload', CAST(?3 AS blob), 1000, 256 FROM n"},
    {"unregistered",
     "INSERT INTO backlite_tasks (id, created_at, queue, task) "
     "SELECT printf('beside-%029d', i), ?2 - 2 * 86400000, 'somebody_else', CAST(?3 AS blob) FROM n"},
    {"claimed",  // by somebody who gives no name, a while ahead so that they do not lapse
     "INSERT INTO backlite_tasks (id, created_at, queue, task, claimed_at) "
     "SELECT printf('beside-%029d', i), ?2 - 2 * 86400000, 'upload', CAST(?3 AS blob), ?2 + 86400000 FROM n"},
    {"completed",
     "INSERT INTO backlite_tasks_completed (id, created_at, queue, last_executed_at, attempts, last_duration_micro, "
     "succeeded, task, expires_at) "
     "SELECT printf('beside-%029d', i), ?2, 'somebody_else', ?2, 1, 100, 1, CAST(?3 AS blob), ?2 + 86400000 + i FROM "
     "n"},
};

}  // namespace

std::span<const Beside> all_kinds() noexcept { return kinds; }

void fill_beside(const std::string& file, const Beside& beside, std::size_t count) {
    RawDatabase database(file, backlite::Durability::process);
    const std::string sql = fmt::format("{}{}", many_numbers, beside.sql);
    RawStatement insert(database, sql.c_str());
    insert.bind(1, static_cast<std::int64_t>(count));
    insert.bind(2, now_ms());
    insert.bind(3, std::string_view{payload_beside});
    insert.run();
    database.checkpoint();
}

}  // namespace bench
