// SPDX-License-Identifier: MIT
// What cannot work is refused by name before any thread starts, and what cannot be run is kept, not run.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <grp.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <row_time.hpp>
#include <temp_folder.hpp>

// Named: a hook that this file never calls is no mistake.
namespace bad_input_test {

using namespace std::chrono_literals;
using backlite::Backoff;
using backlite::Duration;
using backlite::QueueConfig;
using backlite::Retention;

struct Number {
    int n = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Number, n)

struct Good : Number {
    static QueueConfig config() { return {.name = "good"}; }
};
struct SameName : Number {
    static QueueConfig config() { return {.name = "good"}; }
};
struct Nameless : Number {
    static QueueConfig config() { return {}; }
};
struct NulName : Number {
    static QueueConfig config() { return {.name = std::string("a\0b", 3)}; }
};
struct NoAttempts : Number {
    static QueueConfig config() { return {.name = "no attempts", .max_attempts = 0}; }
};
struct NegativeAttempts : Number {
    static QueueConfig config() { return {.name = "negative attempts", .max_attempts = -1}; }
};
struct NoCrashes : Number {
    static QueueConfig config() { return {.name = "no crashes", .max_crashes = 0}; }
};
struct NegativeTimeout : Number {
    static QueueConfig config() { return {.name = "negative timeout", .timeout = -1ms}; }
};
struct NegativeBackoff : Number {
    static QueueConfig config() { return {.name = "negative backoff", .backoff = -1s}; }
};
struct NegativeRetention : Number {
    static QueueConfig config() { return {.name = "negative retention", .retention = Retention{.duration = -1h}}; }
};
struct EmptyBackoff : Number {
    static QueueConfig config() { return {.name = "empty backoff", .backoff = Backoff::custom(nullptr)}; }
};
struct ShrinkingBackoff : Number {
    static QueueConfig config() {
        return {.name = "shrinking backoff", .backoff = Backoff::exponential({.factor = 0.5})};
    }
};
struct WildBackoff : Number {
    static QueueConfig config() { return {.name = "wild backoff", .backoff = Backoff::exponential({.jitter = 1.5})}; }
};
struct BrokenConfig : Number {
    static QueueConfig config() { throw std::runtime_error("no configuration today"); }
};

// A task whose hooks throw what the number says.
struct Throwing {
    int encode = 0;
    int decode = 0;
    static QueueConfig config() { return {.name = "throwing"}; }
};
class NoText : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};
inline void throw_kind(int kind) {
    switch (kind) {
        case 1: throw std::runtime_error("a reason");
        case 2: throw 42;
        case 3: throw NoText();
        default: break;
    }
}
inline void to_json(nlohmann::json& json, const Throwing& task) {
    throw_kind(task.encode);
    json = {{"decode", task.decode}};
}
inline void from_json(const nlohmann::json& json, Throwing& task) {
    json.at("decode").get_to(task.decode);
    throw_kind(task.decode);
}

// A task of any JSON.
struct Any {
    nlohmann::json value{};
    static QueueConfig config() { return {.name = "any"}; }
};
inline void to_json(nlohmann::json& json, const Any& task) { json = task.value; }
inline void from_json(const nlohmann::json& json, Any& task) { task.value = json; }

}  // namespace bad_input_test

namespace {

using namespace bad_input_test;
using backlite::Added;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::CorruptError;
using backlite::EncodeError;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite_test::contains;
using backlite_test::Events;
using backlite_test::eventually;
using backlite_test::message_of;
using backlite_test::TempFolder;

std::size_t threads() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        static_cast<void>(entry);
        ++count;
    }
    return count;
}

// What opening a client throws; no thread may have been started for it.
template <class Exception>
std::string refusal(const ClientConfig& config) {
    const std::size_t before = threads();
    std::string message = message_of<Exception>([&] { const Client client(config); });
    CHECK(threads() == before);
    return message;
}

