// SPDX-License-Identifier: MIT
#pragma once
// Tasks to JSON and back.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

/// How deep the JSON of a task may nest. nlohmann_json 3.11 writes, copies and compares recursively: some 30,000
/// levels end the process on a stack of 8 MiB.
inline constexpr std::size_t max_json_depth = 256;

/// Facts about a JSON text from one pass, without parsing it. Undefined values for text that is not JSON.
struct JsonShape {
    std::size_t depth = 0;  ///< how deep its arrays and objects nest
    bool has_null = false;  ///< null stands in it somewhere
};

[[nodiscard]] JsonShape json_shape(std::string_view text) noexcept;

/// How deep the arrays and objects of a JSON text nest.
[[nodiscard]] inline std::size_t json_depth(std::string_view text) noexcept { return json_shape(text).depth; }

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
[[nodiscard]] std::string current_error();

/// The JSON in a payload. Errors: std::runtime_error or nlohmann's, saying why it cannot be read.
template <class Json>
[[nodiscard]] Json parse_payload(std::string_view payload) {
    if (json_depth(payload) > max_json_depth) {
        throw std::runtime_error(format("its JSON nests deeper than {}", {max_json_depth}));
    }
    return Json::parse(payload);
}

/// The payload that holds a value. Errors: std::runtime_error or nlohmann's, saying why it cannot be written.
template <class Json>
[[nodiscard]] std::string dump_payload(const Json& json) {
    std::string text = json.dump();
    const JsonShape shape = json_shape(text);
    if (shape.depth > max_json_depth) {
        throw std::runtime_error(format("its JSON nests deeper than {}", {max_json_depth}));
    }
    if (shape.has_null && has_no_number(json)) {
        throw std::runtime_error("a number in it is NaN or infinite, which JSON does not have");
    }
    return text;
}

#if defined(BACKLITE_SEPARATE_COMPILATION)
// nlohmann_json's parser and writer are half of what a file with a task compiles.
extern template class TakesApart<nlohmann::json>;
extern template nlohmann::json parse_payload<nlohmann::json>(std::string_view);
extern template std::string dump_payload<nlohmann::json>(const nlohmann::json&);
extern template class TakesApart<nlohmann::ordered_json>;
extern template nlohmann::ordered_json parse_payload<nlohmann::ordered_json>(std::string_view);
extern template std::string dump_payload<nlohmann::ordered_json>(const nlohmann::ordered_json&);
#endif

[[noreturn]] void throw_encode_error(const std::string& queue, const std::string& why);

/// The task that a payload holds.
/// Errors: std::runtime_error saying why it cannot be read, or what `from_json` throws.
template <class T>
[[nodiscard]] T decode(std::string_view payload) {
    T task{};
    auto json = parse_payload<JsonOf<T>>(payload);
    const TakesApart<JsonOf<T>> apart(json);
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
        std::string why;
        try {
            JsonOf<T> json(task);
            const TakesApart<JsonOf<T>> apart(json);
            return dump_payload(json);
        } catch (...) {
            why = current_error();
        }
        throw_encode_error(queue, why);
    }
}

/// The compact JSON of a value, whatever it is for. Errors: `fail(why)` throws one, when it cannot be written.
template <class V, class Fail>
[[nodiscard]] std::string encode_value(const V& value, Fail&& fail) {
    if constexpr (Fieldless<V>) {
        return "{}";
    } else {
        std::string why;
        try {
            JsonOf<V> json(value);
            const TakesApart<JsonOf<V>> apart(json);
            return dump_payload(json);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (...) {
            why = current_error();
        }
        fail(why);
        return why;  // not reached
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
        return current_error();
    }
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/codec.ipp>
#endif
