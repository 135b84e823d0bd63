// SPDX-License-Identifier: MIT
#pragma once
// Tasks to JSON and back.

#include <atomic>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include <backlite/base/json.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

[[noreturn]] void throw_encode_error(const std::string& queue, const std::string& why);

/// The task that a payload holds.
/// Errors: std::runtime_error saying why it cannot be read, or what `from_json` throws.
template <class T>
[[nodiscard]] T decode(std::string_view payload) {
    return read_json<T>(payload);
}

/// The compact JSON of a task.
/// Errors: EncodeError naming the queue, when `to_json` throws, a string is not UTF-8, a number is NaN or infinite, or
/// the JSON nests too deep.
template <class T>
[[nodiscard]] std::string encode(const T& task, const std::string& queue) {
    std::string why;
    try {
        return write_json(task);
    } catch (...) {
        why = current_error();
    }
    throw_encode_error(queue, why);
}

/// What a task's processor returned, as the file has it.
struct StoredResult {
    std::string queue{};  ///< of the task
    std::string json{};
};

[[noreturn]] void throw_result_error(const std::string& queue, const TaskId& id, std::string_view type,
                                     const std::string& why);

/// Errors: EncodeError naming queue, task and type if the result cannot be read as an `R`, or `R` knows none of the
/// fields in it.
template <class R>
[[nodiscard]] R decode_result(const StoredResult& stored, const TaskId& id) {
    std::string why;
    try {
        R result = read_json<R>(stored.json);
        if (fits(stored.json, result)) return result;
        why = "it has none of that type's fields";
    } catch (const std::bad_alloc&) {
        throw;
    } catch (...) {
        why = current_error();
    }
    throw_result_error(stored.queue, id, type_name<R>(), why);
}

/// The compact JSON of a value, whatever it is for. Errors: `refuse(why)` throws one, when it cannot be written.
template <class V, class Fail>
[[nodiscard]] std::string encode_value(const V& value, Fail&& refuse) {
    std::string why;
    try {
        return write_json(value);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (...) {
        why = current_error();
    }
    refuse(why);
    return why;  // not reached
}

/// Why what a type was written as cannot be read, asked of the first task of each type in a program only; nullopt if it
/// can, or was asked before.
template <class T>
[[nodiscard]] std::optional<std::string> why_unreadable(std::string_view payload) {
    static std::atomic<bool> asked{false};
    if (asked.load(std::memory_order_relaxed) || asked.exchange(true)) return std::nullopt;
    try {
        static_cast<void>(decode<T>(payload));
        return std::nullopt;
    } catch (...) {
        return current_error();
    }
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/codec.ipp>
#endif
