// SPDX-License-Identifier: MIT
#pragma once
// What the tests of whole clients share: a record of what tasks did, looks into the file, and
// processes that can be killed.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/logger.hpp>

#include <backlite_catch.hpp>
#include <events.hpp>
#include <patience.hpp>
#include <temp_folder.hpp>
#include <usual_durability.hpp>

namespace backlite_test {

using namespace std::chrono_literals;

/// What happened, in order. Threads: any.
class Journal {
public:
    void note(std::string entry) {
        const std::lock_guard lock(mutex_);
        entries_.push_back(std::move(entry));
        changed_.notify_all();
    }

    /// Waits until this entry was noted `times` times. False if it is not in time.
    [[nodiscard]] bool await(std::string_view entry, int times = 1) const {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return count_locked(entry) >= times; });
    }

    /// The same, for what may never come.
    [[nodiscard]] bool await_for(std::string_view entry, std::chrono::milliseconds time, int times = 1) const {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, time, [&] { return count_locked(entry) >= times; });
    }

    /// Waits until there are this many entries of any kind.
    [[nodiscard]] bool await_size(std::size_t size) const {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return entries_.size() >= size; });
    }

    [[nodiscard]] int count(std::string_view entry) const {
        const std::lock_guard lock(mutex_);
        return count_locked(entry);
    }

    [[nodiscard]] std::vector<std::string> entries() const {
        const std::lock_guard lock(mutex_);
        return entries_;
    }

private:
    [[nodiscard]] int count_locked(std::string_view entry) const {
        return static_cast<int>(std::count(entries_.begin(), entries_.end(), entry));
    }

    mutable std::mutex mutex_{};
    mutable std::condition_variable changed_{};
    // guarded by mutex_
    std::vector<std::string> entries_{};
};

/// A logger that notes each event as one line, `warning claim lost id=…`, and lets tests wait for one. Threads: any.
class LogBook final : public backlite::Logger {
public:
    void log(backlite::LogLevel level, std::string_view message, std::span<const backlite::LogField> fields) override {
        std::string line = fmt::format("{} {}", backlite::to_string(level), backlite::format_event(message, fields));
        const std::lock_guard lock(mutex_);
        lines_.push_back(std::move(line));
        changed_.notify_all();
    }

    /// Waits until `times` lines hold all of these texts.
    [[nodiscard]] bool await(const std::vector<std::string>& texts, int times = 1) const {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return count_locked(texts) >= times; });
    }

    [[nodiscard]] int count(const std::vector<std::string>& texts) const {
        const std::lock_guard lock(mutex_);
        return count_locked(texts);
    }

    [[nodiscard]] std::string text() const {
        const std::lock_guard lock(mutex_);
        return fmt::format("{}", fmt::join(lines_, "\n"));
    }

private:
    [[nodiscard]] int count_locked(const std::vector<std::string>& texts) const {
        return static_cast<int>(std::count_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
            return std::all_of(texts.begin(), texts.end(),
                               [&](const std::string& text) { return line.find(text) != std::string::npos; });
        }));
    }

    mutable std::mutex mutex_{};
    mutable std::condition_variable changed_{};
    // guarded by mutex_
    std::vector<std::string> lines_{};
};

/// Counts how often it is read: a thread that turns without sleeping reads it thousands of times a second.
class CountingClock final : public backlite::Clock {
public:
    [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const noexcept override {
        ++reads_;
        return std::chrono::steady_clock::now();
    }
    [[nodiscard]] int reads_during(std::chrono::milliseconds time) const {
        const int before = reads_;
        std::this_thread::sleep_for(time);
        return reads_ - before;
    }

private:
    mutable std::atomic<int> reads_{0};
};

/// A connection of the test's own to a client's file.
class Look {
public:
    explicit Look(const std::string& file) : database_(file, SQLite::OPEN_READWRITE) {
        database_.setBusyTimeout(static_cast<int>(patience.count()));
    }

    [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

    void run(const std::string& sql) { database_.exec(sql); }

    [[nodiscard]] std::int64_t number(const std::string& sql) { return database_.execAndGet(sql).getInt64(); }
    [[nodiscard]] std::string text(const std::string& sql) { return database_.execAndGet(sql).getString(); }

    [[nodiscard]] std::int64_t tasks(const std::string& where = "1") {
        return number("SELECT count(*) FROM backlite_tasks WHERE " + where);
    }
    [[nodiscard]] std::int64_t completed(const std::string& where = "1") {
        return number("SELECT count(*) FROM backlite_tasks_completed WHERE " + where);
    }

    /// Whether the file is sound. Says what is not.
    [[nodiscard]] std::string integrity() { return text("PRAGMA integrity_check"); }

private:
    SQLite::Database database_;
};

/// Another program's write transaction: nobody else can write while it is open.
class WriteLock {
public:
    explicit WriteLock(const std::string& file) : look_(file) { look_.run("BEGIN IMMEDIATE"); }
    WriteLock(const WriteLock&) = delete;
    WriteLock& operator=(const WriteLock&) = delete;
    ~WriteLock() { release(); }

    void release() {
        if (std::exchange(held_, false)) look_.run("ROLLBACK");
    }

private:
    Look look_;
    bool held_ = true;
};

/// A forked child that reports by lines, is let on step by step, and can be killed, stopped and continued.
/// REQUIRES: no client is open in this process when one is made.
class Process {
public:
    /// The child's end.
    class Inside {
    public:
        Inside(int reports, int steps) noexcept : reports_(reports), steps_(steps) {}

