// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/error.hpp>
#include <backlite/platform/process.hpp>
#include <backlite/store/sqlite/owner_lock.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <tiny_disk.hpp>

namespace {

using namespace backlite;
using backlite_test::Channel;
using backlite_test::in_child;
using backlite_test::kill_and_wait;
using backlite_test::start_child;
using backlite_test::TinyDisk;
using store::sqlite::OwnerLock;
using store::sqlite::RecordState;
using store::sqlite::RecordView;
using store::sqlite::WorkerRecord;
namespace fs = std::filesystem;

constexpr std::uint64_t hash_a = store::sqlite::hash_id("a");
constexpr std::uint64_t hash_b = store::sqlite::hash_id("b");

// A folder with a file that stands for the database: an OwnerLock never looks into it.
class Folder {
public:
    Folder() {
        if (::mkdtemp(name_.data()) == nullptr) std::abort();
        std::ofstream(database()) << "a database";
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(name_, ignored);
    }

    [[nodiscard]] std::string name() const { return name_; }
    [[nodiscard]] std::string database() const { return name_ + "/app.db"; }
    [[nodiscard]] std::string side_file() const { return database() + "-backlite"; }

private:
    std::string name_ = (fs::temp_directory_path() / "backlite-owner-XXXXXX").string();
};

std::string content_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What the exception of this type says that `call` throws; "nothing thrown" if it throws none.
template <class Exception, class Call>
std::string message_of(Call call) {
    try {
        call();
    } catch (const Exception& error) {
        return error.what();
    }
    return "nothing thrown";
}

void overwrite(const std::string& file, const std::string& bytes, long offset = 0) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(offset);
    out << bytes;
}

struct ::stat stat_of(const std::string& file) {
    struct ::stat found {};
    if (::lstat(file.c_str(), &found) != 0) found = {};
    return found;
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
        static_cast<void>(entry);
        ++count;
    }
    return count;
}

// A child that owns slot 3 and has written three records: inside, returned, idle. It lives until it is killed.
class Owner {
public:
    explicit Owner(const Folder& folder) {
        pid_ = start_child([&] {
            channel_.be_child();
            OwnerLock lock(folder.database());
            if (!lock.try_lock(3)) return 1;
            lock.map(3, 3);
            lock.record(0).enter(7, hash_a);
            lock.record(1).enter(8, hash_b);
            lock.record(1).returned();
            lock.record(2).enter(9, hash_b);
            lock.record(2).clear();
            channel_.tell_parent('r');
            static_cast<void>(channel_.await_parent());
            return 0;
        });
        channel_.be_parent();
    }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() { die(); }

    [[nodiscard]] bool ready() const { return channel_.await_child() == 'r'; }
    void die() {
        if (pid_ > 0) kill_and_wait(pid_);
        pid_ = -1;
    }

private:
    Channel channel_{};
    pid_t pid_ = -1;
};

// ---- locks ----------------------------------------------------------------------------------------------------------

TEST_CASE("OwnerLock: two in one process see each other's lock") {
    const Folder folder;
    OwnerLock one(folder.database());
    OwnerLock other(folder.database());
    CHECK_FALSE(other.held_by_other(5));

    REQUIRE(one.try_lock(5));
    CHECK(other.held_by_other(5));
    CHECK_FALSE(other.try_lock(5));
    CHECK_FALSE(one.held_by_other(5));
}

TEST_CASE("OwnerLock: slots are locked apart") {
    const Folder folder;
    OwnerLock one(folder.database());
    OwnerLock other(folder.database());
    REQUIRE(one.try_lock(5));
    CHECK(other.try_lock(4));
    CHECK(other.try_lock(6));
    CHECK(other.try_lock(0));
    CHECK(other.try_lock(OwnerLock::max_slots - 1));
}

TEST_CASE("OwnerLock: an unlocked slot is free for others, the rest stays") {
    const Folder folder;
    OwnerLock one(folder.database());
    OwnerLock other(folder.database());
    REQUIRE(one.try_lock(5));
    REQUIRE(one.try_lock(6));
    one.unlock(5);
    CHECK(other.try_lock(5));
    CHECK_FALSE(other.try_lock(6));
}

