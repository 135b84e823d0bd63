// SPDX-License-Identifier: MIT
#pragma once
// DatabaseView: the database that a dashboard shows, by its name, to many at once.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/guards.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/platform/file_identity.hpp>
#include <backlite/store/sqlite/views/read_connection.hpp>
#include <backlite/store/unavailable.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace admin {

using store::FileError;
using store::UnavailableReason;
using store::sqlite::Queries;
using store::sqlite::ReadConnection;
using store::sqlite::reason_of;

/// Lets in a few at once; the others wait in the order in which they came. Threads: any.
class Turns {
public:
    explicit Turns(std::size_t most) noexcept : free_(most) {}

    /// False if there was no turn in time. REQUIRES: `leave` follows where it is true.
    [[nodiscard]] bool enter(Duration patience);

    void leave() noexcept;

private:
    struct Waiter {
        std::condition_variable turn{};
        bool admitted = false;
    };

    detail::Mutex mutex_{};
    std::size_t free_ BACKLITE_GUARDED_BY(mutex_);
    std::vector<Waiter*> waiting_ BACKLITE_GUARDED_BY(mutex_){};
};

/// The file by its name: it may be missing, appear, be replaced.
/// Threads: any. At most `most_at_once` calls for people and as many for monitors read at once, each with a reader of
/// its own: a crowd that looks takes neither the host's processors nor its file descriptors.
class DatabaseView {
public:
    static constexpr std::size_t most_at_once = 4;
    enum class For { people, monitors };  ///< who is not kept waiting by the other

    DatabaseView(std::string name, std::function<SQLite::Database()> open, Duration busy_timeout,
                 const store::Bounds& bounds = {})
        : name_(std::move(name)), open_(std::move(open)), busy_timeout_(busy_timeout), bounds_(bounds) {}

    /// Runs `look(Queries&)`; see ReadConnection::read. Waits for its turn first, no longer than `patience`.
    template <class Look>
    auto read(Duration patience, Look&& look, For whom = For::people) {
        Turns& turns = whom == For::people ? people_ : monitors_;
        if (!turns.enter(patience)) throw FileError(UnavailableReason::busy, "too many looked at the file at once");
        const struct Leave {
            Turns& turns;
            ~Leave() { turns.leave(); }
        } leave{turns};
        Lease lease(*this, take());
        return lease.reader->read(patience, std::forward<Look>(look));
    }

    /// A text that changes with each commit, and when the file is replaced. Errors: as read.
    [[nodiscard]] std::string version();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    struct Lease {
        Lease(DatabaseView& owner, std::unique_ptr<ReadConnection> taken) noexcept
            : file(owner), reader(std::move(taken)) {}
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() { file.give_back(std::move(reader)); }
        DatabaseView& file;
        std::unique_ptr<ReadConnection> reader;
    };

    std::unique_ptr<ReadConnection> take();

    void give_back(std::unique_ptr<ReadConnection> reader) noexcept {
        const detail::LockGuard lock(mutex_);
        if (idle_.size() < most_at_once) idle_.push_back(std::move(reader));  // reserved: does not throw
    }

    static std::uint64_t random() {
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    }

    static std::vector<std::unique_ptr<ReadConnection>> room();

    // constant after construction
    const std::string name_;
    const std::function<SQLite::Database()> open_;
    const Duration busy_timeout_;
    const store::Bounds bounds_;
    const std::uint64_t nonce_ = random();

    Turns people_{most_at_once};
    Turns monitors_{most_at_once};

    detail::Mutex mutex_{};
    std::vector<std::unique_ptr<ReadConnection>> idle_ BACKLITE_GUARDED_BY(mutex_) = room();

    detail::Mutex watch_mutex_{};
    std::unique_ptr<ReadConnection> watch_ BACKLITE_GUARDED_BY(watch_mutex_){};
    std::uint64_t generation_ BACKLITE_GUARDED_BY(watch_mutex_) = 0;
};

}  // namespace admin
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/admin/database_view.ipp>
#endif
