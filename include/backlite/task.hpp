// SPDX-License-Identifier: MIT
#pragma once
// What makes a type a task: its queue's configuration, and its way to JSON and back through ADL hooks.

#include <concepts>
#include <cstddef>
#include <exception>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/format.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

template <class T>
concept HasStaticConfig = requires {
    { T::config() } -> std::convertible_to<QueueConfig>;
};

/// Where the library looks for the configuration of a task type. The general form asks `T::config()`; specialise it
/// with the same static function for a type that cannot be edited.
template <class T>
struct TaskTraits {
    /// What the type says of its queue.
    static QueueConfig config() requires HasStaticConfig<T> { return T::config(); }
};

template <class T>
concept HasQueueConfig = requires {
    { TaskTraits<T>::config() } -> std::convertible_to<QueueConfig>;
};

template <class T>
concept JsonConvertible = std::constructible_from<nlohmann::json, const T&> &&
    requires(const nlohmann::json& json, T& value) {
    json.get_to(value);
};

/// A type that can be added and run: movable, default-constructible, configured, convertible to JSON and back.
template <class T>
concept Task =
    std::is_object_v<T> && std::movable<T> && std::default_initializable<T> && HasQueueConfig<T> && JsonConvertible<T>;

/// A range of tasks of one type. A type that is both a task and a range is a task.
template <class R>
concept TaskRange = !HasQueueConfig<std::remove_cvref_t<R>> && std::ranges::input_range<R> &&
                    HasQueueConfig<std::remove_cvref_t<std::ranges::range_value_t<R>>>;

/// Stops the compilation with a sentence that says what a type lacks to be a task.
template <class T>
consteval bool check_task() {
    static_assert(HasQueueConfig<T>,
                  "backlite: this type is no task: it needs `static backlite::QueueConfig config()`, "
                  "or a specialisation of backlite::TaskTraits with that function");
    static_assert(std::movable<T>, "backlite: a task type must be movable");
    static_assert(std::default_initializable<T>,
                  "backlite: a task type must be default-constructible, so that its JSON can be read into it");
    static_assert(std::constructible_from<nlohmann::json, const T&>,
                  "backlite: this task type cannot be written as JSON: give it a to_json(nlohmann::json&, const T&) "
                  "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
    static_assert(
        requires(const nlohmann::json& json, T& value) { json.get_to(value); },
        "backlite: this task type cannot be read from JSON: give it a from_json(const nlohmann::json&, T&) "
        "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
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

/// How deep the JSON of a task may nest. nlohmann_json 3.11 writes, copies and compares recursively: some 30,000
/// levels end the process on a stack of 8 MiB.
inline constexpr std::size_t max_json_depth = 256;

/// How deep the arrays and objects of a JSON text nest, without parsing it. For text that is no JSON: any number.
[[nodiscard]] inline std::size_t json_depth(std::string_view text) noexcept {
    std::size_t depth = 0;
    std::size_t deepest = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                quoted = false;
            }
            continue;
        }
        if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest) deepest = depth;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

/// The compact JSON of a task.
/// Errors: EncodeError naming the queue, when `to_json` throws, a string is not UTF-8, or the JSON nests too deep.
template <class T>
[[nodiscard]] std::string encode(const T& task, const std::string& queue) {
    std::string text;
    try {
        const nlohmann::json json(task);
        text = json.dump();
    } catch (const std::exception& error) {
        const char* why = error.what();
        throw EncodeError(detail::format("queue \"{}\": a task cannot be encoded: {}",
                                         {queue, why == nullptr ? "an exception without a text" : why}),
                          queue);
    } catch (...) {
        throw EncodeError(
            detail::format("queue \"{}\": a task cannot be encoded: to_json threw no std::exception", {queue}), queue);
    }
    if (json_depth(text) > max_json_depth) {
        throw EncodeError(detail::format("queue \"{}\": a task cannot be encoded: its JSON nests deeper than {}",
                                         {queue, max_json_depth}),
                          queue);
    }
    return text;
}

/// The task that a payload holds.
/// Errors: std::runtime_error saying why it cannot be read, or what `from_json` throws.
template <class T>
[[nodiscard]] T decode(std::string_view payload) {
    if (json_depth(payload) > max_json_depth) {
        throw std::runtime_error(detail::format("its JSON nests deeper than {}", {max_json_depth}));
    }
    T task{};
    const nlohmann::json json = nlohmann::json::parse(payload);
    json.get_to(task);
    return task;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
