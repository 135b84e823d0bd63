// SPDX-License-Identifier: MIT
// Damaged database files. A sound file of ours, as a client left it that died, is changed where the input says: single
// values in SQLite's own structures, whole pages, bytes anywhere, its length; the write-ahead log and the side file
// likewise. Then a client without threads opens it and works. What it may do: what it would do with a sound file, or
// throw an error that is documented. It must not crash, hang, or go round and round without getting anywhere.
//     CXX=clang++ cmake -C cmake/fuzz.cmake -S . -B build/fuzz -G Ninja && cmake --build build/fuzz
//     tests/fuzz/run 600 file
// The offsets are those of sqlite.org/fileformat2.html.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/Database.h>
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/base/codec.hpp>
#include <backlite/core/id_generator.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <stepped_client.hpp>
#include <temp_folder.hpp>
#include <test_database.hpp>

#include "demand.hpp"

namespace {

using backlite_fuzz::demand;
using backlite_test::SteppedClient;

template <int N>
struct Job {
    std::string text{};
    static backlite::QueueConfig config() {
        backlite::QueueConfig config{.name = N == 0 ? "first" : "second", .max_attempts = 2};
        if (N == 0) config.retention = backlite::Retention{std::chrono::hours{1}, false, backlite::RetainData{}};
        return config;
    }
};
template <int N>
void to_json(nlohmann::json& json, const Job<N>& job) {
    json = {{"text", job.text}};
}
template <int N>
void from_json(const nlohmann::json& json, Job<N>& job) {
    json.at("text").get_to(job.text);
}

constexpr std::size_t page_size = 512;  // the smallest: many pages in a small file
constexpr std::size_t frame_size = 24 + page_size;

struct Rig {
    Rig() {
        queues.add(backlite::Queue<Job<0>>([this](const Job<0>&) { ++runs; }).release());
        queues.add(backlite::Queue<Job<1>>([this](const Job<1>&) { ++runs; }).release());
    }
    [[nodiscard]] backlite::ClientConfig config(const std::string& file) const {
        backlite::ClientConfig config = backlite_test::quick_config(file);
        config.num_workers = SteppedClient::workers;
        config.max_payload = 1 << 16;
        return config;
    }
    backlite::testing::ManualClock clock{};
    backlite::core::QueueRegistry queues{};
    int runs = 0;
};

// ---- the sound file -------------------------------------------------------------------------------------------------

std::string read(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void add(SteppedClient& client, int count, std::size_t size, backlite::detail::Ms wait_until) {
    static backlite::core::IdGenerator& ids = *new backlite::core::IdGenerator;
    std::vector<backlite::detail::NewTask> tasks;
    for (int i = 0; i < count; ++i) {
        const Job<0> job{std::string(size * static_cast<std::size_t>(i), 'x')};
        tasks.push_back(
            {ids.next(client.now()), i % 2 == 0 ? "first" : "second", backlite::detail::encode(job, "first")});
    }
    client.writes().write(
        [&](backlite::store::sqlite::Repository& repository) {
            repository.adds.insert(tasks, client.now(), wait_until);
        },
        {std::chrono::seconds{1}, {}});
}

void run_some(SteppedClient& client, int tasks) {
    client.look();
    for (int i = 0; i < tasks; ++i) {
        client.cycle(client.plan());
        client.run_one();
    }
}

struct Image {
    std::string database{};
    std::string log{};
    std::string side{};
};

// What a client leaves that died with tasks in its hands. `logged`: its last commits are in the log only.
Image make_image(bool logged) {
    const backlite_test::TempFolder folder;
    const std::string file = folder.file("made.db");
    {
        SQLite::Database made(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        made.exec(fmt::format("PRAGMA page_size={}; PRAGMA auto_vacuum=INCREMENTAL", page_size));
    }
    Rig rig;
    {
        SteppedClient client(rig.config(file), rig.queues, rig.clock);
        client.start();
        add(client, 24, 5, {});
        add(client, 6, 400, client.now() + std::chrono::hours{1});
        add(client, 4, 300, {});
        run_some(client, 10);
        backlite_test::execute(client.writes().connection().handle(), "PRAGMA wal_checkpoint(TRUNCATE)");
        add(client, 4, 50, {});
        run_some(client, 6);
        client.die(2);
        if (logged) {
            sqlite3_db_config(client.writes().connection().handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
        }
    }
    Image image{read(file), read(file + "-wal"), read(file + "-backlite")};
    demand(image.log.empty() != logged && image.database.size() > 20 * page_size && !image.side.empty(),
           "the file to be damaged is as it should be");
    return image;
}

// ---- damage ---------------------------------------------------------------------------------------------------------

// Writes `value` with `width` bytes, the highest first, as SQLite stores numbers.
void put(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i) {
        bytes[at + i] = static_cast<char>(value >> 8 * (width - 1 - i) & 0xffU);
    }
}

std::uint64_t get(const std::string& bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) {
        value = value << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    return value;
}

// Changes what consists of pages: the first of them at `first`, each `stride` after the one before.
void damage_pages(FuzzedDataProvider& in, std::string& bytes, std::size_t first, std::size_t stride) {
    if (bytes.size() < first + page_size) return;
    const std::size_t pages = (bytes.size() - first - page_size) / stride + 1;
    const auto some_page = [&] { return first + stride * in.ConsumeIntegralInRange<std::size_t>(0, pages - 1); };
    const std::size_t page = some_page();
    const bool is_database = stride == page_size;
    const std::size_t tree = page + (is_database && page == 0 ? 100 : 0);  // the first page has the file's header too
    switch (in.ConsumeIntegralInRange(0, 9)) {
        case 0:
            put(bytes, tree, in.PickValueInArray<std::uint64_t>({0, 2, 5, 10, 13, 255}), 1);
            break;  // the kind of page
        case 1:
            put(bytes, tree + in.ConsumeIntegralInRange<std::size_t>(1, 11), in.ConsumeIntegral<std::uint16_t>(), 2);
            break;
        case 2: {  // where a cell lies, or what is written there
            const std::size_t leaf = get(bytes, tree, 1) >= 8 ? 8 : 12;
            const std::size_t pointer = tree + leaf + 2 * in.ConsumeIntegralInRange<std::size_t>(0, 30);
            if (in.ConsumeBool()) {
                put(bytes, pointer, in.ConsumeIntegralInRange<std::uint64_t>(0, page_size + 8), 2);
            } else {
                put(bytes, page + get(bytes, pointer, 2) + in.ConsumeIntegralInRange<std::size_t>(0, 24),
                    in.ConsumeIntegral<std::uint8_t>(), 1);
            }
            break;
        }
        case 3:
            put(bytes, page + in.ConsumeIntegralInRange<std::size_t>(0, page_size - 1),
                in.ConsumeIntegral<std::uint8_t>(), 1);
            break;
        case 4:
            put(bytes, page + in.ConsumeIntegralInRange<std::size_t>(0, page_size - 4),
                in.ConsumeIntegralInRange<std::uint64_t>(0, 80), 4);
            break;
        case 5: {
            const std::size_t from = some_page();
            const std::string copy = bytes.substr(from, page_size);
            bytes.replace(page, copy.size(), copy);
            break;
        }
        case 6: std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(page), page_size, '\0'); break;
        case 7: {
            const std::string some = in.ConsumeRandomLengthString(64);
            const std::size_t at = page + in.ConsumeIntegralInRange<std::size_t>(0, page_size - 65);
            bytes.replace(at, some.size(), some);
            break;
        }
        case 8:
            if (is_database)
                put(bytes, in.ConsumeIntegralInRange<std::size_t>(16, 99), in.ConsumeIntegral<std::uint32_t>(),
                    in.PickValueInArray<std::size_t>({1, 2, 4}));
            break;
        default: {  // a bit
            const std::size_t at = page + in.ConsumeIntegralInRange<std::size_t>(0, page_size - 1);
            bytes[at] =
                static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 1U << in.ConsumeIntegralInRange(0, 7));
        }
    }
}

// Makes the checksums of a log fit its frames again, so that SQLite reads them.
void sign_log(std::string& log) {
    const std::uint64_t magic = get(log, 0, 4);
    if (log.size() < 32 || (magic & ~std::uint64_t{1}) != 0x377f0682) return;
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    const auto word = [&](std::size_t at) {
        const auto big = static_cast<std::uint32_t>(get(log, at, 4));
        return (magic & 1U) != 0 ? big : __builtin_bswap32(big);
    };
    const auto sum = [&](std::size_t at, std::size_t size) {
        for (std::size_t i = 0; i + 8 <= size; i += 8) {
            // Both wrap around, as the format wants.
            first = static_cast<std::uint32_t>(std::uint64_t{first} + word(at + i) + second);
            second = static_cast<std::uint32_t>(std::uint64_t{second} + word(at + i + 4) + first);
        }
    };
    const auto sign = [&](std::size_t at) {
        put(log, at, first, 4);
        put(log, at + 4, second, 4);
    };
    sum(0, 24);
    sign(24);
    for (std::size_t frame = 32; frame + frame_size <= log.size(); frame += frame_size) {
        sum(frame, 8);
        sum(frame + 24, page_size);
        sign(frame + 16);
    }
}

// Whether anything was changed.
bool damage(FuzzedDataProvider& in, Image& image) {
    const Image sound = image;
    const int changes = in.ConsumeIntegralInRange(0, 8);
    for (int i = 0; i < changes; ++i) {
        std::string& any = *in.PickValueInArray({&image.database, &image.database, &image.log, &image.side});
        switch (in.ConsumeIntegralInRange(0, 7)) {
            case 0: any.resize(in.ConsumeIntegralInRange<std::size_t>(0, any.size() + 2 * page_size)); break;
            case 1:
                if (!image.side.empty())
                    put(image.side, in.ConsumeIntegralInRange<std::size_t>(0, image.side.size() - 1),
                        in.ConsumeIntegral<std::uint8_t>(), 1);
                break;
            case 2:
                put(image.log, in.ConsumeIntegralInRange<std::size_t>(0, 31), in.ConsumeIntegral<std::uint32_t>(), 4);
                break;
            case 3: {  // a frame's page number, and how large the database is after it
                const std::size_t frame = in.ConsumeIntegralInRange<std::size_t>(0, image.log.size() / frame_size);
                put(image.log, 32 + frame * frame_size + in.PickValueInArray<std::size_t>({0, 4}),
                    in.ConsumeIntegralInRange<std::uint64_t>(0, 100), 4);
                break;
            }
            case 4: damage_pages(in, image.log, 32 + 24, frame_size); break;
            default: damage_pages(in, image.database, 0, page_size);
        }
    }
    if (image.log != sound.log && in.ConsumeBool()) sign_log(image.log);
    return image.database != sound.database || image.log != sound.log || image.side != sound.side;
}

// ---- work -----------------------------------------------------------------------------------------------------------

struct Work {
    int errors = 0;

