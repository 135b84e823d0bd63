// SPDX-License-Identifier: MIT
// What may be wrong with a file.

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <backlite/admin.hpp>

#include "commands.hpp"
#include "output.hpp"

namespace tool {
namespace {

namespace fs = std::filesystem;

struct Finding {
    bool wrong = false;
    std::string about{};
    std::string text{};
};

class Doctor {
public:
    explicit Doctor(std::string file) : file_(std::move(file)) {}

    std::vector<Finding> examine() {
        if (!look_at_place()) return findings_;
        std::optional<backlite::Admin> admin;
        try {
            admin.emplace(file_);
            good("tables", "they are this library's, and can be read and written");
        } catch (const backlite::Error& error) {
            bad("tables", error.what());
        }
        try {
            SQLite::Database database(file_, SQLite::OPEN_READONLY, 5'000);
            look_at_pages(database);
            look_at_strangers(database);
            look_at_log(database);
            if (admin) {
                look_at_clients(*admin);
                look_at_clock(database);
                look_at_work(*admin);
            }
        } catch (const std::exception& error) {
            bad("SQLite", error.what());
        }
        return findings_;
    }

private:
    void good(std::string about, std::string text) { findings_.push_back({false, std::move(about), std::move(text)}); }
    void bad(std::string about, std::string text) { findings_.push_back({true, std::move(about), std::move(text)}); }

    bool look_at_place() {
        std::error_code error;
        const fs::file_status status = fs::status(file_, error);
        if (!fs::exists(status)) {
            bad("file", "there is none of this name");
            return false;
        }
        if (!fs::is_regular_file(status)) {
            bad("file", "it is not a regular file");
            return false;
        }
        const std::uintmax_t names = fs::hard_link_count(file_, error);
        if (!error && names > 1) {
            bad("file",
                fmt::format("it has {} names (hard links), and SQLite keeps a log for each: leave it one", names));
        } else {
            good("file", fmt::format("{}, one name", bytes_text(fs::file_size(file_, error))));
        }
        return true;
    }

    void look_at_pages(SQLite::Database& database) {
        SQLite::Statement check(database, "PRAGMA quick_check(5)");
        std::string text;
        while (check.executeStep()) text += (text.empty() ? "" : "; ") + check.getColumn(0).getString();
        if (text == "ok") {
            good("pages", "all of them are sound");
        } else {
            bad("pages",
                fmt::format("the file is damaged: {}. Keep a copy; `sqlite3 FILE .recover` may save rows", text));
        }
        const auto pages = database.execAndGet("PRAGMA page_count").getInt64();
        const auto free = database.execAndGet("PRAGMA freelist_count").getInt64();
        const auto size = database.execAndGet("PRAGMA page_size").getInt64();
        if (free > 1'000 && free * 2 > pages) {
            bad("size", fmt::format("{} of {} pages are free: `backlite purge` gives {} back to the disk", free, pages,
                                    bytes_text(static_cast<std::uintmax_t>(free * size))));
        }
    }

    /// What others have put on our tables runs within each write, or slows it.
    void look_at_strangers(SQLite::Database& database) {
        SQLite::Statement triggers(
            database,
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'backlite\\_%' ESCAPE '\\' "
            "AND name NOT LIKE 'backlite\\_%' ESCAPE '\\'");
        while (triggers.executeStep()) {
            bad("schema", fmt::format("the trigger {} runs with changes of tasks, and may refuse them",
                                      shown(triggers.getColumn(0).getString())));
        }
        SQLite::Statement indexes(
            database,
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name LIKE 'backlite\\_%' "
            "ESCAPE '\\' AND name NOT LIKE 'backlite\\_%' ESCAPE '\\'");
        while (indexes.executeStep()) {
            bad("schema", fmt::format("the index {} is not the library's: every change of a task pays for it",
                                      shown(indexes.getColumn(0).getString())));
        }
    }

    void look_at_log(SQLite::Database& database) {
        const std::string mode = database.execAndGet("PRAGMA journal_mode").getString();
        if (mode != "wal") return bad("log", fmt::format("the journal mode is {}, and a client needs wal", mode));
        std::error_code error;
        const std::uintmax_t bytes = fs::file_size(file_ + "-wal", error);
        if (error || bytes < 64'000'000) return good("log", error ? "there is none" : bytes_text(bytes));
        SQLite::Database writer(file_, SQLite::OPEN_READWRITE, 100);
        SQLite::Statement checkpoint(writer, "PRAGMA wal_checkpoint(PASSIVE)");
        checkpoint.executeStep();
        const auto in_log = checkpoint.getColumn(1).getInt64();
        const auto moved = checkpoint.getColumn(2).getInt64();
        bad("log", fmt::format("it has {}: {}", bytes_text(bytes),
                               moved < in_log ? "a connection holds it back by a read transaction that stays open"
                                              : "it was large once, and gets smaller when a client starts it anew"));
    }

    void look_at_clients(const backlite::Admin& admin) {
        std::size_t alive = 0;
        std::size_t dead = 0;
        for (const auto& client : admin.clients()) ++(client.alive.value_or(true) ? alive : dead);
        if (dead > 0 && alive == 0) {
            bad("clients",
                fmt::format("{} died, and nobody has taken back what they held: the next start of a client does",
                            dead));
        } else {
            good("clients", alive == 0 ? std::string{"none is started"} : fmt::format("{} started", alive));
        }
    }

    void look_at_clock(SQLite::Database& database) {
        const auto now =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
        SQLite::Statement latest(database,
                                 "SELECT max(start) * 60000 FROM backlite_stats WHERE span = 1 AND start > ?1 / 60000");
        latest.bind(1, std::int64_t{now + 600'000});
        latest.executeStep();
        if (latest.getColumn(0).isNull()) return good("clock", "nothing in the file is from the future");
        bad("clock",
            fmt::format("the file counts tasks at {}, which is still to come: a clock was ahead, or this one is "
                        "behind",
                        time_text(backlite::TimePoint{std::chrono::milliseconds{latest.getColumn(0).getInt64()}})));
    }

    void look_at_work(const backlite::Admin& admin) {
        constexpr std::chrono::seconds patience{10};
        for (const auto& queue : admin.queues()) {
            if (queue.waiting.number == 0) continue;
            std::string why;
            for (const auto blocker : queue.why)
                why += fmt::format("{}{}{}", why.empty() ? "" : "; ", to_string(blocker), cure(blocker, queue.name));
            const bool stands = queue.running.number == 0 && queue.oldest_due &&
                                *queue.oldest_due < std::chrono::system_clock::now() - patience;
            if (why.empty() && stands) {
                why = fmt::format(
                    "the oldest is due since {}, none runs, and nothing holds them back: no program that has started "
                    "a client has registered this queue, or all of its workers are busy",
                    time_text(queue.oldest_due));
            }
            if (why.empty()) continue;
            bad("queue " + shown(queue.name, 40),
                fmt::format("{}{} tasks are due and do not run: {}", queue.waiting.number,
                            queue.waiting.more ? "+" : "", why));
        }
    }

    /// What to do about it, in brackets; empty: to wait.
    [[nodiscard]] std::string cure(backlite::Blocker blocker, const std::string& queue) const {
        if (blocker == backlite::Blocker::paused) {
            return fmt::format(" (`backlite resume {} {}` ends that)", file_, shown(queue, 40));
        }
        if (blocker == backlite::Blocker::no_client) return " (start the program that runs them)";
        return {};
    }

    std::string file_;
    std::vector<Finding> findings_{};
};

}  // namespace

int doctor(const Options& options) {
    const std::vector<Finding> findings = Doctor(options.file).examine();
    bool sound = true;
    nlohmann::json list = nlohmann::json::array();
    Table table({"", "ABOUT", "FINDING"});
    for (const Finding& finding : findings) {
        sound = sound && !finding.wrong;
        list.push_back({{"wrong", finding.wrong}, {"about", finding.about}, {"text", finding.text}});
        table.add({finding.wrong ? "wrong" : "well", finding.about, shown(finding.text)});
    }
    if (options.format == Format::json) {
        print(list);
    } else {
        table.print(options.format, 0);
    }
    return sound ? done : nothing;
}

}  // namespace tool