        /// Tells the parent. Threads: any.
        void say(std::string line) const noexcept {
            line += '\n';
            if (::write(reports_, line.data(), line.size()) < 0) ::_exit(90);  // the parent is gone
        }

        /// Waits until the parent calls `next`.
        void wait() const noexcept {
            char step = 0;
            ssize_t size = -1;
            do {
                size = ::read(steps_, &step, 1);
            } while (size < 0 && errno == EINTR);
            if (size != 1) ::_exit(91);
        }

    private:
        int reports_;
        int steps_;
    };

    /// Runs `body(const Inside&)` in a child; when it returns, the child ends with status 0, when it throws, with 92.
    template <class Body>
    explicit Process(Body body) {
        std::array<int, 2> reports{};
        std::array<int, 2> steps{};
        if (::pipe(reports.data()) != 0 || ::pipe(steps.data()) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe");
        }
        pid_ = ::fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM}) ::signal(signal, SIG_DFL);
            ::close(reports[0]);
            ::close(steps[1]);
            const Inside inside(reports[1], steps[0]);
            try {
                body(inside);
            } catch (const std::exception& error) {
                inside.say(fmt::format("threw {}", error.what()));
                ::_exit(92);
            } catch (...) {
                ::_exit(93);
            }
            ::_exit(0);
        }
        ::close(reports[1]);
        ::close(steps[0]);
        reports_ = reports[0];
        steps_ = steps[1];
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        kill();
        ::close(reports_);
        ::close(steps_);
    }

    /// Lets the child pass one `wait`.
    void next() const {
        const char step = 's';
        if (::write(steps_, &step, 1) != 1) throw std::system_error(errno, std::generic_category(), "write");
    }

    /// Waits until the child has said this line, however often it is asked.
    [[nodiscard]] bool await(std::string_view line) {
        const auto until = std::chrono::steady_clock::now() + patience;
        while (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) {
            if (read_more(until)) continue;
            UNSCOPED_INFO("the child said: " << fmt::format("{}", fmt::join(lines_, "; ")));
            return false;
        }
        return true;
    }

    /// Reads what the child has said by now; of one that was killed, all that it ever said.
    void catch_up() {
        const auto until = std::chrono::steady_clock::now() + (reaped_ ? patience : 1ms);
        while (read_more(until)) {
        }
    }

    /// What the child has said so far, as far as it was read.
    [[nodiscard]] const std::vector<std::string>& lines() const noexcept { return lines_; }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    void signal(int number) const noexcept {
        if (!reaped_) ::kill(pid_, number);
    }

    /// Stops it as a debugger or a terminal would, and waits until it stands.
    void freeze() {
        signal(SIGSTOP);
        int status = 0;
        while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
        }
    }
    void thaw() const noexcept { signal(SIGCONT); }

    /// Kills it, and waits until it is dead.
    void kill() {
        signal(SIGKILL);
        static_cast<void>(join());
    }

    /// Waits until it has ended: its exit status, or minus the signal that ended it.
    int join() {
        if (reaped_) return result_;
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        reaped_ = true;
        result_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        return result_;
    }

private:
    bool read_more(std::chrono::steady_clock::time_point until) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        pollfd fd{reports_, POLLIN, 0};
        if (left.count() <= 0 || ::poll(&fd, 1, static_cast<int>(left.count())) <= 0) return false;
        std::array<char, 4096> buffer{};
        const ssize_t size = ::read(reports_, buffer.data(), buffer.size());
        if (size <= 0) return false;
        rest_.append(buffer.data(), static_cast<std::size_t>(size));
        for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
            lines_.push_back(rest_.substr(0, end));
            rest_.erase(0, end + 1);
        }
        return true;
    }

    pid_t pid_ = -1;
    int reports_ = -1;
    int steps_ = -1;
    bool reaped_ = false;
    int result_ = 0;
    std::string rest_{};
    std::vector<std::string> lines_{};
};

/// The settings that most tests start from: few workers, and quick commits if nobody chose others.
[[nodiscard]] inline backlite::ClientConfig quick(std::string database, unsigned workers = 2) {
    backlite::ClientConfig config;
    config.database = std::move(database);
    config.num_workers = workers;
    config.durability = usual_durability();
    return config;
}

/// What a story about a client begins with. Declared before the client, so that it outlives what the client still runs.
struct Story {
    Story() { config.logger = log; }
    Story(const Story&) = delete;
    Story& operator=(const Story&) = delete;

    TempFolder folder{};
    const std::string file = folder.file("q.db");
    Journal journal{};
    std::shared_ptr<LogBook> log = std::make_shared<LogBook>();
    backlite::ClientConfig config = quick(file);
};

/// Stops a process outside of its write transactions: one that holds the write lock would hold everybody up.
inline void freeze_at_rest(Process& process, const std::string& file) {
    SQLite::Database database(file, SQLite::OPEN_READWRITE);
    for (;;) {
        process.freeze();
        try {
            database.exec("BEGIN IMMEDIATE; ROLLBACK");
            return;
        } catch (const SQLite::Exception&) {
            process.thaw();
        }
    }
}

}  // namespace backlite_test
