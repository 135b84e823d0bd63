// SPDX-License-Identifier: MIT
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <backlite/config.hpp>
#include <backlite/core/queue_registry.hpp>
#include <backlite/error.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/claims.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>
#include <named_queue.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;
using backlite_test::NamedQueue;
using core::QueueRegistry;

void add(QueueRegistry& registry, std::string name, int max_crashes = 3) {
    registry.add(std::make_unique<NamedQueue>(std::move(name), max_crashes));
}

TEST_CASE("QueueRegistry: is empty at first") {
    const QueueRegistry registry;
    CHECK(registry.size() == 0);
    CHECK(registry.find("mail") == registry.size());
    CHECK(registry.heads().empty());
}

TEST_CASE("QueueRegistry: orders queues by the bytes of their names, whatever came first") {
    QueueRegistry registry;
    for (const char* name : {"mail", "\xc3\xa4", "Zebra", "a", "mail2"}) add(registry, name);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < registry.size(); ++i) names.push_back(registry[i].config().name);
    CHECK(names == std::vector<std::string>{"Zebra", "a", "mail", "mail2", "\xc3\xa4"});
}

TEST_CASE("QueueRegistry: finds a queue by its whole name") {
    QueueRegistry registry;
    for (const char* name : {"b", "a", "c"}) add(registry, name);
    CHECK(registry.find("a") == 0);
    CHECK(registry.find("b") == 1);
    CHECK(registry.find("c") == 2);
    for (const char* name : {"", "A", "aa", "0", "d"}) CHECK(registry.find(name) == registry.size());
}

TEST_CASE("QueueRegistry: a name that is taken is a ConfigError naming it, and the first queue stays") {
    QueueRegistry registry;
    add(registry, "mail", 5);
    CHECK(message_of<ConfigError>([&] { add(registry, "mail", 9); }) ==
          "queue \"mail\" is registered already: names are unique in a client");
    CHECK(registry.size() == 1);
    CHECK(registry[0].config().max_crashes == 5);
}

TEST_CASE("QueueRegistry: its heads stand in the order of its indexes, and nothing is known of their tasks") {
    QueueRegistry registry;
    add(registry, "b", 7);
    add(registry, "a", 2);
    const std::vector<store::QueueHead> heads = registry.heads();
    REQUIRE(heads.size() == 2);
    CHECK(heads[0].name == "a");
    CHECK(heads[0].max_crashes == 2);
    CHECK(heads[1].name == "b");
    CHECK(heads[1].max_crashes == 7);
    CHECK(heads[0].due == store::never);
}

}  // namespace
