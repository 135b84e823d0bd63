// SPDX-License-Identifier: MIT
// Three orders, and three days that pass at once: one is sent, one is cancelled in time, one is packed by nobody.

#include <cstdio>
#include <stdexcept>
#include <string>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include "order.hpp"

namespace {

using namespace std::chrono_literals;

/// Prints what it is asked for. The first payment finds the bank asleep.
struct Printed final : shop::World {
    std::string pay(int cents, const std::string& key) override {
        if (++asked == 1) throw std::runtime_error("the bank does not answer");
        fmt::print("paid {} cents under {}\n", cents, key.substr(key.find('/') + 1));
        return fmt::format("payment-{}", asked);
    }
    void refund(const std::string& payment) override { fmt::print("refunded {}\n", payment); }
    std::string send(const shop::Order& order) override {
        fmt::print("sent {}\n", order.id);
        return "parcel-" + order.id;
    }
    int asked = 0;
};

}  // namespace

int main() {
    Printed world;
    // A client whose clock is moved by hand; a program has a backlite::Client, and `start`s it.
    backlite::testing::TestClient client;
    SQLite::Database db(client.client().config().database, SQLite::OPEN_READWRITE, 5'000);
    shop::make_tables(db);
    client.register_flow<shop::Order>(
        [&](backlite::Flow& flow, const shop::Order& order) { return shop::process(flow, order, world, db); });
    const auto ids =
        client.add(shop::Order{"A1", "lamp", 4'900}, shop::Order{"A2", "lamp", 4'900}, shop::Order{"A3", "lamp", 4'900})
            .save();
    const auto booked = [&] { return db.execAndGet("SELECT count(*) FROM booked").getInt(); };
    client.drain_until(client.clock().now() + 1h);
    fmt::print("booked: {}\n", booked());

    client.client().cancel(ids[1]);
    client.client().signal(ids[0], "packed", true);  // early: it is kept until the flow asks for it
    client.drain_until(client.clock().now() + 24h);
    fmt::print("{}: follow it as {}\n", "A1", client.client().result<shop::Order>(ids[0]).value_or("nothing"));

    client.drain_until(client.clock().now() + 72h);
    for (const auto& id : ids) fmt::print("{}\n", to_string(client.client().status(id)));
    fmt::print("booked: {}\n", booked());
    return booked() == 1 ? 0 : 1;
}
