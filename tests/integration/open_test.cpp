// SPDX-License-Identifier: MIT
// How a client opens its file, what it makes beside it, what survives a power cut, and what is left at the end.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <message_of.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::ClientConfig;
using backlite::ConfigError;
using backlite::Durability;
using backlite::QueueConfig;
using backlite::StorageError;
using backlite::TaskId;
using backlite::TaskStatus;
using backlite_test::contains;
using backlite_test::Events;
using backlite_test::message_of;
using backlite_test::TempFolder;

struct Job {
    int n = 0;
    static QueueConfig config() { return {.name = "job"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Job, n)

int number(const std::string& file, const char* sql) {
    SQLite::Database db(file, SQLite::OPEN_READWRITE, 10'000);
    return db.execAndGet(sql).getInt();
}

unsigned mode_of(const std::string& file) {
    struct stat status {};
    return ::stat(file.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
}

std::set<std::string> files_in(const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.insert(entry.path().filename().string());
    return names;
}

// The umask for a scope.
class Umask {
public:
    explicit Umask(mode_t mask) : before_(::umask(mask)) {}
    Umask(const Umask&) = delete;
    Umask& operator=(const Umask&) = delete;
    ~Umask() { ::umask(before_); }

private:
    mode_t before_;
};

// The working folder for a scope.
class WorkingFolder {
public:
    explicit WorkingFolder(const std::string& folder) : before_(std::filesystem::current_path()) {
        std::filesystem::current_path(folder);
    }
    WorkingFolder(const WorkingFolder&) = delete;
    WorkingFolder& operator=(const WorkingFolder&) = delete;
    ~WorkingFolder() { std::filesystem::current_path(before_); }

private:
    std::filesystem::path before_;
};

// The system's VFS under another name. It hands everything on, counts what is opened, and remembers what each file
// held when it was last synced: all that a power cut is sure to leave.
class PassingVfs {
public:
    PassingVfs() : below_(sqlite3_vfs_find(nullptr)), own_(*below_) {
        own_.zName = name;
        own_.pNext = nullptr;
        own_.pAppData = this;
        own_.szOsFile = below_->szOsFile + static_cast<int>(sizeof(Handle));
        own_.xOpen = &open;
        own_.xDelete = &remove;
        sqlite3_vfs_register(&own_, 0);
    }
    PassingVfs(const PassingVfs&) = delete;
    PassingVfs& operator=(const PassingVfs&) = delete;
    ~PassingVfs() { sqlite3_vfs_unregister(&own_); }

    static constexpr const char* name = "backlite-passing";

    [[nodiscard]] int databases_opened() const { return databases_; }
    [[nodiscard]] int logs_opened() const { return logs_; }

    // Puts what would be left into a folder.
    void cut_power(const std::string& folder) {
        const std::lock_guard lock(mutex_);
        for (const auto& [path, content] : synced_) {
            const std::string copy = folder + '/' + std::filesystem::path(path).filename().string();
            std::ofstream(copy, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
        }
    }

private:
    // SQLite gives each file one block of memory: this, and the lower VFS's own behind it.
    struct Handle {
        sqlite3_file base;
        PassingVfs* vfs;
        const char* path;  // SQLite keeps it while the file is open
        sqlite3_io_methods methods;
    };

    static Handle* handle(sqlite3_file* file) { return reinterpret_cast<Handle*>(file); }
    static sqlite3_file* lower(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(handle(file) + 1); }

    static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
        auto* self = static_cast<PassingVfs*>(vfs->pAppData);
        std::memset(file, 0, sizeof(Handle));
        const int code = self->below_->xOpen(self->below_, path, lower(file), flags, out);
        if (lower(file)->pMethods == nullptr) return code;
        if ((flags & SQLITE_OPEN_MAIN_DB) != 0) ++self->databases_;
        if ((flags & SQLITE_OPEN_WAL) != 0) ++self->logs_;
        handle(file)->vfs = self;
        handle(file)->path = path;
        fill(handle(file)->methods, lower(file)->pMethods->iVersion);
        file->pMethods = &handle(file)->methods;
        return code;
    }

    static int remove(sqlite3_vfs* vfs, const char* path, int sync) {
        auto* self = static_cast<PassingVfs*>(vfs->pAppData);
        {
            const std::lock_guard lock(self->mutex_);
            self->synced_.erase(path);
        }
        return self->below_->xDelete(self->below_, path, sync);
    }

    void remember(sqlite3_file* file) {
        if (handle(file)->path == nullptr) return;  // a temporary one
        sqlite3_int64 size = 0;
        lower(file)->pMethods->xFileSize(lower(file), &size);
        std::string content(static_cast<std::size_t>(size), '\0');
        lower(file)->pMethods->xRead(lower(file), content.data(), static_cast<int>(size), 0);
        const std::lock_guard lock(mutex_);
        synced_[handle(file)->path] = std::move(content);
    }

    // Calls a method of the file below with the same arguments.
    template <auto method, class... Arguments>
    static int pass(sqlite3_file* file, Arguments... arguments) {
        return (lower(file)->pMethods->*method)(lower(file), arguments...);
    }

    static void fill(sqlite3_io_methods& to, int version) {
        using Methods = sqlite3_io_methods;
        to.iVersion = version;
        to.xClose = &pass<&Methods::xClose>;
        to.xRead = &pass<&Methods::xRead, void*, int, sqlite3_int64>;
        to.xWrite = &pass<&Methods::xWrite, const void*, int, sqlite3_int64>;
        to.xTruncate = &pass<&Methods::xTruncate, sqlite3_int64>;
        to.xSync = [](sqlite3_file* file, int flags) {
            const int code = pass<&Methods::xSync>(file, flags);
            if (code == SQLITE_OK) handle(file)->vfs->remember(file);
            return code;
        };
        to.xFileSize = &pass<&Methods::xFileSize, sqlite3_int64*>;
        to.xLock = &pass<&Methods::xLock, int>;
        to.xUnlock = &pass<&Methods::xUnlock, int>;
        to.xCheckReservedLock = &pass<&Methods::xCheckReservedLock, int*>;
        to.xFileControl = &pass<&Methods::xFileControl, int, void*>;
        to.xSectorSize = &pass<&Methods::xSectorSize>;
        to.xDeviceCharacteristics = &pass<&Methods::xDeviceCharacteristics>;
        to.xShmMap = &pass<&Methods::xShmMap, int, int, int, volatile void**>;
        to.xShmLock = &pass<&Methods::xShmLock, int, int, int>;
        to.xShmBarrier = [](sqlite3_file* file) { lower(file)->pMethods->xShmBarrier(lower(file)); };
        to.xShmUnmap = &pass<&Methods::xShmUnmap, int>;
        to.xFetch = &pass<&Methods::xFetch, sqlite3_int64, int, void**>;
        to.xUnfetch = &pass<&Methods::xUnfetch, sqlite3_int64, void*>;
    }

    sqlite3_vfs* below_;
    sqlite3_vfs own_;
    std::atomic<int> databases_{0};
    std::atomic<int> logs_{0};
    std::mutex mutex_{};
    // guarded by mutex_
    std::map<std::string, std::string> synced_{};
};

SQLite::Database open_through(const std::string& file) {
    return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, PassingVfs::name);
}

// Runs some tasks from start to stop.
void use(Client& client, int tasks) {
    Events<int> seen;
    client.register_queue<Job>([&](const Job& job) { seen.add(job.n); });
    client.start();
    for (int n = 0; n < tasks; ++n) (void)client.add(Job{n}).save();
    CHECK(seen.wait_for(static_cast<std::size_t>(tasks)));
    CHECK(client.stop(20s));
    CHECK(client.counts().empty());
}

// ClientConfig::open.

TEST_CASE("open: is called once for each connection") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    std::atomic<int> calls{0};
    Client client{{.database = file, .open = [&] {
                       ++calls;
                       return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
                   }}};
    client.register_queue<Job>([](const Job&) {});
    CHECK(calls == 1);  // for writing
    CHECK(client.counts().empty());
    CHECK(calls == 2);  // for reading, at the first look
    for (int round = 0; round < 3; ++round) {
        client.start();
        (void)client.add(Job{}).save();
        (void)client.status(TaskId::from_text("x"));
        CHECK(client.stop(20s));
    }
    CHECK(calls == 2);
}

TEST_CASE("open: may bring a VFS of its own, and nothing goes past it") {
    PassingVfs vfs;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    {
        Client client{{.database = file, .open = [&] { return open_through(file); }}};
        use(client, 20);
    }
    CHECK(vfs.databases_opened() == 3);  // one of them looks whether the cache is shared
    CHECK(vfs.logs_opened() >= 1);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks") == 0);
}

TEST_CASE("open: may set pragmas and make the file as the host wants it") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    {
        Client client{{.database = file, .open = [&] {
                           SQLite::Database db(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
                           db.exec("PRAGMA page_size=8192; PRAGMA auto_vacuum=FULL; PRAGMA cache_size=-4000");
                           return db;
                       }}};
        use(client, 3);
    }
    CHECK(number(file, "PRAGMA page_size") == 8192);
    CHECK(number(file, "PRAGMA auto_vacuum") == 1);
}

TEST_CASE("open: what it throws is a StorageError if SQLite's, and passes otherwise, and the next call works") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    int calls = 0;
    const auto open = [&]() -> SQLite::Database {
        switch (++calls) {
            case 1: throw std::runtime_error("no key");
            case 2: throw 42;
            case 4: return SQLite::Database(folder.file("missing/x.db"), SQLite::OPEN_READWRITE);
            default: return SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        }
    };
    const auto opened = [&] { return std::make_unique<Client>(ClientConfig{.database = file, .open = open}); };
    CHECK(message_of<std::runtime_error>([&] { (void)opened(); }) == "no key");
    CHECK_THROWS_AS(opened(), int);
    const std::unique_ptr<Client> client = opened();
    CHECK_THROWS_AS((void)client->counts(), StorageError);
    CHECK(client->counts().empty());
    CHECK(calls == 5);
}

TEST_CASE("open: a connection without a file is refused") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    const auto open = [] { return SQLite::Database(":memory:", SQLite::OPEN_READWRITE); };
    CHECK(contains(message_of<ConfigError>([&] { const Client client{{.database = file, .open = open}}; }), file));
}

