// SPDX-License-Identifier: MIT
#pragma once
// What makes a type a task: its queue's configuration, and its way to JSON and back through ADL hooks.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>

#include <backlite/base/format.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace detail {

template <class T>
concept HasStaticConfig = requires {
    { T::config() } -> std::convertible_to<QueueConfig>;
};

}  // namespace detail

/// Where the library looks for the configuration of a task type. The general form asks `T::config()`; specialise it
/// with the same static function for a type that cannot be edited.
template <class T>
struct TaskTraits {
    /// The configuration of the type's queue.
    static QueueConfig config() requires detail::HasStaticConfig<T> { return T::config(); }
};

namespace detail {

template <class T>
concept HasQueueConfig = requires {
    { TaskTraits<T>::config() } -> std::convertible_to<QueueConfig>;
};

template <class T>
concept HasKeyInTraits = requires(const T& task) {
    { TaskTraits<T>::unique_key(task) } -> std::convertible_to<std::string>;
};

template <class T>
concept HasKey = requires(const T& task) {
    { task.unique_key() } -> std::convertible_to<std::string>;
};

/// A type with a `unique_key` of a form that nobody would call.
template <class T>
concept HasWrongKey = !HasKeyInTraits<T> && !HasKey<T> &&
                      (
                          requires { &T::unique_key; } || requires { &TaskTraits<T>::unique_key; });

template <class T, class Json>
concept WritableAs = std::constructible_from<Json, const T&>;

template <class T, class Json>
concept ReadableFrom = requires(const Json& json, T& value) {
    json.get_to(value);
};

/// The kind of JSON that a type is written as: the one that keeps the order of fields, where the type's hooks know it.
template <class T>
using JsonOf = std::conditional_t<!std::same_as<T, nlohmann::json> && WritableAs<T, nlohmann::ordered_json> &&
                                      ReadableFrom<T, nlohmann::ordered_json>,
                                  nlohmann::ordered_json, nlohmann::json>;

/// A type without fields and without hooks: its JSON is an empty object.
template <class T>
concept Fieldless = std::is_empty_v<T> && !WritableAs<T, nlohmann::json> && !ReadableFrom<T, nlohmann::json>;

template <class T>
concept JsonConvertible = Fieldless<T> ||(WritableAs<T, JsonOf<T>>&& ReadableFrom<T, JsonOf<T>>);

}  // namespace detail

/// A type that can be added and run: movable, default-constructible, configured, convertible to JSON and back.
template <class T>
concept Task = std::is_object_v<T> && std::movable<T> && std::default_initializable<T> && detail::HasQueueConfig<T> &&
    detail::JsonConvertible<T>;

/// A range of tasks of one type. A type that is both a task and a range is a task.
template <class R>
concept TaskRange = !detail::HasQueueConfig<std::remove_cvref_t<R>> && std::ranges::input_range<R> &&
                    detail::HasQueueConfig<std::remove_cvref_t<std::ranges::range_value_t<R>>>;

namespace detail {

/// Stops the compilation with a sentence that says what a type lacks to be a task.
template <class T>
consteval bool check_task() {
    static_assert(HasQueueConfig<T>,
                  "backlite: this type is no task: it needs `static backlite::QueueConfig config()`, "
                  "or a specialisation of backlite::TaskTraits with that function");
    static_assert(std::movable<T>, "backlite: a task type must be movable");
    static_assert(std::default_initializable<T>,
                  "backlite: a task type must be default-constructible, so that its JSON can be read into it");
    static_assert(Fieldless<T> || WritableAs<T, JsonOf<T>>,
                  "backlite: this task type cannot be written as JSON: give it a to_json(nlohmann::json&, const T&) "
                  "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
    static_assert(Fieldless<T> || ReadableFrom<T, JsonOf<T>>,
                  "backlite: this task type cannot be read from JSON: give it a from_json(const nlohmann::json&, T&) "
                  "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
    static_assert(!HasWrongKey<T>,
                  "backlite: the unique_key of this task type must be `std::string unique_key() const`, or "
                  "`static std::string unique_key(const T&)` in TaskTraits");
    return true;
}

/// The name of a type as the compiler writes it: one for all modules of a program, and there without RTTI too.
template <class T>
[[nodiscard]] constexpr std::string_view type_name() noexcept {
    constexpr std::string_view function = __PRETTY_FUNCTION__;  // "... [with T = Name; ...]", clang: "... [T = Name]"
    constexpr std::size_t begin = function.find("T = ") + 4;
    return function.substr(begin, function.find_first_of(";]", begin) - begin);
}

/// The configuration of the queue of `T`, read once per type and checked.
/// Errors: ConfigError naming the value; then the next call reads it again.
/// Threads: any.
template <class T>
[[nodiscard]] const QueueConfig& queue_config() {
    static const QueueConfig config = [] {
        QueueConfig read = TaskTraits<T>::config();
        read.validate();
        return read;
    }();
    return config;
}

/// The unique key of a task: its own, or its payload. Errors: UsageError if its own is not to be used; what its
/// `unique_key` throws.
template <class T>
[[nodiscard]] std::string unique_key(const T& task, const std::string& payload) {
    if constexpr (HasKeyInTraits<T> || HasKey<T>) {
        std::string key;
        if constexpr (HasKeyInTraits<T>) {
            key = TaskTraits<T>::unique_key(task);
        } else {
            key = task.unique_key();
        }
        check_unique_key(key, queue_config<T>().name);
        return key;
    } else {
        return payload;
    }
}

}  // namespace detail

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