    // What a client does may fail, by an error of ours that says why.
    template <class Step>
    bool may_fail(Step&& step) {
        try {
            step();
            return true;
        } catch (const backlite::StorageError& error) {
            const int code = error.code();
            demand(code != SQLITE_OK && code != SQLITE_MISUSE && code != SQLITE_RANGE && code != SQLITE_LOCKED &&
                       code != SQLITE_BUSY,
                   fmt::format("an error that fits: {} ({})", error.what(), error.extended_code()));
        } catch (const backlite::ConfigError&) {
        }
        ++errors;
        return false;
    }

    // Runs what is due, as a dispatcher would until it sleeps.
    void run_all(SteppedClient& client) {
        for (int cycles = 0;; ++cycles) {
            demand(cycles < 200, "a client comes to rest");
            while (client.run_one() != nullptr) {
            }
            client.look();
            backlite::store::CyclePlan plan = client.plan();
            plan.purge = cycles == 0;
            plan.lapse = cycles == 0;
            const bool retried = !client.finished().empty();  // perhaps without backoff: due again after this cycle
            const backlite::store::CycleResult result = client.cycle(plan);
            if (!result.claimed.tasks.empty() || client.stale() || retried) continue;
            for (const backlite::store::QueueHead& head : client.heads()) {
                demand(head.due > client.now(), "a queue with nothing to claim is not thought to be due");
            }
            return;
        }
    }

