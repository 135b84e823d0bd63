// SPDX-License-Identifier: MIT
#pragma once
// Unique tasks: of two unfinished tasks of one queue with one key only one exists.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// What becomes of a task that is added while an unfinished one of its queue has its key.
enum class Conflict {
    none,     ///< tasks of the queue have no keys
    keep,     ///< it is dropped: the one that is there counts for both
    reject,   ///< `save` throws DuplicateError, and adds nothing
    replace,  ///< one that waits gets its payload, time, priority and expiry; beside one that is claimed it is dropped
    /// As `replace`, but beside one that is claimed it waits until that has ended: of one key one runs and one waits,
    /// with the newest payload. If the one that runs is to run again, it ends as cancelled: the newer one runs instead.
    latest,
};

/// Until when a task holds its key.
enum class UniqueUntil {
    finished,  ///< until it has ended, however: no two unfinished tasks share a key
    /// Until it is claimed: no two that wait share a key, but any number may run. One that comes back, for another
    /// attempt or because its process died, takes its key again, or goes on without one if a newer one waits.
    started,
};

/// Whether tasks of a queue are unique. A task's key is what its `std::string unique_key() const` returns, or
/// `unique_key(const T&)` of its TaskTraits; without one, its whole JSON.
struct Unique {
    Conflict conflict = Conflict::none;         ///< default: not unique
    UniqueUntil until = UniqueUntil::finished;  ///< how long a key is held; `latest` holds it as `started` does
    /// The key counts for so long after its task has succeeded or failed for good too; not after one that was cancelled
    /// or has expired. The task is kept for it, without its payload unless the queue's retention keeps that.
    Duration period{};
    /// With `replace`: a task that is added without a time of its own is due so long after the last add.
    Duration debounce{};
    Duration max_delay{};  ///< at most so long after the first add; zero: `debounce` may push it for ever
};

/// What became of a task in `save_results`.
enum class AddedAs {
    inserted,  ///< it is a new task
    existing,  ///< it was dropped: another one has its key
    replaced,  ///< another one that waited has its key, and now its payload, time, priority and expiry
};

[[nodiscard]] constexpr std::string_view to_string(AddedAs as) noexcept {
    switch (as) {
        case AddedAs::inserted: return "inserted";
        case AddedAs::replaced: return "replaced";
        case AddedAs::existing: break;
    }
    return "existing";
}

/// One task of a `save_results`.
struct AddResult {
    TaskId id{};                     ///< of the new task, or of the one that has its key
    AddedAs as = AddedAs::inserted;  ///< what became of it

    /// The same task, and the same became of it.
    friend bool operator==(const AddResult&, const AddResult&) noexcept = default;
};

/// With Conflict::reject: an unfinished task has the key of one that was to be added. Nothing of that call is added.
class DuplicateError : public Error {
public:
    /// `existing`: the id of the one that is there.
    DuplicateError(const std::string& what, TaskId existing) : Error(what), existing_(std::move(existing)) {}

    /// The id of the task that has the key. Empty if it is one of the same call, which was not added either.
    [[nodiscard]] const TaskId& existing() const noexcept { return existing_; }

private:
    TaskId existing_;
};

namespace detail {

/// Errors: ConfigError naming the queue and the value; UsageError, which is one, for what does not go together.
void check_unique(const Unique& unique, std::string_view queue);

/// The most bytes of a key that a host chooses.
inline constexpr std::size_t longest_unique_key = 1024;

/// Errors: UsageError naming the queue if the key is empty, longer than that, holds a NUL or is not UTF-8.
void check_unique_key(std::string_view key, std::string_view queue);

/// Whether the bytes are UTF-8 (RFC 3629).
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/unique.ipp>
#endif
