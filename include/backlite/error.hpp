// SPDX-License-Identifier: MIT
#pragma once
// The exceptions that the library throws.

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Whether the call that threw may have added its tasks all the same.
enum class Added {
    no,       ///< nothing was added
    unknown,  ///< an I/O error came during the commit: look with `Client::status` before adding again
};

/// Base of everything that the library throws on purpose.
class Error : public std::runtime_error {
public:
    /// `what`: the message.
    explicit Error(const std::string& what, Added added = Added::no) : std::runtime_error(what), added_(added) {}

    /// Whether the call that threw added anything.
    [[nodiscard]] Added added() const noexcept { return added_; }

    /// The queue that the error is about; empty if it is about none.
    [[nodiscard]] const std::string& queue() const noexcept { return queue_; }

    /// The id text of the task that the error is about; empty if it is about none.
    [[nodiscard]] const std::string& task_id() const noexcept { return task_id_; }

    /// Names what the error is about. Called before the error is thrown.
    void set_subject(std::string queue, std::string task_id) {
        queue_ = std::move(queue);
        task_id_ = std::move(task_id);
    }

private:
    Added added_;
    std::string queue_{};
    std::string task_id_{};
};

/// A value that cannot work: a bad configuration, a name that is taken, a file in the wrong place. The message names
/// it.
class ConfigError : public Error {
public:
    /// `what`: the message.
    explicit ConfigError(const std::string& what) : Error(what) {}
};

/// A call at the wrong time: a second `save`, a `start` while a stop is not over, a `commit` after the end, a call on
/// the handle of a client that has ended. A ConfigError, since that is what most of these calls once threw: whoever
/// tells the two apart catches UsageError first.
class UsageError : public ConfigError {
public:
    using ConfigError::ConfigError;
};

/// A task or a result could not be turned into JSON (its `to_json` threw, or a string is not UTF-8), or is too large;
/// or a result cannot be read as the type that was asked for.
class EncodeError : public Error {
public:
    /// `what`: the message; `queue`: that of the task, if it is known.
    EncodeError(const std::string& what, std::string queue) : Error(what) { set_subject(std::move(queue), {}); }
};

/// SQLite reports an error.
class StorageError : public Error {
public:
    /// `what`: the message; `extended_code`: SQLite's extended result code, 0 where none applies.
    StorageError(const std::string& what, int extended_code, Added added = Added::no)
        : Error(what, added), extended_code_(extended_code) {}

    /// SQLite's extended result code (sqlite.org/rescode.html), 0 where none applies.
    [[nodiscard]] int extended_code() const noexcept { return extended_code_; }

    /// SQLite's primary result code.
    [[nodiscard]] int code() const noexcept { return extended_code_ & 0xff; }

private:
    int extended_code_;
};

/// Another connection held the write lock for longer than `busy_timeout`, or a deferred transaction cannot upgrade.
class BusyError : public StorageError {
public:
    using StorageError::StorageError;
};

/// The disk is full, a quota used up, or the database as large as it may be.
class FullError : public StorageError {
public:
    using StorageError::StorageError;
};

/// The file is damaged or is no database. The client stops itself.
class CorruptError : public StorageError {
public:
    using StorageError::StorageError;
};

/// A queue has no room for what was to be added: see QueueConfig::max_waiting. Nothing of that call was added.
class QueueFullError : public Error {
public:
    /// `what`: the message; `queue`: its name; `bound`: its `max_waiting`.
    QueueFullError(const std::string& what, std::string queue, std::size_t bound) : Error(what), bound_(bound) {
        set_subject(std::move(queue), {});
    }

    /// How many tasks may wait in the queue.
    [[nodiscard]] std::size_t bound() const noexcept { return bound_; }

private:
    std::size_t bound_;
};

/// The `stop_token` given to an add fired before its write began. Nothing was added.
class Cancelled : public Error {
public:
    /// `what`: the message.
    explicit Cancelled(const std::string& what) : Error(what) {}
};

/// The claim of the task was taken back, or has ended: nothing of the call that threw is in the file.
class ClaimLost : public Error {
public:
    /// `what`: the message.
    explicit ClaimLost(const std::string& what) : Error(what) {}
};

/// A client was used in a forked child of the process that opened it.
class ForkError : public Error {
public:
    /// `what`: the message.
    explicit ForkError(const std::string& what) : Error(what) {}
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