TEST_CASE("OwnerLock: a slot that does not exist is a ConfigError naming it") {
    const Folder folder;
    OwnerLock lock(folder.database());
    CHECK_THROWS_AS(lock.try_lock(OwnerLock::max_slots), ConfigError);
    CHECK_THROWS_AS(lock.held_by_other(OwnerLock::max_slots), ConfigError);
    CHECK_THROWS_AS(lock.map(OwnerLock::max_slots, 1), ConfigError);
    CHECK_THROWS_AS(lock.read_records(OwnerLock::max_slots, 1), ConfigError);
    lock.unlock(OwnerLock::max_slots);
    CHECK(contains(message_of<ConfigError>([&] { static_cast<void>(lock.try_lock(123'456)); }), "123456"));
}

// ---- death ----------------------------------------------------------------------------------------------------------

TEST_CASE("OwnerLock: the lock of another process is seen while it lives and free as soon as it was killed") {
    const Folder folder;
    OwnerLock lock(folder.database());
    Owner owner(folder);
    REQUIRE(owner.ready());
    CHECK(lock.held_by_other(3));
    CHECK_FALSE(lock.try_lock(3));
    owner.die();
    CHECK_FALSE(lock.held_by_other(3));
    CHECK(lock.try_lock(3));
}

TEST_CASE("OwnerLock: the records of a killed process stay readable") {
    const Folder folder;
    const OwnerLock lock(folder.database());
    Owner owner(folder);
    REQUIRE(owner.ready());
    owner.die();
    const std::vector<RecordView> expected{
        {7, hash_a, RecordState::inside}, {8, hash_b, RecordState::returned}, RecordView{}};
    CHECK(lock.read_records(3, 3) == expected);
}

TEST_CASE("OwnerLock: the records of a killed process stay readable to one that opens the file later") {
    const Folder folder;
    {
        Owner owner(folder);
        REQUIRE(owner.ready());
    }
    const OwnerLock lock(folder.database());
    CHECK(lock.read_records(3, 1).at(0) == RecordView{7, hash_a, RecordState::inside});
}

TEST_CASE("OwnerLock: every call in a forked child throws ForkError") {
    const Folder folder;
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(3));
    const int refused = in_child([&] {
        int count = 0;
        const auto call = [&count](auto&& function) {
            try {
                function();
            } catch (const ForkError&) {
                ++count;
            }
        };
        call([&] { static_cast<void>(lock.trusted("00000000000000000000000000000000")); });
        call([&] { static_cast<void>(lock.initialise()); });
        call([&] { static_cast<void>(lock.in_place()); });
        call([&] { static_cast<void>(lock.try_lock(4)); });
        call([&] { static_cast<void>(lock.held_by_other(4)); });
        call([&] { lock.map(3, 1); });
        call([&] { static_cast<void>(lock.read_records(3, 1)); });
        lock.unlock(3);
        return count;
    });
    CHECK(refused == 7);
}

TEST_CASE("OwnerLock: its end in a forked child leaves lock and records to the parent") {
    const Folder folder;
    auto lock = std::make_unique<OwnerLock>(folder.database());
    REQUIRE(lock->try_lock(3));
    lock->map(3, 1);
    lock->record(0).enter(7, hash_a);
    CHECK(in_child([&] {
              lock->unlock(3);
              lock->unmap();
              lock.reset();
              return 0;
          }) == 0);

    const OwnerLock other(folder.database());
    CHECK(other.held_by_other(3));
    lock->record(0).returned();
    CHECK(other.read_records(3, 1).at(0) == RecordView{7, hash_a, RecordState::returned});
}

// ---- records --------------------------------------------------------------------------------------------------------

TEST_CASE("hash_id: is FNV-1a with 64 bits") {
    CHECK(store::sqlite::hash_id("") == 0xcbf29ce484222325U);
    CHECK(store::sqlite::hash_id("a") == 0xaf63dc4c8601ec8cU);
    CHECK(store::sqlite::hash_id("foobar") == 0x85944171f73967e8U);
    CHECK(store::sqlite::hash_id("\xff") == 0xaf64724c8602eb6eU);  // a byte above 127 is not negative
}

TEST_CASE("WorkerRecord: says where the worker stands, to every reader of the file") {
    const Folder folder;
    OwnerLock owner(folder.database());
    const OwnerLock reader(folder.database());
    REQUIRE(owner.try_lock(2));
    owner.map(2, 2);
    CHECK(reader.read_records(2, 2) == std::vector<RecordView>(2));

    owner.record(1).enter(41, hash_a);
    CHECK(reader.read_records(2, 2) == std::vector<RecordView>{{}, {41, hash_a, RecordState::inside}});
    owner.record(1).returned();
    CHECK(reader.read_records(2, 2) == std::vector<RecordView>{{}, {41, hash_a, RecordState::returned}});
    owner.record(1).clear();
    CHECK(reader.read_records(2, 2) == std::vector<RecordView>(2));
}

TEST_CASE("WorkerRecord: no instruction of enter shows a state beside the claim of another task") {
    const Folder folder;
    const OwnerLock reader(folder.database());
    const pid_t pid = start_child([&] {
        OwnerLock lock(folder.database());
        if (!lock.try_lock(1)) return 1;
        lock.map(1, 1);
        WorkerRecord& record = lock.record(0);
        if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 77;
        ::raise(SIGSTOP);
        record.enter(1, hash_a);
        record.returned();
        record.enter(2, hash_b);
        record.returned();
        record.enter(1, hash_a);
        ::_exit(0);
    });

    const std::vector<RecordView> allowed{RecordView{},
                                          {1, hash_a, RecordState::inside},
                                          {1, hash_a, RecordState::returned},
                                          {2, hash_b, RecordState::inside},
                                          {2, hash_b, RecordState::returned}};
    std::vector<RecordView> seen;
    int status = 0;
    while (::waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        const RecordView now = reader.read_records(1, 1).at(0);
        if (seen.empty() || seen.back() != now) seen.push_back(now);
        if (::ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) != 0) ::kill(pid, SIGKILL);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        WARN("skipped: this process may not trace its children");
        return;
    }
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    const std::vector<RecordView> expected{allowed[0], allowed[1], allowed[2], allowed[0],
                                           allowed[3], allowed[4], allowed[0], allowed[1]};
    CHECK(seen == expected);
}

TEST_CASE("OwnerLock: records lie 64 bytes apart and slots 64 KiB, after a header of 64 KiB") {
    const Folder folder;
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(2));
    lock.map(2, OwnerLock::max_workers);
    lock.record(0).enter(0x0102030405060708U, hash_a);
    lock.record(OwnerLock::max_workers - 1).enter(9, hash_b);
    const std::string bytes = content_of(folder.side_file());
    REQUIRE(bytes.size() == 4 * 65536);
    const auto word = [&bytes](std::size_t at) {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        return value;
    };
    CHECK(word(3 * 65536) == 0x0102030405060708U);
    CHECK(word(3 * 65536 + 8) == hash_a);
    CHECK(word(3 * 65536 + 16) == 1);
    CHECK(word(4 * 65536 - 64) == 9);
}

TEST_CASE("OwnerLock: map wipes the records of the slot's former owner") {
    const Folder folder;
    {
        Owner owner(folder);
        REQUIRE(owner.ready());
    }
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(3));
    lock.map(3, 2);
    CHECK(lock.read_records(3, 3) == std::vector<RecordView>(3));
}

TEST_CASE("OwnerLock: map leaves the neighbours' records alone") {
    const Folder folder;
    Owner owner(folder);  // slot 3
    REQUIRE(owner.ready());
    OwnerLock lock(folder.database());
    for (const unsigned slot : {2U, 4U}) {
        REQUIRE(lock.try_lock(slot));
        lock.map(slot, OwnerLock::max_workers);
        for (unsigned i = 0; i < OwnerLock::max_workers; ++i) lock.record(i).enter(1, hash_a);
    }
    CHECK(lock.read_records(3, 2) ==
          std::vector<RecordView>{{7, hash_a, RecordState::inside}, {8, hash_b, RecordState::returned}});
}

TEST_CASE("OwnerLock: a file too short for a record reads as idle") {
    const Folder folder;
    const OwnerLock lock(folder.database());
    CHECK(lock.read_records(9, 5) == std::vector<RecordView>(5));
    {
        Owner owner(folder);
        REQUIRE(owner.ready());
    }
    REQUIRE(::truncate(folder.side_file().c_str(), 4 * 65536 + 100) == 0);  // in the middle of the second record
    CHECK(lock.read_records(3, 3) == std::vector<RecordView>{{7, hash_a, RecordState::inside}, {}, {}});
}

TEST_CASE("OwnerLock: a state without a name reads as idle, and no row makes it read past a region") {
    const Folder folder;
    const OwnerLock lock(folder.database());
    fs::resize_file(folder.side_file(), 3 * 65536);
    overwrite(folder.side_file(), std::string(65536, 'x'), 65536);
    CHECK(lock.read_records(0, 2) == std::vector<RecordView>(2));
    CHECK(lock.read_records(0, 0).empty());
    CHECK(lock.read_records(0, 4'000'000'000U).size() == OwnerLock::max_workers);
}

TEST_CASE("OwnerLock: no workers or too many of them are a ConfigError naming the number") {
    const Folder folder;
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(0));
    const std::string message = message_of<ConfigError>([&] { lock.map(0, 1025); });
    CHECK(message == "num_workers is 1025, but a client has from 1 to 1024 workers");
    CHECK_THROWS_AS(lock.map(0, 0), ConfigError);
    CHECK_NOTHROW(lock.map(0, 1024));
}

// ---- the header -----------------------------------------------------------------------------------------------------

TEST_CASE("OwnerLock: a new file is not trusted, an initialised one is, by those who know its id") {
    const Folder folder;
    OwnerLock lock(folder.database());
    CHECK_FALSE(lock.trusted(""));
    CHECK_FALSE(lock.trusted(std::string(32, '0')));

    const std::string id = lock.initialise();
    CHECK(lock.trusted(id));
    const OwnerLock other(folder.database());
    CHECK(other.trusted(id));
    CHECK_FALSE(other.trusted(std::string(32, '0')));
    CHECK_FALSE(other.trusted(""));
    CHECK_FALSE(other.trusted(id.substr(1)));
    CHECK_FALSE(other.trusted(id + "0"));
}

TEST_CASE("OwnerLock: each initialisation makes another id of 32 hexadecimal digits") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string first = lock.initialise();
    const std::string second = lock.initialise();
    CHECK(first != second);
    CHECK(first.size() == 32);
    CHECK(first.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK_FALSE(lock.trusted(first));
    CHECK(lock.trusted(second));
}

TEST_CASE("OwnerLock: initialise keeps the length of the file and the records of the living") {
    const Folder folder;
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(1));
    lock.map(1, 1);
    lock.record(0).enter(7, hash_a);
    const auto size = fs::file_size(folder.side_file());
    static_cast<void>(lock.initialise());
    CHECK(fs::file_size(folder.side_file()) == size);
    CHECK(lock.read_records(1, 1).at(0).claim == 7);
}

TEST_CASE("OwnerLock: a header of another boot is not trusted") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    std::string bytes = content_of(folder.side_file());
    const std::size_t at = bytes.find(platform::boot_id());
    REQUIRE(at != std::string::npos);
    bytes[at] = bytes[at] == '0' ? '1' : '0';
    overwrite(folder.side_file(), bytes);
    CHECK_FALSE(lock.trusted(id));
}

TEST_CASE("OwnerLock: a header of which any byte differs is not trusted") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    const std::string good = content_of(folder.side_file());
    int believed = 0;
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 1);
        overwrite(folder.side_file(), bad);
        believed += lock.trusted(id) ? 1 : 0;
    }
    CHECK(believed == 0);
    overwrite(folder.side_file(), good);
    CHECK(lock.trusted(id));
}