// Files.

TEST_CASE("Files: a new database is the owner's alone, with everything beside it, whatever the umask") {
    for (const mode_t mask : {mode_t{0}, mode_t{022}, mode_t{077}}) {
        const TempFolder folder;
        const std::string file = folder.file("x.db");
        const Umask umask(mask);
        Client client{{.database = file}};
        client.start();
        (void)client.add(Job{}).save();
        for (const char* suffix : {"", "-wal", "-shm", "-backlite"}) {
            INFO("x.db" << suffix << " with umask " << mask);
            CHECK(mode_of(file + suffix) == 0600);
        }
    }
}

TEST_CASE("Files: many clients that make one new database at once wait for each other") {
    constexpr std::size_t count = 60;
    for (int round = 0; round < 4; ++round) {
        const TempFolder folder;
        const ClientConfig config{.database = folder.file("x.db"), .num_workers = 1, .busy_timeout = 20s};
        std::vector<std::unique_ptr<Client>> clients(count);
        std::vector<std::string> errors(count);
        std::atomic<std::size_t> ready{0};
        {
            std::vector<std::jthread> threads;
            for (std::size_t i = 0; i < count; ++i) {
                threads.emplace_back([&, i] {
                    ++ready;
                    while (ready < count) std::this_thread::yield();
                    try {
                        clients[i] = std::make_unique<Client>(config);
                    } catch (const backlite::Error& error) {
                        errors[i] = error.what();
                    }
                });
            }
        }
        CHECK(std::set<std::string>(errors.begin(), errors.end()) == std::set<std::string>{""});
        CHECK(number(config.database, "PRAGMA auto_vacuum") == 2);
    }
}