std::string content_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_file(const std::string& file, std::string_view content) {
    std::ofstream(file, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

// Values of a client's configuration.

TEST_CASE("ClientConfig: a value that cannot work is refused by its name, and nothing is created") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    const auto refused = [&](ClientConfig config) {
        config.database = file;
        return refusal<ConfigError>(config);
    };
    CHECK(contains(refused({.num_workers = 0}), "num_workers is 0"));
    CHECK(contains(refused({.num_workers = 1025}), "num_workers is 1025"));
    CHECK(contains(refused({.release_after = 0ms}), "release_after is 0"));
    CHECK(contains(refused({.release_after = -1ms}), "release_after is -1"));
    CHECK(contains(refused({.cleanup_interval = -1ms}), "cleanup_interval is -1"));
    CHECK(contains(refused({.busy_timeout = -1ms}), "busy_timeout is -1"));
    CHECK(contains(refused({.watch_interval = -1ms}), "watch_interval is -1"));
    CHECK(contains(refused({.max_payload = 0}), "max_payload is 0"));
    CHECK(contains(refused({.num_workers = 0}), file));
    CHECK(std::filesystem::is_empty(folder.name()));
}

TEST_CASE("ClientConfig: a time too long for the clock is refused by its name") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    const auto refused = [&](ClientConfig config) {
        config.database = file;
        return refusal<ConfigError>(config);
    };
    CHECK(contains(refused({.release_after = Duration::max()}), "release_after"));
    CHECK(contains(refused({.cleanup_interval = Duration::max()}), "cleanup_interval"));
    CHECK(contains(refused({.busy_timeout = Duration::max()}), "busy_timeout"));
    CHECK(contains(refused({.watch_interval = Duration::max()}), "watch_interval"));
    CHECK(std::filesystem::is_empty(folder.name()));
    const Duration year = 365 * 24h;
    CHECK_NOTHROW(Client({.database = file,
                          .release_after = 50 * year,
                          .cleanup_interval = 50 * year,
                          .busy_timeout = 50 * year,
                          .watch_interval = 50 * year}));
}

TEST_CASE("ClientConfig: 1 and 1,024 workers are allowed, and start") {
    const TempFolder folder;
    for (const unsigned workers : {1U, 1024U}) {
        Client client{{.database = folder.file("x.db"), .num_workers = workers}};
        Events<int> seen;
        client.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
        client.start();
        (void)client.add(Good{{1}}).save();
        CHECK(seen.wait_for(1));
        CHECK(client.stop(20s));
    }
}

// Queues.

template <class T>
std::string refused_queue(Client& client) {
    return message_of<ConfigError>([&] { client.register_queue<T>([](const T&) {}); });
}

TEST_CASE("QueueConfig: a value that cannot work is refused by queue and name, when registering and when adding") {
    const TempFolder folder;
    Client client{{.database = folder.file("x.db")}};
    const std::size_t before = threads();
    CHECK(contains(refused_queue<Nameless>(client), "empty name"));
    CHECK(contains(refused_queue<NulName>(client), "NUL"));
    CHECK(contains(refused_queue<NoAttempts>(client), "\"no attempts\": max_attempts is 0"));
    CHECK(contains(refused_queue<NegativeAttempts>(client), "max_attempts is -1"));
    CHECK(contains(refused_queue<NoCrashes>(client), "\"no crashes\": max_crashes is 0"));
    CHECK(contains(refused_queue<NegativeTimeout>(client), "\"negative timeout\": timeout is negative: -1 ms"));
    CHECK(contains(refused_queue<NegativeBackoff>(client), "\"negative backoff\": backoff is negative: -1000 ms"));
    CHECK(contains(refused_queue<NegativeRetention>(client), "\"negative retention\""));
    CHECK(contains(refused_queue<EmptyBackoff>(client), "\"empty backoff\""));
    CHECK(contains(refused_queue<ShrinkingBackoff>(client), "\"shrinking backoff\""));
    CHECK(contains(refused_queue<WildBackoff>(client), "\"wild backoff\""));
    CHECK(contains(message_of<ConfigError>([&] { (void)client.add(Nameless{}).save(); }), "empty name"));
    CHECK(contains(message_of<ConfigError>([&] { (void)client.add(Good{}, NoAttempts{}).save(); }), "max_attempts"));
    CHECK(contains(message_of<std::runtime_error>([&] { (void)client.add(BrokenConfig{}).save(); }), "today"));
    CHECK(client.counts().empty());
    CHECK(threads() == before);
}

TEST_CASE("Client: a queue name can be registered once, by one type or by two, and is named") {
    const TempFolder folder;
    Client client{{.database = folder.file("x.db")}};
    client.register_queue<Good>([](const Good&) {});
    CHECK(contains(refused_queue<Good>(client), "\"good\" is registered already"));
    CHECK(contains(refused_queue<SameName>(client), "\"good\" is registered already"));
    Client other{{.database = folder.file("x.db")}};
    CHECK_NOTHROW(other.register_queue<SameName>([](const SameName&) {}));
}

