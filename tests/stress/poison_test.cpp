// SPDX-License-Identifier: MIT
// Tasks that kill their process under a supervisor that starts it again; and rows that no sane program would write.
//     BACKLITE_ROUNDS=100 build/gcc/tests/backlite_stress "poison: *"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <shared_memory.hpp>
#include <temp_folder.hpp>

#include "../integration/rig.hpp"

namespace {

using namespace std::chrono_literals;
using backlite_test::eventually;
using backlite_test::Harness;
using backlite_test::Look;
using backlite_test::Process;

// ---- a task that kills its process ----------------------------------------------------------------------------------

constexpr std::size_t quick_tasks = 40;
constexpr std::size_t most_tasks = quick_tasks + 4;
constexpr int max_crashes = 3;

enum class Kind { quick, long_one, poison };

struct Dose {
    std::size_t number = 0;
    int kind = 0;
    static backlite::QueueConfig config() {
        return {.name = "dose",
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = max_crashes};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Dose, number, kind)

// How it dies.
constexpr std::array<std::string_view, 4> deaths{"abort", "SIGKILL", "trap", "exit"};
void die(std::size_t how) {
    switch (how) {
        case 0: std::abort();
        case 1: ::raise(SIGKILL); break;
        case 2: __builtin_trap();  // a raised signal would be blocked, one that a fault forces is not
        default: ::_exit(3);
    }
}

constexpr int workers = 4;  // one of which meets the poison

// What outlives the processes of one round.
struct Ward {
    std::array<std::atomic<int>, most_tasks> entered{};
    std::array<std::atomic<int>, most_tasks> left{};
};

// Runs tasks until none is left, or until one of them kills it.
void work(const std::string& file, Ward& ward, std::size_t how, std::chrono::milliseconds fuse) {
    backlite::Client client{backlite_test::quick(file, unsigned{workers})};
    client.register_queue<Dose>([&](const Dose& dose) {
        ++ward.entered[dose.number];
        if (dose.kind == static_cast<int>(Kind::poison)) {
            std::this_thread::sleep_for(fuse);
            die(how);
        }
        if (dose.kind == static_cast<int>(Kind::long_one)) std::this_thread::sleep_for(150ms);
        ++ward.left[dose.number];
    });
    client.start();
    while (!client.counts().empty()) std::this_thread::sleep_for(2ms);
    client.stop(1h);
}

// What the file says between two lives: only who was inside has crashed, and no attempt is spent. A worker is inside
// for the library a moment before and after it is for the processor, which a death may hit.
void check_after_death(Look& look, const Ward& ward, int deaths_so_far) {
    int moments = 0;
    SQLite::Statement select(look.database(),
                             "SELECT json_extract(CAST(task AS TEXT), '$.number'), attempts, crashes, "
                             "claimed_at IS NOT NULL FROM backlite_tasks");
    while (select.executeStep()) {
        const auto number = static_cast<std::size_t>(select.getColumn(0).getInt64());
        INFO("task " << number);
        REQUIRE(select.getColumn(1).getInt() == 0);
        const int unseen = select.getColumn(2).getInt() - (ward.entered[number] - ward.left[number]);
        REQUIRE(unseen <= deaths_so_far);
        moments += (std::max)(unseen, 0);
    }
    REQUIRE(moments <= (workers - 1) * deaths_so_far);
}

TEST_CASE("poison: a task that kills its process fails after max_crashes deaths and every innocent one succeeds") {
    const Harness harness("poison", 8);
    std::mt19937_64 random(harness.seed());
    std::array<std::size_t, deaths.size()> kinds{};
    std::size_t died = 0;
    std::size_t untouched = 0;
    std::size_t crashed_innocents = 0;
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        const std::size_t how = random() % deaths.size();
        const bool alone = random() % 3 == 0;
        const std::chrono::milliseconds fuse{random() % 100};
        INFO("BACKLITE_SEED=" << harness.seed() << ", round " << round << ": " << deaths[how]
                              << (alone ? ", alone" : ", beside others") << ", after " << fuse.count() << " ms");
        const backlite_test::TempFolder folder;
        const std::string file = folder.file("app.db");
        const backlite_test::SharedMemory<Ward> ward;
        std::vector<Dose> doses{{0, static_cast<int>(Kind::poison)}};
        if (!alone) {
            for (std::size_t i = 1; i <= 3; ++i) doses.push_back({i, static_cast<int>(Kind::long_one)});
            for (std::size_t i = 4; i < most_tasks; ++i) doses.push_back({i, static_cast<int>(Kind::quick)});
            std::shuffle(doses.begin(), doses.end(), random);
        }
        {
            backlite::Client client{backlite_test::quick(file)};
            (void)client.add(doses).save();
        }
        int lives = 0;
        int result = 1;
        while (result != 0 && lives < 10) {
            Process life([&](const Process::Inside&) { work(file, *ward, how, fuse); });
            result = life.join();
            ++lives;
            Look look(file);
            check_after_death(look, *ward, result == 0 ? lives - 1 : lives);
            if (result == 0) break;
            untouched += static_cast<std::size_t>(look.tasks("claimed_at IS NOT NULL AND crashes = 0"));
            crashed_innocents +=
                static_cast<std::size_t>(look.tasks("crashes > 0 AND json_extract(CAST(task AS TEXT), '$.kind') <> 2"));
        }
        Look look(file);
        REQUIRE(result == 0);
        REQUIRE(lives == max_crashes + 1);
        REQUIRE(ward->entered[0] == max_crashes);
        REQUIRE(look.tasks() == 0);
        REQUIRE(look.completed("succeeded = 0 AND attempts = 0 AND task IS NOT NULL AND error LIKE '%died 3 times%' "
                               "AND json_extract(CAST(task AS TEXT), '$.kind') = 2") == 1);
        REQUIRE(look.completed("succeeded = 1 AND attempts = 1 AND error IS NULL") ==
                static_cast<std::int64_t>(doses.size() - 1));
        REQUIRE(look.integrity() == "ok");
        ++kinds[how];
        died += max_crashes;
    }
    fmt::print("  {} deaths, {} claims of innocent tasks found at them, {} times one with a crash of its own;", died,
               untouched, crashed_innocents);
    for (std::size_t i = 0; i < deaths.size(); ++i) fmt::print(" {} {}", deaths[i], kinds[i]);
    fmt::print("\n");
}

// ---- rows that no sane program writes
// ---------------------------------------------------------------------------------

struct Strict {
    std::string text{};
    int number = 0;
    static backlite::QueueConfig config() {
        return {.name = "strict",
                .max_attempts = 3,
                .retention = backlite::Retention{.data = backlite::RetainData{}},
                .max_crashes = 3};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Strict, text, number)

constexpr std::int64_t least = (std::numeric_limits<std::int64_t>::min)();
constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)();
constexpr std::size_t max_payload = 2 << 20;

// How a row ends.
enum class End {
    runs,       // once, with success
    fails,      // without having run; kept with payload and error
    untouched,  // it stays as it was written
};

struct Nasty {
    std::string name{};
    std::string payload{};
    End end = End::runs;
    std::string error{};  // a part of it
    std::string queue = "strict";
    std::optional<std::string> id{};
    std::int64_t created_at = 1'000;
    std::optional<std::int64_t> wait_until{};
    std::optional<std::int64_t> claimed_at{};
    std::optional<std::int64_t> owner{};
    std::int64_t attempts = 0;
    std::int64_t crashes = 0;
    std::int64_t claim = 0;
    std::int64_t lease = 0;
    bool integer_id = false;  // the id is written as an integer; the strict column makes text of it
};

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string with_text(const std::string& text) { return "{\"text\":\"" + text + "\",\"number\":1}"; }

// Payloads: each in a row that is sound otherwise.
std::vector<Nasty> nasty_payloads() {
    using namespace std::string_literals;
    std::vector<Nasty> rows;
    const auto runs = [&](std::string name, std::string payload) {
        rows.push_back({.name = std::move(name), .payload = std::move(payload)});
    };
    const auto fails = [&](std::string name, std::string payload, std::string error = "cannot be read") {
        rows.push_back({std::move(name), std::move(payload), End::fails, std::move(error)});
    };
    runs("sound", with_text("x"));
    runs("spaces and line ends around", " \t\r\n" + with_text("x") + "\r\n ");
    runs("a byte order mark", "\xef\xbb\xbf" + with_text("x"));
    runs("unknown fields", R"({"text":"x","number":1,"more":[1,{"deep":null}]})");
    runs("a field twice", R"({"text":"x","text":"y","number":1,"number":2})");
    runs("a number with a fraction", R"({"text":"x","number":1.5})");
    runs("a boolean for a number", R"({"text":"x","number":true})");
    runs("an escaped NUL", with_text("a\\u0000b"));
    runs("escapes", with_text("\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00"));
    runs("the last character of Unicode", with_text("\xf4\x8f\xbf\xbf"));
    runs("a text of a megabyte", with_text(std::string(1 << 20, 'x')));
    runs("as large as allowed", with_text(std::string(max_payload - with_text("").size(), 'x')));
    runs("nested as deep as allowed", R"({"text":"x","number":1,"deep":)" + nested(255) + "}");
    runs("brackets in a text", with_text(std::string(10'000, '[')));
    // The JSON library takes a NUL for the end of its input.
    runs("a NUL behind", with_text("x") + "\0"s);
    runs("a NUL and garbage behind", with_text("x") + "\0garbage"s);

    fails("empty", "");
    fails("one byte too large", with_text(std::string(max_payload - with_text("").size() + 1, 'x')), "max_payload");
    fails("three megabytes of brackets", std::string(3 << 20, '['), "max_payload");
    fails("a space", " ");
    fails("a NUL", "\0"s);
    fails("a NUL in front", "\0"s + with_text("x"));
    fails("a NUL in a text", with_text("a\0b"s));
    fails("a thousand NULs", std::string(1'000, '\0'));
    fails("null", "null");
    fails("true", "true");
    fails("a number", "17");
    fails("a text", "\"x\"");
    fails("an array", "[]");
    fails("an array of pairs", R"([["text","x"],["number",1]])");
    fails("no fields", "{}");
    fails("a field missing", R"({"text":"x"})");
    fails("the other field missing", R"({"number":1})");
    fails("a field's name in capitals", R"({"Text":"x","number":1})");
    fails("null for a field", R"({"text":null,"number":1})");
    fails("null for a number", R"({"text":"x","number":null})");
    fails("a number for a text", R"({"text":1,"number":1})");
    fails("an array for a text", R"({"text":["x"],"number":1})");
    fails("an object for a text", R"({"text":{"x":1},"number":1})");
    fails("a boolean for a text", R"({"text":false,"number":1})");
    fails("a text for a number", R"({"text":"x","number":"1"})");
    fails("an array for a number", R"({"text":"x","number":[1]})");
    fails("an object for a number", R"({"text":"x","number":{}})");
    fails("a number larger than any", R"({"text":"x","number":1e999})");
    fails("NaN", R"({"text":"x","number":NaN})");
    fails("Infinity", R"({"text":"x","number":-Infinity})");
    fails("a number in hex", R"({"text":"x","number":0x10})");
    fails("a number with a zero in front", R"({"text":"x","number":01})");
    fails("a number with a plus", R"({"text":"x","number":+1})");
    fails("a comment", R"({"text":"x","number":1}/* x */)");
    fails("single quotes", "{'text':'x','number':1}");
    fails("a comma too many", R"({"text":"x","number":1,})");
    fails("two values", with_text("x") + with_text("y"));
    fails("a second object behind a line end", with_text("x") + "\n" + with_text("y"));
    fails("a line end in a text", with_text("a\nb"));
    fails("an unknown escape", with_text("\\x41"));
    fails("half a surrogate", with_text("\\ud800"));
    fails("the second half of a surrogate", with_text("\\udc00"));
    fails("a surrogate pair in the wrong order", with_text("\\ude00\\ud83d"));
    fails("a short escape", with_text("\\u12"));
    fails("another byte order mark", "\xff\xfe" + with_text("x"));
    fails("UTF-16",
          "{\0\"\0t\0\"\0:\0"
          "1\0}\0"s);
    fails("a pickle", "\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94."s);
    fails("MessagePack", "\x82\xa4text\xa1x\xa6number\x01");
    fails("a gob", "\x1f\xff\x81\x03\x01\x01\x04Task\x01\xff\x82\0"s);
    fails("XML", "<text>x</text>");
    fails("SQL", "'); DROP TABLE backlite_tasks; --");
    for (const std::string_view bytes : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xe2\x82",
                                         "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8", "\xfe"}) {
        fails(fmt::format("bytes that are no UTF-8, beginning with {:02x}", static_cast<unsigned char>(bytes[0])),
              with_text(std::string{bytes}));
    }
    for (const std::size_t depth : {256U, 257U, 1'000U, 30'000U, 200'000U}) {
        fails(fmt::format("{} arrays", depth), nested(depth));
        fails(fmt::format("{} arrays in a field", depth), R"({"text":"x","number":1,"deep":)" + nested(depth) + "}",
              "deeper");
    }
    fails("100,000 arrays that do not end", std::string(100'000, '['));
    std::string objects;
    for (int i = 0; i < 50'000; ++i) objects += "{\"a\":";
    fails("50,000 objects that do not end", objects);
    const std::string whole = with_text("xyz");
    for (std::size_t size = 1; size < whole.size(); ++size) {
        fails(fmt::format("cut after {} bytes", size), whole.substr(0, size));
    }
    std::mt19937 garbage(7);
    for (const std::size_t size : {2U, 3U, 8U, 64U, 512U, 4'096U, 65'536U}) {
        std::string bytes(size, ' ');
        for (char& c : bytes) c = static_cast<char>(garbage() & 0xffU);
        bytes[0] = '\x01';
        fails(fmt::format("{} random bytes", size), bytes);
    }
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].id = fmt::format("payload {}", i);
    return rows;
}

// Rows: each with a payload that is sound, if nothing else is said.
std::vector<Nasty> nasty_rows() {
    using namespace std::string_literals;
    std::vector<Nasty> rows;
    const auto row = [&](std::string name, Nasty nasty) {
        nasty.name = std::move(name);
        if (!nasty.id) nasty.id = fmt::format("row {}", rows.size());
        nasty.payload = with_text(fmt::format("row {}", rows.size()));
        rows.push_back(std::move(nasty));
    };
    const std::string too_many = "attempts";
    const std::string died = "the process died";
    row("-1 attempts", {.attempts = -1});
    row("the least number of attempts", {.attempts = least});
    row("attempts at the bound", {.attempts = 3});
    row("attempts far above the bound", {.attempts = 1'000});
    row("2^31 - 1 attempts", {.attempts = (std::int64_t{1} << 31) - 1});
    row("2^31 attempts", {.end = End::fails, .error = too_many, .attempts = std::int64_t{1} << 31});
    row("2^32 attempts", {.end = End::fails, .error = too_many, .attempts = std::int64_t{1} << 32});
    row("the most attempts", {.end = End::fails, .error = too_many, .attempts = most});
    row("-1 crashes", {.crashes = -1});
    row("the least number of crashes", {.crashes = least});
    row("one crash", {.crashes = 1});
    row("one crash short of the bound", {.crashes = 2});
    row("another such", {.crashes = 2});
    row("crashes at the bound", {.end = End::fails, .error = died, .crashes = 3});
    row("2^32 crashes", {.end = End::fails, .error = died, .crashes = std::int64_t{1} << 32});
    row("the most crashes", {.end = End::fails, .error = died, .crashes = most});
    row("the most crashes and attempts", {.end = End::fails, .error = died, .attempts = most, .crashes = most});
    row("a claim number of -1", {.claim = -1});
    row("the least claim number", {.claim = least});
    row("a claim number of 2^32", {.claim = std::int64_t{1} << 32});
    row("the last claim number but one", {.claim = most - 1});
    row("the last claim number", {.claim = most});
    row("the most leases", {.lease = most});
    row("the least lease", {.lease = least});
    row("made at 0", {.created_at = 0});
    row("made before the epoch", {.created_at = -1});
    row("made at the least time", {.created_at = least});
    row("made a moment after that", {.created_at = least + 1});
    row("made in seconds", {.created_at = 1'700'000'000});
    row("made in microseconds", {.end = End::runs, .created_at = 1'700'000'000'000'000});
    row("made in nanoseconds", {.end = End::runs, .created_at = 1'700'000'000'000'000'000});
    row("made at the last time", {.end = End::runs, .created_at = most});
    row("made a moment before that", {.end = End::runs, .created_at = most - 1});
    row("waits until the least time", {.wait_until = least});
    row("waits until 0", {.wait_until = 0});
    row("waits until the last time", {.end = End::untouched, .wait_until = most});
    row("waits until the last time but one", {.end = End::untouched, .wait_until = most - 1});
    row("made at the least time, waits until the last",
        {.end = End::untouched, .created_at = least, .wait_until = most});
    row("made at the last time, waits until the least", {.end = End::runs, .created_at = most, .wait_until = least});
    row("claimed at 0 by nobody", {.claimed_at = 0});
    row("claimed before the epoch by nobody", {.claimed_at = -1});
    row("claimed at the least time by nobody", {.claimed_at = least});
    row("claimed at the last time by nobody", {.end = End::untouched, .claimed_at = most});
    row("claimed by a client that never was", {.claimed_at = 1'000, .owner = 4'711});
    row("claimed by client 0", {.claimed_at = 1'000, .owner = 0});
    row("claimed by client -1", {.claimed_at = 1'000, .owner = -1});
    row("claimed by the last client", {.claimed_at = most, .owner = most});
    row("claimed by the client before the first", {.claimed_at = 1'000, .owner = least + 1});
    row("an owner, but not claimed", {.owner = 4'712});
    row("an owner of -1, but not claimed", {.owner = -1});
    row("an empty id", {.id = ""});
    row("an id of one space", {.id = " "});
    row("an id of two spaces", {.id = "  "});
    row("an id", {.id = "Same"});
    row("the same id in small letters", {.id = "same"});
    row("the same id and a space", {.id = "Same "});
    row("the same id and a NUL", {.id = "Same\0"s});
    row("the same id, a NUL and more", {.id = "Same\0more"s});
    row("a UUID", {.id = "01890a5d-ac96-774b-bcce-b302099a8057"});
    row("the same UUID in capitals", {.id = "01890A5D-AC96-774B-BCCE-B302099A8057"});
    row("the same UUID in braces", {.id = "{01890a5d-ac96-774b-bcce-b302099a8057}"});
    row("the same UUID without hyphens", {.id = "01890a5dac96774bbcceb302099a8057"});
    row("an id that is a number", {.id = "17"});
    row("an id that was an integer", {.id = "18", .integer_id = true});
    row("the largest integer as id", {.id = std::to_string(most), .integer_id = true});
    row("an id with quotes", {.id = "'; DELETE FROM backlite_tasks; --"});
    row("an id with percent and underscore", {.id = "%_"});
    row("an id with braces", {.id = "{} {0} {:d}"});
    row("an id with line ends", {.id = "a\nb\r\nc"});
    row("an id that is no UTF-8", {.id = "\xff\xfe"});
    row("an id of a megabyte", {.id = std::string(1 << 20, 'i')});
    row("an id that looks unnamed", {.id = "unnamed-1-1"});
    row("an empty queue", {.end = End::untouched, .queue = ""});
    row("an unknown queue", {.end = End::untouched, .queue = "unknown"});
    row("a queue in capitals", {.end = End::untouched, .queue = "STRICT"});
    row("a queue and a space", {.end = End::untouched, .queue = "strict "});
    row("a queue and a NUL", {.end = End::untouched, .queue = "strict\0"s});
    row("a NUL for a queue", {.end = End::untouched, .queue = "\0"s});
    row("a part of a queue", {.end = End::untouched, .queue = "stric"});
    row("a queue that is no UTF-8", {.end = End::untouched, .queue = "\xff"});
    row("a queue of 100,000 letters", {.end = End::untouched, .queue = std::string(100'000, 'q')});
    row("a queue behind all others", {.end = End::untouched, .queue = "\xf4\x8f\xbf\xbf"});
    row("an unknown queue, crashed", {.end = End::untouched, .queue = "unknown", .crashes = 99});
    row("an unknown queue, many attempts", {.end = End::untouched, .queue = "unknown", .attempts = most});
    return rows;
}

void bind(SQLite::Statement& insert, int index, const std::optional<std::int64_t>& value) {
    if (value) {
        insert.bind(index, *value);
    } else {
        insert.bind(index);
    }
}

void write(SQLite::Database& database, const Nasty& row) {
    SQLite::Statement insert(
        database,
        "INSERT INTO backlite_tasks (id, created_at, queue, task, wait_until, claimed_at, owner, attempts, crashes, "
        "claim, lease) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    if (row.integer_id) {
        insert.bind(1, static_cast<std::int64_t>(std::stoll(*row.id)));
    } else {
        insert.bind(1, *row.id);
    }
    insert.bind(2, row.created_at);
    insert.bind(3, row.queue);
    insert.bind(4, row.payload.data(), static_cast<int>(row.payload.size()));
    bind(insert, 5, row.wait_until);
    bind(insert, 6, row.claimed_at);
    bind(insert, 7, row.owner);
    insert.bind(8, row.attempts);
    insert.bind(9, row.crashes);
    insert.bind(10, row.claim);
    insert.bind(11, row.lease);
    insert.exec();
}

// What became of a row, in words.
std::string end_of(SQLite::Database& database, const Nasty& row) {
    SQLite::Statement waits(database,
                            "SELECT created_at, attempts, crashes, claim, claimed_at, queue, task "
                            "FROM backlite_tasks WHERE id = ?");
    waits.bind(1, *row.id);
    std::string found;
    while (waits.executeStep()) {
        const bool same = waits.getColumn(0).getInt64() == row.created_at &&
                          waits.getColumn(1).getInt64() == row.attempts &&
                          waits.getColumn(2).getInt64() == row.crashes && waits.getColumn(3).getInt64() == row.claim &&
                          waits.getColumn(4).isNull() == !row.claimed_at &&
                          waits.getColumn(5).getString() == row.queue && waits.getColumn(6).getString() == row.payload;
        found += same ? "untouched;" : "waits, but changed;";
    }
    SQLite::Statement done(database, "SELECT succeeded, error, task FROM backlite_tasks_completed WHERE id = ?");
    done.bind(1, *row.id);
    while (done.executeStep()) {
        const std::string error = done.getColumn(1).isNull() ? "" : done.getColumn(1).getString();
        if (done.getColumn(2).getString() != row.payload) {
            found += "another payload is kept;";
        } else if (done.getColumn(0).getInt() == 1) {
            found += error.empty() ? "runs;" : "succeeded with an error;";
        } else {
            found += error.find(row.error) != std::string::npos && !row.error.empty() ? "fails;" : "fails: " + error;
        }
    }
    return found;
}

TEST_CASE("poison: two hundred nasty payloads and rows end as they should and good tasks beside them run") {
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("app.db");
    backlite::ClientConfig config = backlite_test::quick(file, 3);
    config.max_payload = max_payload;
    backlite::Client client{config};
    std::atomic<std::size_t> good{0};
    client.register_queue<Strict>([&](const Strict& task) {
        if (task.text == "good") ++good;
    });
    std::vector<Nasty> rows = nasty_payloads();
    for (Nasty& row : nasty_rows()) rows.push_back(std::move(row));
    const std::vector<Strict> beside(10, Strict{"good", 1});
    (void)client.add(beside).save();
    {
        Look look(file);
        look.run("BEGIN IMMEDIATE");
        for (const Nasty& row : rows) {
            INFO(row.name);
            REQUIRE_NOTHROW(write(look.database(), row));
        }
        look.run("COMMIT");
    }
    (void)client.counts();
    client.start();
    (void)client.add(beside).save();
    Look look(file);
    const auto left = static_cast<std::int64_t>(
        std::count_if(rows.begin(), rows.end(), [](const Nasty& row) { return row.end == End::untouched; }));
    CHECK(eventually([&] { return look.tasks() <= left; }));
    (void)client.add(beside).save();
    CHECK(eventually([&] { return good == 3 * beside.size(); }));
    (void)client.counts();
    CHECK(client.stop(1h));

    std::array<std::size_t, 3> ends{};
    for (const Nasty& row : rows) {
        constexpr std::array<std::string_view, 3> words{"runs;", "fails;", "untouched;"};
        INFO(row.name);
        CHECK(end_of(look.database(), row) == words[static_cast<std::size_t>(row.end)]);
        ++ends[static_cast<std::size_t>(row.end)];
    }
    CHECK(look.integrity() == "ok");
    CHECK(rows.size() >= 200);
    fmt::print("{} nasty rows: {} run, {} fail, {} stay untouched\n", rows.size(), ends[0], ends[1], ends[2]);
}

}  // namespace
