// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <backlite/engine/log_relay.hpp>
#include <backlite/logger.hpp>
#include <backlite/platform/thread.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <uncapped.hpp>

namespace {

using namespace backlite;
using backlite_test::Events;
using backlite_test::Gate;
using engine::LogRelay;

const auto own = std::make_shared<platform::ThreadList>();

/// A relay to a logger that waits at a gate after it has noted an event.
struct Shop {
    Shop() {
        logger = make_logger([this](LogLevel level, std::string_view message, std::span<const LogField> fields) {
            seen.add(fmt::format("{} {}", to_string(level), format_event(message, fields)));
            if (!own->has_this_thread()) seen.add("on another thread");
            gate.pass();
            if (throws) throw std::runtime_error("no");
        });
        relay.emplace(own, logger);
    }
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;
    ~Shop() { gate.open(); }

    void tell(std::string_view message) {
        const std::array<LogField, 1> fields{{{"queue", "mail"}}};
        relay->log(LogLevel::info, message, fields);
    }

    const backlite_test::Uncapped uncapped{};
    Gate gate{};
    Events<std::string> seen{};
    bool throws = false;
    std::shared_ptr<Logger> logger{};
    std::optional<LogRelay> relay{};
};

TEST_CASE("LogRelay: passes events on in their order, and does not wait for the logger") {
    Shop shop;
    shop.tell("first");
    shop.tell("second");
    REQUIRE(shop.seen.wait_for(1));
    CHECK(shop.seen.count() == 1);
    shop.gate.open();
    REQUIRE(shop.seen.wait_for(2));
    CHECK(shop.seen.all() == std::vector<std::string>{"info first queue=mail", "info second queue=mail"});
    shop.tell("third");
    CHECK(shop.seen.wait_for(3));
}

TEST_CASE("LogRelay: its end waits until the last event was passed on") {
    Shop shop;
    for (int i = 0; i < 100; ++i) shop.tell("event");
    shop.gate.open();
    shop.relay.reset();
    CHECK(shop.seen.count() == 100);
}

TEST_CASE("LogRelay: what comes while too many events wait is dropped, and counted") {
    Shop shop;
    shop.tell("first");
    REQUIRE(shop.seen.wait_for(1));
    for (std::size_t i = 0; i < LogRelay::most + 7; ++i) shop.tell("more");
    shop.gate.open();
    shop.relay.reset();
    const std::vector<std::string> all = shop.seen.all();
    REQUIRE(all.size() == LogRelay::most + 2);
    CHECK(all.back() == "warning events dropped: the logger is too slow, or memory is short events=7");
}

TEST_CASE("LogRelay: a logger that throws gets the next event all the same") {
    Shop shop;
    shop.throws = true;
    shop.gate.open();
    shop.tell("first");
    shop.tell("second");
    CHECK(shop.seen.wait_for(2));
}

}  // namespace