TEST_CASE("OwnerLock: a header cut short is not trusted, wherever it ends") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    int believed = 0;
    for (std::uintmax_t size = fs::file_size(folder.side_file()); size-- > 0;) {
        fs::resize_file(folder.side_file(), size);
        believed += lock.trusted(id) ? 1 : 0;
    }
    CHECK(believed == 0);
}

TEST_CASE("OwnerLock: a file of garbage is not trusted, and initialise heals it") {
    const Folder folder;
    std::ofstream(folder.side_file()) << std::string(200'000, '\xff');
    OwnerLock lock(folder.database());
    CHECK_FALSE(lock.trusted(std::string(32, '\xff')));
    CHECK(lock.trusted(lock.initialise()));
}

TEST_CASE("OwnerLock: a file copied along with its database is not trusted, the original still is") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    const Folder elsewhere;
    fs::copy_file(folder.side_file(), elsewhere.side_file());
    const OwnerLock copy(elsewhere.database());
    CHECK_FALSE(copy.trusted(id));
    CHECK(lock.trusted(id));
}

TEST_CASE("OwnerLock: a file moved along with its database stays trusted") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    fs::rename(folder.database(), folder.name() + "/moved.db");
    fs::rename(folder.side_file(), folder.name() + "/moved.db-backlite");
    const OwnerLock moved(folder.name() + "/moved.db");
    CHECK(moved.trusted(id));
}

