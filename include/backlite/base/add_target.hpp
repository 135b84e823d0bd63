// SPDX-License-Identifier: MIT
#pragma once
// The engine as seen by code that only adds tasks, so that such code compiles without the engine.

#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>

namespace SQLite {
class Database;
}

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// Threads: any.
class AddTarget {
public:
    AddTarget() = default;
    AddTarget(const AddTarget&) = delete;
    AddTarget& operator=(const AddTarget&) = delete;

    /// Errors: ForkError in a forked child, UsageError once the client has ended; both name `call`.
    virtual void check_call(const char* call) const = 0;

    [[nodiscard]] virtual const Clock& clock() const noexcept = 0;
    [[nodiscard]] virtual std::size_t max_payload() const noexcept = 0;

    /// Logs that this program cannot read back its own JSON of a type of `queue`, so its workers could not run it.
    virtual void tell_unreadable(std::string_view queue, std::string_view why) const noexcept = 0;

    /// Names the tasks and adds them in a transaction of the client's own. Errors: see AddOp::save.
    virtual void add(std::span<NewTask> tasks, std::optional<Ms> wait_until, Ms now, std::stop_token stop) = 0;

    /// Names the tasks and adds them in the transaction that is open on `database`. Errors: see AddOp::tx.
    virtual void add_within(SQLite::Database& database, std::span<NewTask> tasks, std::optional<Ms> wait_until,
                            Ms now) = 0;

protected:
    ~AddTarget() = default;
};

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
