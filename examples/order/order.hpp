// SPDX-License-Identifier: MIT
#pragma once
// An order: paid, booked, packed by somebody who says so, and sent; undone if anything of it fails.

#include <chrono>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

namespace shop {

using namespace std::chrono_literals;

struct Order {
    std::string id{};
    std::string item{};
    int cents = 0;
    using Result = std::string;  // where the parcel can be followed
    static backlite::QueueConfig config() {
        return {
            .name = "order", .max_attempts = 3, .backoff = 1min, .retention = backlite::Retention{.duration = 720h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, id, item, cents)

/// What the world outside does; each may throw.
struct World {
    virtual ~World() = default;
    virtual std::string pay(int cents, const std::string& key) = 0;  // once for each key, however often it is asked
    virtual void refund(const std::string& payment) = 0;
    virtual std::string send(const Order& order) = 0;
};

inline void make_tables(SQLite::Database& db) {
    db.exec("CREATE TABLE IF NOT EXISTS booked (order_id TEXT PRIMARY KEY, item TEXT NOT NULL)");
}

/// The flow: read it as if it ran at a stretch.
inline std::string process(backlite::Flow& flow, const Order& order, World& world, SQLite::Database& db) {
    const std::string payment =
        flow.step("pay", {.max_attempts = 5, .backoff = 10s}, [&] { return world.pay(order.cents, flow.key()); });
    flow.undo("refund", [&world, payment] { world.refund(payment); });

    flow.tx("book", db, [&](SQLite::Database& inside) {
        SQLite::Statement insert(inside, "INSERT INTO booked (order_id, item) VALUES (?, ?)");
        insert.bind(1, order.id);
        insert.bind(2, order.item);
        insert.exec();
    });
    flow.undo("unbook", [&] {  // safe to repeat, as an undo must be
        SQLite::Statement remove(db, "DELETE FROM booked WHERE order_id = ?");
        remove.bind(1, order.id);
        remove.exec();
    });

    flow.sleep("time to change one's mind", 24h);  // a cancel comes in between, or never

    const auto packed = flow.wait<bool>("packed", 48h);
    if (!packed) {
        flow.step("complain", {.max_attempts = 1}, [] { throw std::runtime_error("nobody packed it in two days"); });
    }
    return flow.step("send", [&] { return world.send(order); });
}

}  // namespace shop