TEST_CASE("OwnerLock: a file replaced by its copy is not trusted, and its owner can tell") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    CHECK(lock.in_place());
    fs::copy_file(folder.side_file(), folder.name() + "/copy");
    fs::rename(folder.name() + "/copy", folder.side_file());
    const OwnerLock other(folder.database());
    CHECK_FALSE(other.trusted(id));
    CHECK(other.in_place());
    CHECK_FALSE(lock.in_place());
}

TEST_CASE("OwnerLock: a deleted file is made anew, is not trusted, and the old owner can tell") {
    const Folder folder;
    OwnerLock lock(folder.database());
    const std::string id = lock.initialise();
    fs::remove(folder.side_file());
    CHECK_FALSE(lock.in_place());
    const OwnerLock other(folder.database());
    CHECK_FALSE(other.trusted(id));
    CHECK_FALSE(lock.in_place());
}

TEST_CASE("OwnerLock: a restored file is not trusted although it got the inode number of the lost one") {
    const Folder folder;
    std::string id;
    std::string bytes;
    {
        OwnerLock lock(folder.database());
        id = lock.initialise();
        bytes = content_of(folder.side_file());
    }
    const struct ::stat before = stat_of(folder.side_file());
    // Birth times are as coarse as the kernel's clock: let it tick.
    struct ::timespec start {};
    struct ::timespec now {};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &start);
    do {
        ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);

    fs::remove(folder.side_file());
    std::ofstream(folder.side_file(), std::ios::binary) << bytes;
    if (stat_of(folder.side_file()).st_ino != before.st_ino) {
        WARN("this file system gave the new file another inode number, so that the birth time was not needed");
    }
    const OwnerLock lock(folder.database());
    CHECK_FALSE(lock.trusted(id));
}