TEST_CASE("Backoff: no bound and no number of attempts is too large for an exponential one") {
    const Backoff backoff = Backoff::exponential({.initial = 1s, .factor = 10.0, .max = Duration::max()});
    for (const int attempt : {1, 17, 18, 19, 20, 300, 400, 2'000'000'000}) {
        INFO(attempt);
        CHECK(backoff.delay(attempt, 0) > Duration::zero());
        CHECK(backoff.delay(attempt, ~std::uint64_t{0}) > Duration::zero());
    }
    CHECK(backoff.delay(400, ~std::uint64_t{0}) == Duration::max());
}

// Files.

TEST_CASE("Database: a name that is no file's is refused") {
    CHECK(contains(refusal<ConfigError>({}), "ClientConfig::database is empty"));
    CHECK(contains(refusal<ConfigError>({.database = ":memory:"}), "\":memory:\""));
    CHECK(contains(refusal<ConfigError>({.database = "file:x"}), "\"file:x\""));
    CHECK(contains(refusal<ConfigError>({.database = "file:x?mode=memory"}), "\"file:x?mode=memory\""));
    CHECK(contains(refusal<ConfigError>({.database = std::string("a\0b", 3)}), "NUL"));
    CHECK_FALSE(std::filesystem::exists("file:x"));
}

TEST_CASE("Database: a folder that does not exist, or is none, is refused by name") {
    const TempFolder folder;
    const std::string missing = folder.file("missing/x.db");
    CHECK(contains(refusal<ConfigError>({.database = missing}), missing));
    write_file(folder.file("plain"), "x");
    const std::string below = folder.file("plain/x.db");
    CHECK(contains(refusal<ConfigError>({.database = below}), below));
}

TEST_CASE("Database: what is no regular file is refused by name") {
    const TempFolder folder;
    CHECK(contains(refusal<ConfigError>({.database = folder.name()}), folder.name()));
    CHECK(contains(refusal<ConfigError>({.database = folder.name() + "/"}), folder.name()));
    CHECK(contains(refusal<ConfigError>({.database = "/dev/null"}), "/dev/null"));
    const std::string pipe = folder.file("pipe");
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    CHECK(contains(refusal<ConfigError>({.database = pipe}), pipe));
}

TEST_CASE("Database: a file that is no database is refused by name, and left as it is") {
    const TempFolder folder;
    std::mt19937 random(7);
    // A file of one byte counts as empty to SQLite.
    for (const std::size_t size : {2U, 15U, 16U, 99U, 100U, 511U, 512U, 1024U, 4095U, 4096U, 100'000U}) {
        INFO(size << " bytes");
        const std::string file = folder.file(fmt::format("garbage{}", size));
        std::string garbage(size, ' ');
        for (char& c : garbage) c = static_cast<char>(random() & 0xff);
        write_file(file, garbage);
        const std::string message = refusal<CorruptError>({.database = file});
        CHECK(contains(message, file));
        CHECK((content_of(file) == garbage));
        CHECK_FALSE(std::filesystem::exists(file + "-backlite"));
    }
}

TEST_CASE("Database: a file with a database's header and garbage behind it is refused by name") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE t (x)"); }
    std::string content = content_of(file);
    REQUIRE(content.size() >= 4096);
    std::fill(content.begin() + 100, content.begin() + 4096, '\xa5');
    write_file(file, content);
    const std::string message = refusal<StorageError>({.database = file});
    CHECK(message != "nothing thrown");
    CHECK(contains(message, file));
}

TEST_CASE("Database: an empty file becomes a database") {
    const TempFolder folder;
    write_file(folder.file("x.db"), "");
    Client client{{.database = folder.file("x.db")}};
    CHECK(client.add(Good{}).save().size() == 1);
}

TEST_CASE("Database: names that look like something else are file names") {
    const TempFolder folder;
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(folder.name());
    for (const std::string name : {"x?mode=memory", "x#y", "x y", "x%20y", "-x", "\xc3\xa4"}) {
        INFO(name);
        Client client{{.database = name}};
        CHECK(client.add(Good{}).save().size() == 1);
        CHECK(std::filesystem::exists(folder.file(name)));
    }
    std::filesystem::current_path(before);
}

// Runs `body` in a child without root's rights, who may not write what the modes forbid; its text, or what it threw.
std::string as_nobody(const std::function<std::string()>& body) {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        std::string text;
        try {
            const bool root = ::geteuid() == 0;
            if (root && (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(2);
            text = body();
        } catch (const std::exception& error) {
            text = error.what();
        }
        ::_exit(::write(pipe[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    ::close(pipe[1]);
    std::string text;
    std::array<char, 4096> buffer{};
    for (;;) {
        const ssize_t got = ::read(pipe[0], buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    ::close(pipe[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? text : fmt::format("child ended with status {}", status);
}

TEST_CASE("Database: a file that may not be written is refused by name") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { const Client create{{.database = file}}; }
    REQUIRE(::chmod(folder.name().c_str(), 0777) == 0);
    REQUIRE(::chmod(file.c_str(), 0444) == 0);
    const std::string message = as_nobody([&] { return refusal<StorageError>({.database = file}); });
    CHECK(contains(message, file));
    CHECK(contains(message, "cannot be written"));
}

TEST_CASE("Database: a file that may not be read is refused by name") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { const Client create{{.database = file}}; }
    REQUIRE(::chmod(folder.name().c_str(), 0777) == 0);
    REQUIRE(::chmod(file.c_str(), 0000) == 0);
    const std::string message = as_nobody([&] { return refusal<StorageError>({.database = file}); });
    CHECK(contains(message, file));
    CHECK(contains(message, "cannot be opened"));
}

TEST_CASE("Database: a folder that may not be written is refused, whether the file exists or not") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { const Client create{{.database = file}}; }
    REQUIRE(::chmod(folder.name().c_str(), 0555) == 0);
    REQUIRE(::chmod(file.c_str(), 0666) == 0);
    const std::string existing = as_nobody([&] { return refusal<StorageError>({.database = file}); });
    CHECK(contains(existing, file));
    const std::string missing = folder.file("y.db");
    const std::string message = as_nobody([&] { return refusal<StorageError>({.database = missing}); });
    CHECK(contains(message, missing));
    REQUIRE(::chmod(folder.name().c_str(), 0700) == 0);
}

TEST_CASE("Database: tables of our names that are not ours are refused by name, and left alone") {
    const TempFolder folder;
    int n = 0;
    for (const char* schema :
         {"CREATE TABLE backlite_tasks (id text PRIMARY KEY, something integer)",
          "CREATE TABLE backlite_tasks (id integer PRIMARY KEY, created_at text, queue text, task text, wait_until "
          "text, claimed_at text, last_executed_at text, attempts text)",
          "CREATE VIEW backlite_tasks AS SELECT 1 AS id", "CREATE TABLE backlite_tasks_completed (id text)",
          "CREATE TABLE Backlite_Tasks (x)", "CREATE TABLE backlite_meta (name text, number integer)",
          "CREATE TABLE backlite_meta (key text, value text)", "CREATE TABLE backlite_clients (name text)"}) {
        INFO(schema);
        const std::string file = folder.file(fmt::format("x{}.db", ++n));
        { SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec(schema); }
        const std::string message = refusal<StorageError>({.database = file});
        CHECK(message != "nothing thrown");
        CHECK(contains(message, "backlite_"));
        SQLite::Database db(file, SQLite::OPEN_READWRITE);
        CHECK(db.execAndGet("SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view')").getInt() == 1);
    }
}

TEST_CASE("Database: one that a newer library has brought up to date is refused, and says which is needed") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { const Client create{{.database = file}}; }
    {
        SQLite::Database db(file, SQLite::OPEN_READWRITE);
        db.exec("UPDATE backlite_meta SET value = 99 WHERE key = 'schema_version'");
        db.exec("UPDATE backlite_meta SET value = 7008009 WHERE key = 'oldest_writer'");
    }
    const std::string message = refusal<StorageError>({.database = file});
    CHECK(contains(message, file));
    CHECK(contains(message, "7.8.9"));
}

TEST_CASE("Client: start on a file without tables says what to do, and starts no thread") {
    const TempFolder folder;
    Client client{{.database = folder.file("x.db"), .auto_install = false}};
    const std::size_t before = threads();
    CHECK(contains(message_of<StorageError>([&] { client.start(); }), "install()"));
    CHECK(threads() == before);
    client.install();
    CHECK_NOTHROW(client.start());
}

TEST_CASE("Client: a negative time for stop is refused by name") {
    const TempFolder folder;
    Client client{{.database = folder.file("x.db")}};
    CHECK(contains(message_of<ConfigError>([&] { (void)client.stop(-1ms); }), "-1 ms"));
}

// Tasks.

TEST_CASE("Encoding: whatever to_json throws is an EncodeError at save, and nothing is added") {
    const TempFolder folder;
    Client client{{.database = folder.file("x.db")}};
    const auto refused = [&](int kind) {
        return message_of<EncodeError>([&] { (void)client.add(Good{}, Throwing{.encode = kind}).save(); });
    };
    CHECK(contains(refused(1), "queue \"throwing\": a task cannot be encoded: a reason"));
    CHECK(contains(refused(2), "queue \"throwing\""));
    CHECK(contains(refused(3), "queue \"throwing\""));
    CHECK(client.counts().empty());
}

nlohmann::json nested(std::size_t depth) {
    nlohmann::json json = nlohmann::json::array();
    for (std::size_t i = 1; i < depth; ++i) {
        nlohmann::json outer = nlohmann::json::array();
        outer.push_back(std::move(json));
        json = std::move(outer);
    }
    return json;
}

TEST_CASE("Encoding: JSON that nests as deep as it can be read again is taken, one level more is refused") {
    Events<std::size_t> seen;
    const TempFolder folder;
    Client client{{.database = folder.file("x.db")}};
    client.register_queue<Any>([&](const Any& task) { seen.add(task.value.size()); });
    client.start();
    (void)client.add(Any{nested(backlite::detail::max_json_depth)}).save();
    CHECK(seen.wait_for(1));
    const std::string message =
        message_of<EncodeError>([&] { (void)client.add(Any{nested(backlite::detail::max_json_depth + 1)}).save(); });
    CHECK(contains(message, "deeper than 256"));
}

struct Kept {
    std::string error{};
    std::string payload{};
    std::int64_t attempts = -1;
    std::int64_t days = -1;
};

// Puts a payload into the file as others would, runs it, and returns what is kept of it.
Kept run_payload(const std::string& payload, std::size_t max_payload = std::size_t{64} << 20U) {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Events<int> seen;
    Client client{{.database = file, .num_workers = 1, .max_payload = max_payload}};
    client.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
    client.register_queue<Any>([&](const Any&) { seen.add(-1); });
    client.register_queue<Throwing>([&](const Throwing&) { seen.add(-2); });
    {
        SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
        SQLite::Statement insert(db, "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES ('x', 1, ?, ?)");
        const bool throwing = payload.starts_with(R"({"decode")");
        insert.bind(1, throwing ? "throwing" : payload.starts_with('[') ? "any" : "good");
        insert.bind(2, payload.data(), static_cast<int>(payload.size()));
        insert.exec();
    }
    client.start();
    const TaskId id = TaskId::from_text("x");
    REQUIRE(eventually([&] { return client.status(id) == TaskStatus::failed; }));
    // The worker lives on.
    (void)client.add(Good{{5}}).save();
    CHECK(seen.wait_for(1));
    CHECK(seen.all() == std::vector<int>{5});
    CHECK(client.stop(20s));
    SQLite::Database db(file);
    SQLite::Statement select(db,
                             "SELECT error, task, attempts, (expires_at - last_executed_at) / 86400000 "
                             "FROM backlite_tasks_completed WHERE id = 'x' AND succeeded = 0");
    REQUIRE(select.executeStep());
    return {select.getColumn(0).getString(), select.getColumn(1).getString(), select.getColumn(2).getInt64(),
            select.getColumn(3).getInt64()};
}

TEST_CASE("Payload: one that cannot be read fails, and is kept with its error for seven days") {
    for (const std::string& payload :
         {std::string{}, std::string("{"), std::string("{\"n\":"), std::string("nonsense"),
          std::string("{\"n\":\"x\"}"), std::string("{\"n\":1}{\"n\":2}"), std::string("\xff\xfe"),
          std::string(1000, '\0'), std::string("\"text\""), std::string(R"({"decode":1})"),
          std::string(R"({"decode":2})"), std::string(R"({"decode":3})"), std::string(R"({"decode":"x"})")}) {
        INFO(payload);
        const Kept kept = run_payload(payload);
        CHECK(contains(kept.error, "cannot be read"));
        CHECK(kept.payload == payload);
        CHECK(kept.attempts == 1);
        CHECK(kept.days == 7);
    }
}

TEST_CASE("Payload: one that nests ten thousand or a million levels deep fails at once, and is kept") {
    for (const std::size_t depth : {257U, 10'000U, 1'000'000U}) {
        INFO(depth);
        const std::string open(depth, '[');
        const Kept kept = run_payload(open + std::string(depth, ']'));
        CHECK(contains(kept.error, "nests deeper"));
        CHECK(kept.payload.size() == 2 * depth);
        CHECK(kept.days == 7);
        CHECK(contains(run_payload(open).error, "cannot be read"));
    }
}

TEST_CASE("Payload: one above max_payload fails at once without being read, and is kept") {
    const std::string fits = R"({"n":1})" + std::string(93, ' ');
    REQUIRE(fits.size() == 100);
    const Kept kept = run_payload(fits + ' ', 100);
    CHECK(contains(kept.error, "101 bytes"));
    CHECK(contains(kept.error, "max_payload"));
    CHECK(kept.payload.size() == 101);
    CHECK(kept.attempts == 0);
    CHECK(kept.days == 7);
}

TEST_CASE("Payload: one of exactly max_payload runs") {
    Events<int> seen;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client client{{.database = file, .max_payload = 100}};
    client.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
    client.start();
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES "
        "('x', 1, 'good', CAST('{\"n\":1}' || printf('%93s', '') AS BLOB))");
    CHECK(seen.wait_for(1));
    CHECK(seen.all() == std::vector<int>{1});
}

TEST_CASE("Payload: fields that are missing or unknown are no error") {
    Events<int> seen;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client client{{.database = file, .num_workers = 1}};
    client.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
    client.start();
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task) VALUES "
        "('a', 1, 'good', CAST('{}' AS BLOB)), ('b', 2, 'good', CAST('{\"n\":2,\"new\":[1]}' AS BLOB))");
    CHECK(seen.wait_for(2));
    CHECK(seen.all() == std::vector<int>{0, 2});
}

// Queues that nobody registered.

TEST_CASE("Unregistered: rows of other queues stay untouched whatever they hold, and are counted") {
    Events<int> seen;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client client{{.database = file, .num_workers = 2, .release_after = 1ms}};
    client.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    db.exec(
        "INSERT INTO backlite_tasks (id, created_at, queue, task, attempts) VALUES "
        "('1', 1, 'theirs', CAST('{' AS BLOB), 9), ('2', 1, '', x'ff', 0), ('3', 1, 'GOOD', x'00', 0), "
        "('4', 1, 'good ', x'', 0), ('5', 9000000000000000, 'theirs', x'', -3)");
    const auto untouched = [&] {
        return db
            .execAndGet(
                "SELECT group_concat(id || queue || hex(task) || attempts || crashes || claim || "
                "coalesce(claimed_at, '-') || coalesce(wait_until, '-') || coalesce(error, '-'), ';') FROM "
                "backlite_tasks WHERE queue <> 'good'")
            .getString();
    };
    const std::string before = untouched();
    client.start();
    for (int n = 0; n < 20; ++n) (void)client.add(Good{{n}}).save();
    CHECK(seen.wait_for(20));
    CHECK(client.stop(20s));
    CHECK(untouched() == before);
    const backlite::TaskCounts counts = client.counts();
    REQUIRE(counts.size() == 4);
    CHECK(counts[0].queue.empty());
    CHECK(counts[1].queue == "GOOD");
    CHECK(counts[2].queue == "good ");
    CHECK(counts[3].queue == "theirs");
    CHECK(counts[3].waiting == 1);
    CHECK(counts[3].scheduled == 1);
    CHECK(counts[3].running == 0);
    REQUIRE(counts[3].oldest_due);
    CHECK(backlite_test::row_ms(*counts[3].oldest_due) == 1);
}

TEST_CASE("Unregistered: its tasks run once a client has registered the queue") {
    Events<int> seen;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client first{{.database = file}};
    first.start();
    const TaskId id = first.add(Good{{7}}).save().at(0);
    CHECK(first.status(id) == TaskStatus::pending);
    Client second{{.database = file}};
    second.register_queue<Good>([&](const Good& task) { seen.add(task.n); });
    second.start();
    CHECK(seen.wait_for(1));
    CHECK(second.stop(20s));
    CHECK(first.stop(20s));
    CHECK(seen.all() == std::vector<int>{7});
}

}  // namespace
