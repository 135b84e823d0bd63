// SPDX-License-Identifier: MIT
// Values that a task keeps between its attempts, over failures, deaths and restarts.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/test_client.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <uncapped.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::Outcome;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite_test::message_of;

// Five attempts at once, and a failed one is kept with its payload.
struct Import {
    std::string file{};
    static backlite::QueueConfig config() {
        return {.name = "import",
                .max_attempts = 5,
                .retention = backlite::Retention{.duration = 24h, .data = backlite::RetainData{}},
                .max_crashes = 2};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Import, file)

struct Place {
    int page = 0;
    std::string word{};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Place, page, word)

TEST_CASE("save: the next attempt finds what the last one has saved, in its own client or another") {
    Story story;
    Client client{story.config};
    Client other{story.config};
    const auto process = [&](Context& context, const Import&) {
        const auto place = context.load<Place>("place");
        const auto texts = context.load<std::vector<std::string>>("texts");
        story.journal.note(place ? fmt::format("page {} {} {}", place->page, place->word, texts->size()) : "begins");
        if (place && place->page == 3) {
            if (context.load<int>("none")) story.journal.note("finds what was not saved");
            return;
        }
        const int page = place ? place->page + 1 : 1;
        context.save("place", Place{page, "w"});
        context.save("texts", std::vector<std::string>(static_cast<std::size_t>(page), "t"));
        if (context.load<Place>("place")->page != page) story.journal.note("does not find what it saved");
        throw std::runtime_error("again");
    };
    client.register_queue<Import>(process);
    other.register_queue<Import>(process);
    const TaskId id = client.add(Import{"a"}).save().front();
    client.start();
    REQUIRE(story.journal.await("page 1 w 1"));
    REQUIRE(story.journal.await("page 3 w 3"));
    REQUIRE(eventually([&] { return client.status(id) == TaskStatus::succeeded; }));
    CHECK(story.journal.entries() == std::vector<std::string>{"begins", "page 1 w 1", "page 2 w 2", "page 3 w 3"});
    CHECK(Look(story.file).number("SELECT count(*) FROM backlite_saved") == 0);

    story.journal.note("second");
    client.stop(1s);
    other.start();
    other.add(Import{"b"}).save();
    REQUIRE(story.journal.await("page 3 w 3", 2));
}

TEST_CASE("save: a task that makes progress is not ended by the deaths of its processes") {
    TempFolder folder;
    const std::string file = folder.file("q.db");
    {
        Client client{quick(file)};
        client.add(Import{"long"}).save();
    }
    // Each process comes one page further and dies: five deaths, where two would end a task without progress.
    for (int page = 1; page <= 5; ++page) {
        Process worker([&](const Process::Inside& parent) {
            Client client{quick(file, 1)};
            client.register_queue<Import>([&](Context& context, const Import&) {
                const int last = context.load<int>("page").value_or(0);
                context.save("page", last + 1);
                parent.say(fmt::format("page {}", last + 1));
                for (;;) ::pause();
            });
            client.start();
            for (;;) ::pause();
        });
        REQUIRE(worker.await(fmt::format("page {}", page)));
        worker.kill();
    }
    Client client{quick(file, 1)};
    Journal journal;
    client.register_queue<Import>([&](Context& context, const Import&) {
        journal.note(fmt::format("page {}, attempt {}", context.load<int>("page").value_or(0), context.attempt()));
    });
    client.start();
    REQUIRE(journal.await("page 5, attempt 1"));
}

TEST_CASE("save: a claim that was taken back saves nothing, and says so") {
    Story story;
    Client client{story.config};
    Gate taken;
    client.register_queue<Import>([&](Context& context, const Import&) {
        if (!context.load<int>("page")) {
            context.save("page", 1);
            story.journal.note("saved");
            taken.pass();
            try {
                context.save("page", 2);
                story.journal.note("saved again");
            } catch (const backlite::ClaimLost& lost) {
                story.journal.note(lost.task_id() == context.task_id().str() ? "lost" : "lost what");
                throw;
            }
        }
        story.journal.note(fmt::format("finds {}", *context.load<int>("page")));
    });
    client.start();
    client.add(Import{"a"}).save();
    REQUIRE(story.journal.await("saved"));
    Look(story.file).run("UPDATE backlite_tasks SET claimed_at = NULL, owner = NULL");
    taken.open();
    REQUIRE(story.journal.await("lost"));
    REQUIRE(story.journal.await("finds 1"));
    CHECK(story.journal.count("saved again") == 0);
}

TEST_CASE("save: a name or a value that cannot be is refused before anything is written") {
    Story story;
    story.config.max_payload = 100;
    std::vector<std::string> said;
    Gate done;
    Client client{story.config};
    client.register_queue<Import>([&](Context& context, const Import&) {
        const auto name = [&](const std::string& text) {
            said.push_back(message_of<backlite::ConfigError>([&] { context.save(text, 1); }));
            said.push_back(message_of<backlite::ConfigError>([&] { (void)context.load<int>(text); }));
        };
        name("");
        name(std::string(201, 'n'));
        name("a\nb");
        name(std::string("a\0b", 3));
        name("\xff");
        name("backlite:step");
        said.push_back(message_of<backlite::EncodeError>([&] { context.save("large", std::string(99, 'x')); }));
        said.push_back(message_of<backlite::EncodeError>([&] { context.save("bytes", std::string("\xff\xfe")); }));
        said.push_back(
            message_of<backlite::EncodeError>([&] { context.save("nan", std::numeric_limits<double>::quiet_NaN()); }));
        context.save(std::string(200, 'n'), std::string(98, 'x'));
        said.push_back(message_of<backlite::Error>([&] { (void)context.load<int>(std::string(200, 'n')); }));
        done.open();
    });
    client.start();
    client.add(Import{"a"}).save();
    REQUIRE(done.pass());
    client.stop(1s);
    REQUIRE(said.size() == 16);
    const auto has = [&](std::size_t i, const std::string& text) {
        CAPTURE(i, text, said[i]);
        CHECK(said[i].find("queue \"import\"") == 0);
        CHECK(said[i].find(text) != std::string::npos);
    };
    has(0, "Context::save: the name \"\" is empty");
    has(1, "Context::load: the name \"\" is empty");
    has(2, "has 201 bytes, more than 200");
    has(4, "holds a control character");
    has(6, "the name \"a?b\" holds a control character");
    has(8, "is not UTF-8");
    has(10, "begins with \"backlite:\"");
    has(12, "the value \"large\" cannot be saved: it has 101 bytes, more than ClientConfig::max_payload allows (100)");
    has(13, "the value \"bytes\" cannot be saved: ");
    has(14, "the value \"nan\" cannot be saved: a number in it is NaN or infinite");
    has(15, "cannot be read: ");
}

TEST_CASE("save: what others wrote under a name is an error that names it, and the attempt fails") {
    Story story;
    story.config.max_payload = 100;
    Client client{story.config};
    Gate written;
    client.register_queue<Import>([&](Context& context, const Import&) {
        if (context.attempt() == 1) {
            context.save("page", 1);
            story.journal.note("saved");
            written.pass();
        }
        for (const char* name : {"page", "large"}) {
            try {
                (void)context.load<int>(name);
                story.journal.note("read");
            } catch (const backlite::Error& error) {
                story.journal.note(error.what());
            }
        }
        story.journal.note(context.load<int>("null") ? "null is something" : "null is nothing");
    });
    client.start();
    client.add(Import{"a"}).save();
    REQUIRE(story.journal.await("saved"));
    Look look(story.file);
    look.run("UPDATE backlite_saved SET value = CAST('[1' AS blob)");
    look.run("INSERT INTO backlite_saved SELECT task, 'large', 1, zeroblob(101) FROM backlite_saved");
    look.run("INSERT INTO backlite_saved SELECT task, 'null', 1, NULL FROM backlite_saved WHERE name = 'page'");
    written.open();
    REQUIRE(story.journal.await("null is nothing"));
    const std::vector<std::string> all = story.journal.entries();
    CHECK(all[1].find("queue \"import\": the saved value \"page\" cannot be read: ") == 0);
    CHECK(all[2].find("the saved value \"large\" cannot be read: it has 101 bytes") != std::string::npos);
}

TEST_CASE("save: inside a Transaction of its own thread it is refused instead of waiting for itself") {
    Story story;
    Client client{story.config};
    client.register_queue<Import>([&](Context& context, const Import&) {
        SQLite::Database database(story.file, SQLite::OPEN_READWRITE);
        {
            backlite::Transaction transaction(context.client(), database);
            story.journal.note(message_of<backlite::UsageError>([&] { context.save("page", 1); }));
        }
        context.save("page", 2);
        story.journal.note("saved");
    });
    client.start();
    client.add(Import{"a"}).save();
    REQUIRE(story.journal.await("saved"));
    CHECK(story.journal.entries().front().find("Context::save while this thread has a backlite::Transaction open") ==
          0);
}

TEST_CASE("save: an attempt that is asked to stop still saves where it is") {
    Story story;
    std::optional<Client> client{story.config};
    const auto process = [&](Context& context, const Import&) {
        if (const auto page = context.load<int>("page")) {
            story.journal.note(fmt::format("goes on at {}", *page));
            return Outcome::success();
        }
        story.journal.note("started");
        while (!context.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
        context.save("page", 7);
        return Outcome::retry("stopped");
    };
    client->register_queue<Import>(process);
    client->start();
    client->add(Import{"a"}).save();
    REQUIRE(story.journal.await("started"));
    client.reset();
    client.emplace(story.config);
    client->register_queue<Import>(process);
    client->start();
    REQUIRE(story.journal.await("goes on at 7"));
}

TEST_CASE("save: tests of processors save without a client, and in a TestClient") {
    const auto process = [](Context& context, const Import&) {
        const int page = context.load<int>("page").value_or(0);
        context.save("page", page + 1);
        context.save("page", page + 2);
        if (context.load<int>("page") != page + 2 || page < 4) throw std::runtime_error(std::to_string(page));
    };
    backlite::testing::TestClient client;
    client.register_queue<Import>(process);
    client.add(Import{"a"}).save();
    const backlite::testing::Drained drained = client.drain();
    REQUIRE(drained.size() == 3);
    CHECK(drained.attempts[1].error == "2");
    CHECK(client.perform(Import{"a"}).error == "0");
    CHECK(client.perform(Import{"a"}).error == "0");

    const std::weak_ptr<backlite::engine::Engine> none;
    const TaskId id = TaskId::from_text("a");
    const std::string queue = "import";
    const backlite::detail::StopSignal stop;
    const Context context({none, id, queue, 1, 1, stop, {}});
    CHECK_FALSE(context.load<int>("page"));
    context.save("page", 1);
    context.save("page", 2);
    context.save("text", "words");
    CHECK(context.load<int>("page") == 2);
    CHECK(context.load<std::string>("text") == "words");
}

}  // namespace