    void all(Rig& rig, const std::string& file) {
        const backlite::ClientConfig config = rig.config(file);
        may_fail([&] {
            SteppedClient client(config, rig.queues, rig.clock);
            const bool started = may_fail([&] { client.start(); });
            may_fail([&] {
                backlite::store::sqlite::Connection connection(config, backlite::store::sqlite::Role::reader);
                backlite::store::sqlite::StatusQueries reads(connection.handle());
                may_fail([&] { (void)reads.counts(client.now()); });
                may_fail([&] { (void)reads.status(backlite::TaskId::from_text("x")); });
            });
            if (started) {
                may_fail([&] { client.look_after_others(); });
                may_fail([&] { run_all(client); });
                may_fail([&] { add(client, 3, 700, {}); });
                may_fail([&] { run_all(client); });
                may_fail([&] { client.stop(); });
            }
            client.forget();
        });
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::array<Image, 2>& images = *new std::array<Image, 2>{make_image(false), make_image(true)};
    static const backlite_test::TempFolder& folder = *new backlite_test::TempFolder;
    static Rig& rig = *new Rig;
    FuzzedDataProvider in(data, size);
    Image image = images[in.ConsumeBool() ? 1 : 0];
    const bool damaged = damage(in, image);

    const std::string file = folder.file("x.db");
    std::error_code ignored;
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(file + suffix, ignored);
    write(file, image.database);
    if (!image.log.empty()) write(file + "-wal", image.log);
    write(file + "-backlite", image.side);

    rig.runs = 0;
    Work work;
    work.all(rig, file);
    if (!damaged) {
        demand(work.errors == 0, "a sound file is worked on without an error");
        demand(rig.runs >= 15, fmt::format("its tasks are run: {}", rig.runs));
    }
    return 0;
}