TEST_CASE("OwnerLock: the header says when its file was made, to the nanosecond") {
    const Folder folder;
    OwnerLock lock(folder.database());
    static_cast<void>(lock.initialise());
    struct ::statx made {};
    REQUIRE(::statx(AT_FDCWD, folder.side_file().c_str(), 0, STATX_BTIME, &made) == 0);
    if ((made.stx_mask & STATX_BTIME) == 0) {
        WARN("NOT TESTED: this file system does not keep the time");
        return;
    }
    const std::string fraction = std::to_string(1'000'000'000U + made.stx_btime.tv_nsec).substr(1);
    const std::string line = "\nbirth " + std::to_string(made.stx_btime.tv_sec) + '.' + fraction + '\n';
    CHECK(content_of(folder.side_file()).find(line) != std::string::npos);
}

// ---- the file -------------------------------------------------------------------------------------------------------

TEST_CASE("OwnerLock: the file lies beside the database and stays when the last client goes") {
    const Folder folder;
    { CHECK(OwnerLock(folder.database()).path() == folder.side_file()); }
    CHECK(fs::is_regular_file(folder.side_file()));
}

TEST_CASE("OwnerLock: the file gets the database's mode, whatever the umask") {
    const Folder folder;
    const ::mode_t before = ::umask(0077);
    for (const ::mode_t mode : {0600U, 0640U, 0664U, 0666U}) {
        fs::remove(folder.side_file());
        REQUIRE(::chmod(folder.database().c_str(), mode) == 0);
        const OwnerLock lock(folder.database());
        CHECK((stat_of(folder.side_file()).st_mode & 07777) == mode);
    }
    ::umask(before);
}

TEST_CASE("OwnerLock: a file that is there follows the database's mode") {
    const Folder folder;
    { const OwnerLock lock(folder.database()); }
    REQUIRE(::chmod(folder.database().c_str(), 0660) == 0);
    const OwnerLock lock(folder.database());
    CHECK((stat_of(folder.side_file()).st_mode & 07777) == 0660);
}

TEST_CASE("OwnerLock: the file gets the database's owner and group") {
    const Folder folder;
    if (::chown(folder.database().c_str(), 12'345, 23'456) != 0) {
        WARN("skipped: this process may not give files away");
        return;
    }
    const OwnerLock lock(folder.database());
    const struct ::stat found = stat_of(folder.side_file());
    CHECK(found.st_uid == 12'345);
    CHECK(found.st_gid == 23'456);
}

TEST_CASE("OwnerLock: the locks that others hold on the database and its files stay") {
    // Classic locks, as SQLite's, go when the process closes any descriptor of the file.
    const Folder folder;
    const std::array<std::string, 3> names{folder.database(), folder.database() + "-wal", folder.database() + "-shm"};
    std::array<int, 3> files{};
    struct ::flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    for (std::size_t i = 0; i < names.size(); ++i) {
        files[i] = ::open(names[i].c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        REQUIRE(files[i] >= 0);
        REQUIRE(::fcntl(files[i], F_SETLK, &whole) == 0);
    }
    {
        OwnerLock lock(folder.database());
        REQUIRE(lock.try_lock(0));
        REQUIRE(lock.trusted(lock.initialise()));
        lock.map(0, 1);
    }
    const int held = in_child([&] {
        int count = 0;
        for (const int file : files) {
            struct ::flock probe = whole;
            if (::fcntl(file, F_GETLK, &probe) == 0 && probe.l_type != F_UNLCK) ++count;
        }
        return count;
    });
    CHECK(held == 3);
    for (const int file : files) ::close(file);
}

TEST_CASE("OwnerLock: a database that does not exist is a StorageError and makes no file") {
    const Folder folder;
    fs::remove(folder.database());
    CHECK_THROWS_AS(OwnerLock(folder.database()), StorageError);
    CHECK_FALSE(fs::exists(folder.side_file()));
}

TEST_CASE("OwnerLock: a symbolic link in the file's place is refused and its target left alone") {
    const Folder folder;
    const std::string target = folder.name() + "/target";
    std::ofstream(target) << "precious";
    fs::create_symlink(target, folder.side_file());
    const struct ::stat before = stat_of(target);
    REQUIRE(::chmod(folder.database().c_str(), 0666) == 0);
    CHECK_THROWS_AS(OwnerLock(folder.database()), StorageError);
    CHECK(content_of(target) == "precious");
    CHECK(stat_of(target).st_mode == before.st_mode);
}

TEST_CASE("OwnerLock: a link to nowhere in the file's place is refused and nothing is made") {
    const Folder folder;
    fs::create_symlink(folder.name() + "/nowhere", folder.side_file());
    CHECK_THROWS_AS(OwnerLock(folder.database()), StorageError);
    CHECK_FALSE(fs::exists(folder.name() + "/nowhere"));
}

TEST_CASE("OwnerLock: a folder or a pipe in the file's place is refused") {
    const Folder folder;
    fs::create_directory(folder.side_file());
    CHECK_THROWS_AS(OwnerLock(folder.database()), StorageError);
    fs::remove(folder.side_file());
    REQUIRE(::mkfifo(folder.side_file().c_str(), 0600) == 0);
    CHECK_THROWS_AS(OwnerLock(folder.database()), StorageError);
}

TEST_CASE("OwnerLock: an error names the file, the reason and SQLite's code") {
    const Folder folder;
    fs::create_directory(folder.side_file());
    try {
        const OwnerLock lock(folder.database());
        FAIL("opened a folder");
    } catch (const StorageError& error) {
        CHECK(contains(error.what(), folder.side_file()));
        CHECK(contains(error.what(), "directory"));
        CHECK(error.extended_code() == SQLITE_CANTOPEN);
        CHECK(error.added() == Added::no);
    }
}

TEST_CASE("OwnerLock: the file stays small when a high slot is used") {
    const Folder folder;
    OwnerLock lock(folder.database());
    REQUIRE(lock.try_lock(OwnerLock::max_slots - 1));
    lock.map(OwnerLock::max_slots - 1, 8);
    CHECK(stat_of(folder.side_file()).st_blocks * 512 <= 64 * 1024);
}

TEST_CASE("OwnerLock: a thousand rounds leave no descriptor and no mapping behind") {
    const Folder folder;
    const auto mappings = [&folder] {
        std::ifstream in("/proc/self/maps");
        int count = 0;
        for (std::string line; std::getline(in, line);) count += contains(line, folder.name()) ? 1 : 0;
        return count;
    };
    const std::size_t before = open_descriptors();
    for (unsigned round = 0; round < 1000; ++round) {
        OwnerLock lock(folder.database());
        REQUIRE(lock.try_lock(round % 7));
        REQUIRE(lock.trusted(lock.initialise()));
        lock.map(round % 7, 4);
        lock.map(round % 7, 8);  // a second one replaces the first
        lock.record(7).enter(round, hash_a);
    }
    CHECK(open_descriptors() == before);
    CHECK(mappings() == 0);
}

// ---- full disk ------------------------------------------------------------------------------------------------------

std::string database_on(const TinyDisk& disk) {
    std::string name = disk.folder().file("app.db");
    std::ofstream(name) << "a database";
    return name;
}

TEST_CASE("OwnerLock: on a full disk initialise is a FullError, and works once there is room") {
    const TinyDisk disk;
    if (!disk.mounted()) {
        WARN("skipped: this process may not mount a small file system");
        return;
    }
    OwnerLock lock(database_on(disk));
    disk.fill();
    CHECK_THROWS_AS(lock.initialise(), FullError);
    fs::remove(disk.ballast());
    CHECK(lock.trusted(lock.initialise()));
}

TEST_CASE("OwnerLock: on a full disk map is a FullError with SQLite's code, and works once there is room") {
    const TinyDisk disk;
    if (!disk.mounted()) {
        WARN("skipped: this process may not mount a small file system");
        return;
    }
    CHECK(in_child([&disk] {  // the fault would be a SIGBUS
              OwnerLock lock(database_on(disk));
              if (!lock.try_lock(0)) return 1;
              disk.fill();
              try {
                  lock.map(0, 1024);
                  return 2;
              } catch (const FullError& error) {
                  if (error.extended_code() != SQLITE_FULL) return 3;
              }
              fs::remove(disk.ballast());
              lock.map(0, 1024);
              return 0;
          }) == 0);
}

TEST_CASE("OwnerLock: a record can be written again after the file was cut short and keep_room was called") {
    const Folder folder;
    CHECK(in_child([&folder] {  // the fault would be a SIGBUS
              OwnerLock lock(folder.database());
              if (!lock.try_lock(3)) return 1;
              lock.keep_room();  // nothing is mapped yet
              lock.map(3, 2);
              lock.record(1).enter(7, hash_a);
              lock.keep_room();
              if (lock.read_records(3, 2)[1].claim != 7) return 2;
              if (::truncate(folder.side_file().c_str(), 0) != 0) return 3;
              lock.keep_room();
              lock.record(1).enter(8, hash_a);
              return lock.read_records(3, 2)[1].claim == 8 ? 0 : 4;
          }) == 0);
}

}  // namespace
