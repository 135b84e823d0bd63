// SPDX-License-Identifier: MIT
#include <set>
#include <string>
#include <string_view>

#include <backlite/event.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;

TEST_CASE("EventKind: at most twenty kinds, each with a name of its own") {
    std::set<std::string_view> names;
    int kinds = 0;
    for (; static_cast<EventKind>(kinds) != EventKind::dropped; ++kinds) {
        names.insert(to_string(static_cast<EventKind>(kinds)));
    }
    names.insert(to_string(EventKind::dropped));
    CHECK(names.size() == static_cast<std::size_t>(kinds) + 1);
    CHECK(names.size() <= 20);
    CHECK(names.count("") == 0);
}

TEST_CASE("EventKind: a kind has the name that the log has for it") {
    CHECK(to_string(EventKind::succeeded) == "task processed");
    CHECK(to_string(EventKind::failed) == "task failed");
    CHECK(to_string(EventKind::snoozed) == "task snoozed");
    CHECK(to_string(EventKind::released) == "task given back");
    CHECK(to_string(EventKind::claim_lost) == "claim lost");
    CHECK(to_string(EventKind::purged) == "purged expired tasks");
    CHECK(to_string(EventKind::dropped) == "events dropped");
}

TEST_CASE("Event: says nothing before it is filled") {
    const Event event;
    CHECK(event.queue.empty());
    CHECK(event.task_id == TaskId());
    CHECK(event.error.empty());
    CHECK(event.attempt == 0);
    CHECK(event.count == 0);
}

}  // namespace
