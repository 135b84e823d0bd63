// SPDX-License-Identifier: MIT
#pragma once
// What makes a type a task: its queue's configuration, and its way to JSON and back through ADL hooks.

#include <concepts>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include <backlite/base/json.hpp>
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
/// with the same static function for a type that cannot be edited, and with `using Result = ...` if its processor
/// returns one.
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

template <class T>
concept HasResultInTraits = requires {
    typename TaskTraits<T>::Result;
};

template <class T>
concept HasOwnResult = !HasResultInTraits<T> && requires {
    typename T::Result;
};

template <class T>
struct ResultType {
    using type = void;
};
template <HasOwnResult T>
struct ResultType<T> {
    using type = typename T::Result;
};
template <HasResultInTraits T>
struct ResultType<T> {
    using type = typename TaskTraits<T>::Result;
};

/// What the processor of a task type may return; void: it has no `Result`.
template <class T>
using ResultOf = typename ResultType<T>::type;

template <class T>
concept HasPartitionInTraits = requires(const T& task) {
    { TaskTraits<T>::partition(task) } -> std::convertible_to<std::string>;
};

template <class T>
concept HasPartition = requires(const T& task) {
    { task.partition() } -> std::convertible_to<std::string>;
};

/// A type with a static or other function `partition` that nobody would call. A field of that name is none of ours.
template <class T>
concept HasWrongPartition = !HasPartitionInTraits<T> && !HasPartition<T> && requires {
    &TaskTraits<T>::partition;
};

/// A type with a `unique_key` of a form that nobody would call.
template <class T>
concept HasWrongKey = !HasKeyInTraits<T> && !HasKey<T> &&
                      (
                          requires { &T::unique_key; } || requires { &TaskTraits<T>::unique_key; });

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
    static_assert(!HasWrongPartition<T>,
                  "backlite: the partition of this task type must be `std::string partition() const`, or "
                  "`static std::string partition(const T&)` in TaskTraits");
    return true;
}

/// Stops the compilation with a sentence that says what the `Result` of a task type lacks.
template <class T>
consteval bool check_result() {
    using R = ResultOf<T>;
    static_assert(!std::is_void_v<R>,
                  "backlite: this task type has no result: it needs `using Result = ...`, or a specialisation of "
                  "backlite::TaskTraits with that");
    if constexpr (!std::is_void_v<R>) {
        static_assert(std::movable<R> && std::default_initializable<R> && JsonConvertible<R>,
                      "backlite: the Result of a task type must be movable, default-constructible, and convertible to "
                      "JSON and back: give it to_json and from_json, or use "
                      "NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
    }
    return true;
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

/// The partition of a task, "" if its type says none. Errors: UsageError if it is not to be used; what its `partition`
/// throws.
template <class T>
[[nodiscard]] std::string partition_of(const T& task) {
    std::string partition;
    if constexpr (HasPartitionInTraits<T>) {
        partition = TaskTraits<T>::partition(task);
    } else if constexpr (HasPartition<T>) {
        partition = task.partition();
    }
    if (!partition.empty()) check_partition(partition, queue_config<T>().name);
    return partition;
}

}  // namespace detail

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
