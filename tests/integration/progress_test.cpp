// SPDX-License-Identifier: MIT
// What tasks say of how far they are, as others see it.

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::Progress;
using backlite::TaskId;
using backlite_test::message_of;

struct Render {
    std::string name{};
    static backlite::QueueConfig config() {
        return {.name = "render", .max_attempts = 2, .retention = backlite::Retention{.duration = 24h}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Render, name)

std::string text(const std::optional<Progress>& progress) {
    return progress ? fmt::format("{} {}", progress->fraction.value_or(-1), progress->message) : "nothing";
}

TEST_CASE("progress: what a task says is seen by every client on the file, and its last word comes without another") {
    const Uncapped uncapped;
    Story story;
    Gate seen;
    Gate counted;
    Gate over;
    Client client{story.config};
    const Client other{quick(story.file)};
    const OpensAtEnd opens(over);
    const OpensAtEnd opens_too(counted);
    const OpensAtEnd opens_first(seen);
    client.register_queue<Render>([&](Context& context, const Render&) {
        context.progress(0.25, "resizing");
        seen.pass();
        for (int i = 0; i <= 1'000; ++i) context.progress(i / 2'000.0, "writing");
        counted.pass();
        context.progress(0.75, "sending");  // by now the dispatcher has nothing else to wake up for
        over.pass();
    });
    client.start();
    const TaskId id = client.add(Render{"a"}).save().front();
    const auto before = std::chrono::system_clock::now() - 1s;
    REQUIRE(eventually([&] { return text(other.progress(id)) == "0.25 resizing"; }));
    CHECK(other.progress(id)->time > before);
    CHECK(text(other.progress(TaskId::from_text("none"))) == "nothing");
    seen.open();
    REQUIRE(eventually([&] { return text(client.progress(id)) == "0.5 writing"; }));
    counted.open();
    REQUIRE(eventually([&] { return text(client.progress(id)) == "0.75 sending"; }));
    over.open();
    REQUIRE(eventually([&] { return client.status(id) == backlite::TaskStatus::succeeded; }));
    CHECK(text(client.progress(id)) == "0.75 sending");  // as long as its row is kept
    CHECK(Look(story.file).tasks() == 0);
}

TEST_CASE("progress: of a claim that was taken back nothing is written, and the next attempt says its own") {
    Story story;
    Client client{story.config};
    Gate over;
    const OpensAtEnd opens(over);
    client.register_queue<Render>([&](Context& context, const Render&) {
        context.progress(0.5, "\xc3\xa4");
        over.pass();
        throw std::runtime_error("no");
    });
    client.start();
    const TaskId id = client.add(Render{"a"}).save().front();
    REQUIRE(eventually([&] { return text(client.progress(id)) == "0.5 \xc3\xa4"; }));
    Look look(story.file);
    CHECK(look.number("SELECT claim FROM backlite_progress") == 1);
    look.run("UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL, claim = claim + 1");
    REQUIRE(eventually([&] { return look.number("SELECT claim FROM backlite_progress") == 3; }));
    over.open();
    REQUIRE(eventually([&] { return client.status(id) == backlite::TaskStatus::failed; }));
}

TEST_CASE("progress: a fraction that is none or a message that is not UTF-8 is refused, and a long one is cut") {
    Story story;
    std::vector<std::string> said;
    Gate over;
    Client client{story.config};
    const OpensAtEnd opens(over);
    client.register_queue<Render>([&](Context& context, const Render&) {
        for (const double bad :
             {-0.01, 1.01, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
            said.push_back(message_of<backlite::UsageError>([&] { context.progress(bad); }));
        }
        said.push_back(message_of<backlite::UsageError>([&] { context.progress(0, "\xff"); }));
        context.progress(1.0000001, std::string(499, 'x') + "\xe2\x82\xac");
        story.journal.note("said");
        over.pass();
    });
    client.start();
    const TaskId id = client.add(Render{"a"}).save().front();
    REQUIRE(story.journal.await("said"));
    CHECK(said == std::vector<std::string>{"queue \"render\": Context::progress: -0.010000 is not from 0 to 1",
                                           "queue \"render\": Context::progress: 1.010000 is not from 0 to 1",
                                           "queue \"render\": Context::progress: nan is not from 0 to 1",
                                           "queue \"render\": Context::progress: inf is not from 0 to 1",
                                           "queue \"render\": Context::progress: the message is not UTF-8"});
    REQUIRE(eventually([&] { return client.progress(id).has_value(); }));
    CHECK(text(client.progress(id)) == "1 " + std::string(499, 'x'));
}

TEST_CASE("progress: what others wrote is read as far as it makes sense") {
    Story story;
    Client client{story.config};
    const TaskId id = client.add(Render{"a"}).save().front();
    Look look(story.file);
    look.run(
        "INSERT INTO backlite_progress SELECT id, 1, 9223372036854775807, 17, zeroblob(20000) || 'x' FROM "
        "backlite_tasks");
    CHECK(client.progress(id)->fraction == 1);
    look.run("UPDATE backlite_progress SET fraction = NULL, message = NULL");
    CHECK_FALSE(client.progress(id)->fraction);
    CHECK(client.progress(id)->message.empty());
}

TEST_CASE("progress: a row that cannot be written is told of, and holds up nobody") {
    Story story;
    Client client{story.config};
    client.register_queue<Render>([&](Context& context, const Render&) {
        context.progress(0.5);
        while (story.log->count({"progress cannot be written"}) == 0 && !context.stop_token().stop_requested()) {
            std::this_thread::sleep_for(1ms);
        }
    });
    Look(story.file).run("CREATE TRIGGER no BEFORE INSERT ON backlite_progress BEGIN SELECT RAISE(ABORT, 'no'); END");
    client.start();
    const TaskId id = client.add(Render{"a"}).save().front();
    REQUIRE(story.log->await({"warning what tasks say of their progress cannot be written", "no"}));
    REQUIRE(eventually([&] { return client.status(id) == backlite::TaskStatus::succeeded; }));
}

}  // namespace
