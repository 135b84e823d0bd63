// SPDX-License-Identifier: MIT
// Tags and metadata: what a host notes of a task.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

#include "rig.hpp"

namespace labels_test {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::Context;
using backlite::EncodeError;
using backlite::Outcome;
using backlite::QueueConfig;
using backlite::TaskId;
using backlite::UsageError;
using Tags = std::vector<std::string>;
using Metadata = std::map<std::string, std::string>;

struct Import {
    std::string file{};
    static QueueConfig config() { return {.name = "imports", .max_attempts = 2}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Import, file)

/// A client whose tasks keep what they find noted.
struct Archive : Story {
    Archive() {
        config.max_payload = 2'000;
        client.emplace(config);
        client->register_queue<Import>([this](Context& context, const Import& import) {
            tags = context.tags();
            metadata = context.metadata();
            if (context.attempt() == 1 && import.file == "twice") {
                journal.note("first");
                return Outcome::retry("again");
            }
            journal.note(import.file);
            return Outcome::success();
        });
    }

    Tags tags{};
    Metadata metadata{};
    std::optional<Client> client{};
};

TEST_CASE_METHOD(Archive, "labels: a processor finds tags and metadata, in each attempt, and beside an expiry") {
    client->add(Import{"twice"})
        .tag("nightly")
        .tag("import")
        .tag("import")
        .metadata({{"traceparent", "00-1"}, {"user", "J\u00f6rg"}})
        .expires_after(1h)
        .save();
    client->start();
    REQUIRE(journal.await("twice"));
    CHECK(client->stop(1min));
    CHECK(tags == Tags{"import", "nightly"});
    CHECK(metadata == Metadata{{"traceparent", "00-1"}, {"user", "J\u00f6rg"}});
    Look look(file);
    CHECK(look.number("SELECT (SELECT count(*) FROM backlite_tags) + (SELECT count(*) FROM backlite_details)") == 0);
}

TEST_CASE_METHOD(Archive, "labels: a task without any has none, and an idle worker takes one that has some") {
    client->start();
    client->add(Import{"plain"}).save();
    REQUIRE(journal.await("plain"));
    CHECK(client->wait_idle(1min));
    CHECK(tags.empty());
    CHECK(metadata.empty());
    client->add(Import{"noted"}).metadata({{"a", "b"}}).save();
    REQUIRE(journal.await("noted"));
    CHECK(client->wait_idle(1min));
    CHECK(metadata == Metadata{{"a", "b"}});
}

TEST_CASE_METHOD(Archive, "labels: they are those of all tasks of a call, also in the host's transaction") {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    database.exec("BEGIN");
    client->add(Import{"a"}, Import{"b"}).tag("x").metadata({{"k", "v"}}).tx(database).save();
    database.exec("ROLLBACK");
    Look look(file);
    CHECK(look.number("SELECT count(*) FROM backlite_tags") == 0);
    database.exec("BEGIN");
    client->add(Import{"a"}, Import{"b"}).tag("x").metadata({{"k", "v"}}).tx(database).save();
    database.exec("COMMIT");
    CHECK(look.number("SELECT count(*) FROM backlite_tags AS t JOIN backlite_details AS d ON d.task = t.task "
                      "JOIN backlite_tasks ON id = t.task WHERE tag = 'x' AND metadata = '{\"k\":\"v\"}' "
                      "AND flags & 4") == 2);
}

TEST_CASE_METHOD(Archive, "labels: what cannot be noted is refused with the queue, and nothing is added") {
    const auto tag = [&](const std::string& text) {
        return message_of<UsageError>([&] { client->add(Import{}).tag("good").tag(text).save(); });
    };
    CHECK(tag("") == "queue \"imports\": AddOp::tag: a tag is empty");
    CHECK(tag(std::string(1'025, 'x')) == "queue \"imports\": AddOp::tag: a tag has 1025 bytes, more than 1024");
    CHECK(tag(std::string("a\0b", 3)) == "queue \"imports\": AddOp::tag: a tag holds a NUL character");
    CHECK(tag("\xff") == "queue \"imports\": AddOp::tag: a tag is not UTF-8");
    const auto note = [&](const std::string& name, const std::string& value) {
        return message_of<EncodeError>([&] { client->add(Import{}).metadata({{name, value}}).save(); });
    };
    CHECK(note("k", std::string(2'000, 'x')) ==
          "queue \"imports\": the metadata has 2008 bytes of JSON, more than ClientConfig::max_payload (2000)");
    CHECK(note("k", "\xff").starts_with("queue \"imports\": the metadata cannot be written as JSON: "));
    CHECK(note("\xc3", "v").starts_with("queue \"imports\": the metadata cannot be written as JSON: "));
    CHECK(Look(file).tasks() == 0);
    CHECK(Look(file).number("SELECT count(*) FROM backlite_tags") == 0);
    client->add(Import{}).tag(std::string(1'024, 'x')).metadata({{"k", std::string(1'900, 'x')}}).save();
}

TEST_CASE_METHOD(Archive, "labels: whatever another program has put there, the processor runs") {
    const TaskId id = client->add(Import{"a"}).tag("own").metadata({{"k", "v"}}).save().front();
    const auto [stored, expected] = GENERATE(table<std::string, Metadata>({
        {"no JSON", {}},
        {"[1, 2]", {}},
        {std::string(3'000, '['), {}},
        {R"({"n": 1, "t": "x", "o": {"a": null}})", {{"n", "1"}, {"t", "x"}, {"o", R"({"a":null})"}}},
    }));
    Look look(file);
    look.run("UPDATE backlite_details SET metadata = '" + stored + "'");
    look.run("INSERT INTO backlite_tags (task, tag) VALUES ('" + id.str() + "', '')");
    client->start();
    REQUIRE(journal.await("a"));
    CHECK(client->stop(1min));
    CHECK(metadata == expected);
    CHECK(tags == Tags{"", "own"});
}

}  // namespace labels_test
