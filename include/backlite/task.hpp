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
    /// The configuration of the type's queue.
    static QueueConfig config() requires HasStaticConfig<T> { return T::config(); }
};

template <class T>
concept HasQueueConfig = requires {
    { TaskTraits<T>::config() } -> std::convertible_to<QueueConfig>;
};

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
    static_assert(Fieldless<T> || WritableAs<T, JsonOf<T>>,
                  "backlite: this task type cannot be written as JSON: give it a to_json(nlohmann::json&, const T&) "
                  "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
    static_assert(Fieldless<T> || ReadableFrom<T, JsonOf<T>>,
                  "backlite: this task type cannot be read from JSON: give it a from_json(const nlohmann::json&, T&) "
                  "in its own namespace, or use NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT");
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

/// How deep the JSON of a task may nest. nlohmann_json 3.11 writes, copies and compares recursively: some 30,000
/// levels end the process on a stack of 8 MiB.
inline constexpr std::size_t max_json_depth = 256;

/// Facts about a JSON text from one pass, without parsing it. Undefined values for text that is not JSON.
struct JsonShape {
    std::size_t depth = 0;  ///< how deep its arrays and objects nest
    bool has_null = false;  ///< null stands in it somewhere
};

[[nodiscard]] inline JsonShape json_shape(std::string_view text) noexcept {
    JsonShape shape;
    std::size_t depth = 0;
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
            if (++depth > shape.depth) shape.depth = depth;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        } else if (c == 'n') {
            shape.has_null = true;
        }
    }
    return shape;
}

/// How deep the arrays and objects of a JSON text nest.
[[nodiscard]] inline std::size_t json_depth(std::string_view text) noexcept { return json_shape(text).depth; }

namespace detail {

/// Whether a number in it has no JSON, which nlohmann_json writes as null: NaN or infinite.
template <class Json>
[[nodiscard]] bool has_no_number(const Json& json) {
    if (json.is_number_float()) return !std::isfinite(json.template get<double>());
    if (!json.is_structured()) return false;
    return std::any_of(json.begin(), json.end(), [](const Json& part) { return has_no_number(part); });
}

/// Takes a value apart, from its leaves on, at the end of a scope: nlohmann_json 3.11 needs memory to destroy one that
/// is not empty, and without any it ends the process.
template <class Json>
class TakesApart {
public:
    /// Must not outlive the value.
    explicit TakesApart(Json& json) noexcept : json_(json) {}
    TakesApart(const TakesApart&) = delete;
    TakesApart& operator=(const TakesApart&) = delete;
    ~TakesApart() { take_apart(json_); }

private:
    static void take_apart(Json& json) noexcept {
        if (!json.is_structured()) return;
        for (Json& part : json) take_apart(part);
        json.clear();
    }

    Json& json_;
};

/// The text of what was thrown. REQUIRES: inside a handler.
[[nodiscard]] inline std::string current_error() {
    try {
        throw;
    } catch (const std::exception& error) {
        const char* const text = error.what();
        return text == nullptr ? "an exception without a text" : text;
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

}  // namespace detail

/// The task that a payload holds.
/// Errors: std::runtime_error saying why it cannot be read, or what `from_json` throws.
template <class T>
[[nodiscard]] T decode(std::string_view payload) {
    if (json_depth(payload) > max_json_depth) {
        throw std::runtime_error(detail::format("its JSON nests deeper than {}", {max_json_depth}));
    }
    T task{};
    auto json = JsonOf<T>::parse(payload);
    const detail::TakesApart<JsonOf<T>> apart(json);
    if constexpr (!Fieldless<T>) json.get_to(task);
    return task;
}

/// The compact JSON of a task.
/// Errors: EncodeError naming the queue, when `to_json` throws, a string is not UTF-8, a number is NaN or infinite, or
/// the JSON nests too deep.
template <class T>
[[nodiscard]] std::string encode(const T& task, const std::string& queue) {
    if constexpr (Fieldless<T>) {
        return "{}";
    } else {
        std::string text;
        std::string why;
        try {
            JsonOf<T> json(task);
            const detail::TakesApart<JsonOf<T>> apart(json);
            text = json.dump();
            const JsonShape shape = json_shape(text);
            if (shape.depth > max_json_depth) {
                why = detail::format("its JSON nests deeper than {}", {max_json_depth});
            } else if (shape.has_null && detail::has_no_number(json)) {
                why = "a number in it is NaN or infinite, which JSON does not have";
            }
        } catch (...) {
            why = detail::current_error();
        }
        if (why.empty()) return text;
        throw EncodeError(detail::format("queue \"{}\": a task cannot be encoded: {}", {queue, why}), queue);
    }
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
        return detail::current_error();
    }
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