TEST_CASE("Files: a database that exists keeps its mode, and what is beside it gets the same") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    { SQLite::Database(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE mine (x)"); }
    REQUIRE(::chmod(file.c_str(), 0664) == 0);
    const Umask umask(022);
    Client client{{.database = file}};
    client.start();
    (void)client.add(Job{}).save();
    for (const char* suffix : {"", "-wal", "-shm", "-backlite"}) {
        INFO("x.db" << suffix);
        CHECK(mode_of(file + suffix) == 0664);
    }
}

TEST_CASE("Files: a database of the host's is turned to WAL, and is otherwise left as it is") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    {
        SQLite::Database db(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        db.exec("PRAGMA page_size=1024; PRAGMA user_version=5; CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
    }
    {
        Client client{{.database = file}};
        use(client, 3);
    }
    SQLite::Database db(file);
    CHECK(db.execAndGet("PRAGMA journal_mode").getString() == "wal");
    CHECK(db.execAndGet("PRAGMA page_size").getInt() == 1024);
    CHECK(db.execAndGet("PRAGMA auto_vacuum").getInt() == 0);
    CHECK(db.execAndGet("PRAGMA user_version").getInt() == 5);
    CHECK(db.execAndGet("SELECT x FROM mine").getInt() == 1);
    CHECK(db.execAndGet("PRAGMA integrity_check").getString() == "ok");
}

TEST_CASE("Files: a new database can give back its free pages") {
    const TempFolder folder;
    { const Client client{{.database = folder.file("x.db")}}; }
    CHECK(number(folder.file("x.db"), "PRAGMA auto_vacuum") == 2);
}

TEST_CASE("Files: a client that is gone leaves the database and the side file, nothing else") {
    const TempFolder folder;
    {
        Client client{{.database = folder.file("x.db")}};
        use(client, 10);
        CHECK(files_in(folder.name()).size() == 4);
    }
    CHECK(files_in(folder.name()) == std::set<std::string>{"x.db", "x.db-backlite"});
}

TEST_CASE("Files: a relative name is the folder's in which the client was opened, wherever the program goes") {
    const TempFolder folder;
    const TempFolder elsewhere;
    for (const char* name : {"x.db", "./y.db", "below/z.db", "link.db"}) {
        INFO(name);
        std::unique_ptr<Client> client;
        std::filesystem::create_directories(folder.file("below"));
        {
            const WorkingFolder here(folder.name());
            if (std::string(name) == "link.db") std::filesystem::create_symlink("x.db", name);
            client = std::make_unique<Client>(ClientConfig{.database = name});
        }
        const WorkingFolder there(elsewhere.name());
        const TaskId id = client->add(Job{}).save().at(0);
        CHECK(client->status(id) == TaskStatus::pending);
        client->install();
        client->start();
        CHECK(client->stop(20s));
        CHECK(std::filesystem::is_empty(elsewhere.name()));
    }
}

TEST_CASE("Files: a symbolic link leads to one file, one log and one side file") {
    const TempFolder folder;
    std::filesystem::create_directory(folder.file("real"));
    { const Client create{{.database = folder.file("real/x.db")}}; }
    std::filesystem::create_symlink(folder.file("real/x.db"), folder.file("link.db"));
    Events<int> seen;
    Client through_link{{.database = folder.file("link.db"), .num_workers = 1}};
    Client direct{{.database = folder.file("real/x.db"), .num_workers = 1}};
    for (Client* client : {&through_link, &direct}) {
        client->register_queue<Job>([&](const Job& job) { seen.add(job.n); });
        client->start();
    }
    for (int n = 0; n < 20; ++n) (void)(n % 2 == 0 ? through_link : direct).add(Job{n}).save();
    CHECK(seen.wait_for(20));
    CHECK(files_in(folder.name()) == std::set<std::string>{"real", "link.db"});
    CHECK(files_in(folder.file("real")).size() == 4);
    CHECK(through_link.stop(20s));
    CHECK(direct.stop(20s));
    CHECK(seen.count() == 20);
}

// What survives.

// Adds tasks one by one and cuts the power after each; what is found then.
std::vector<int> found_after_cuts(Durability durability, int tasks) {
    PassingVfs vfs;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client client{{.database = file, .durability = durability, .open = [&] {
                       SQLite::Database db = open_through(file);
                       db.exec("PRAGMA wal_autocheckpoint=8");  // so that some of the cuts come after a checkpoint
                       return db;
                   }}};
    std::vector<int> found;
    for (int n = 1; n <= tasks; ++n) {
        (void)client.add(Job{n}).save();
        const TempFolder left;
        vfs.cut_power(left.name());
        SQLite::Database db(left.file("x.db"), SQLite::OPEN_READWRITE);
        CHECK(db.execAndGet("PRAGMA integrity_check").getString() == "ok");
        const bool tables = db.tableExists("backlite_tasks");
        found.push_back(tables ? db.execAndGet("SELECT count(*) FROM backlite_tasks").getInt() : 0);
    }
    return found;
}

TEST_CASE("Durability: with full, every task whose save returned survives a power cut") {
    constexpr int tasks = 40;
    const std::vector<int> found = found_after_cuts(Durability::full, tasks);
    for (int n = 1; n <= tasks; ++n) CHECK(found.at(static_cast<std::size_t>(n) - 1) == n);
}

TEST_CASE("Durability: with process, a power cut may undo the last adds, and damages nothing") {
    constexpr int tasks = 40;
    const std::vector<int> found = found_after_cuts(Durability::process, tasks);
    for (int n = 1; n <= tasks; ++n) CHECK(found.at(static_cast<std::size_t>(n) - 1) <= n);
    CHECK(found.at(0) == 0);  // nothing was synced for it
}

// What is left.

TEST_CASE("Leaves nothing: 100,000 tasks leave no row behind, and a clean stop none of the client") {
    constexpr std::size_t tasks = 100'000;
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    std::atomic<std::size_t> ran{0};
    Events<bool> all;
    Client client{{.database = file, .num_workers = 4, .durability = Durability::process}};
    client.register_queue<Job>([&](const Job&) {
        if (++ran == tasks) all.add(true);
    });
    client.start();
    CHECK(number(file, "SELECT count(*) FROM backlite_clients") == 1);
    CHECK(client.add(std::vector<Job>(tasks)).save().size() == tasks);
    CHECK(all.wait_for(1, 200s));
    CHECK(client.stop(20s));
    CHECK(ran == tasks);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks") == 0);
    CHECK(number(file, "SELECT count(*) FROM backlite_tasks_completed") == 0);
    CHECK(number(file, "SELECT count(*) FROM backlite_clients") == 0);
}

TEST_CASE("Leaves nothing: every started client has a row of its own until it stops") {
    const TempFolder folder;
    const std::string file = folder.file("x.db");
    Client first{{.database = file, .num_workers = 1}};
    Client second{{.database = file, .num_workers = 3}};
    CHECK(number(file, "SELECT count(*) FROM backlite_clients") == 0);
    first.start();
    second.start();
    CHECK(number(file, "SELECT count(DISTINCT slot) FROM backlite_clients") == 2);
    CHECK(number(file, "SELECT sum(workers) FROM backlite_clients") == 4);
    CHECK(first.stop(20s));
    CHECK(number(file, "SELECT workers FROM backlite_clients") == 3);
    CHECK(second.stop(20s));
    CHECK(number(file, "SELECT count(*) FROM backlite_clients") == 0);
}

}  // namespace
