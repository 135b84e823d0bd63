// SPDX-License-Identifier: MIT
#pragma once
// Values to JSON and back.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

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

/// The name of a type as the compiler writes it: one for all modules of a program, and there without RTTI too.
template <class T>
[[nodiscard]] constexpr std::string_view type_name() noexcept {
    constexpr std::string_view function = __PRETTY_FUNCTION__;  // "... [with T = Name; ...]", clang: "... [T = Name]"
    constexpr std::size_t begin = function.find("T = ") + 4;
    return function.substr(begin, function.find_first_of(";]", begin) - begin);
}

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

/// The fields of a JSON object; of those that are no text their JSON. Empty for anything else, whatever it is.
[[nodiscard]] std::map<std::string, std::string> read_texts(std::string_view text);

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

/// The JSON of a text of others. What is no UTF-8 in it is replaced: whatever they wrote, it can be written down.
[[nodiscard]] std::string text_json(std::string text);

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

/// Whether two objects have a field of one name, or one of them has none. REQUIRES: both are JSON.
[[nodiscard]] bool shares_field(std::string_view a, std::string_view b);

#if defined(BACKLITE_SEPARATE_COMPILATION)
// nlohmann_json's parser and writer are half of what a file with a task compiles.
extern template class TakesApart<nlohmann::json>;
extern template nlohmann::json parse_payload<nlohmann::json>(std::string_view);
extern template std::string dump_payload<nlohmann::json>(const nlohmann::json&);
extern template class TakesApart<nlohmann::ordered_json>;
extern template nlohmann::ordered_json parse_payload<nlohmann::ordered_json>(std::string_view);
extern template std::string dump_payload<nlohmann::ordered_json>(const nlohmann::ordered_json&);
#endif

[[noreturn]] void throw_result_unwritable(const std::string& why);

/// The compact JSON of a value.
/// Errors: std::runtime_error, nlohmann's or what `to_json` throws, saying why it cannot be written.
template <class T>
[[nodiscard]] std::string write_json(const T& value) {
    if constexpr (Fieldless<T>) {
        return "{}";
    } else {
        JsonOf<T> json(value);
        const TakesApart<JsonOf<T>> apart(json);
        return dump_payload(json);
    }
}

/// The value in a JSON text.
/// Errors: std::runtime_error, nlohmann's or what `from_json` throws, saying why it cannot be read.
template <class T>
[[nodiscard]] T read_json(std::string_view text) {
    T value{};
    auto json = parse_payload<JsonOf<T>>(text);
    const TakesApart<JsonOf<T>> apart(json);
    if constexpr (!Fieldless<T>) json.get_to(value);
    return value;
}

/// Whether a value is what was read from a JSON text and not from its defaults: a type whose fields have some can be
/// read from any object. REQUIRES: it was read from the text.
template <class T>
[[nodiscard]] bool fits(std::string_view text, const T& value) {
    return text.front() != '{' || shares_field(text, write_json(value));
}

[[noreturn]] void throw_result_of_another_type(std::string_view type, const std::string& why);

/// Errors: EncodeError saying why a result cannot be read as a `T`; what `from_json` throws that is no std::exception.
template <class T>
void check_readable(std::string_view result) {
    std::string why;
    try {
        if (fits(result, read_json<T>(result))) return;
        why = "it has none of that type's fields";
    } catch (const std::exception& error) {
        why = error.what();
    }
    throw_result_of_another_type(type_name<T>(), why);
}

/// What a result is written as. Errors: EncodeError saying why it cannot be; what `to_json` throws that is no
/// std::exception. Lets the end of a thread pass: processors call it.
template <class T>
[[nodiscard]] std::string encode_result(const T& result) {
    std::string why;
    try {
        return write_json(result);
    } catch (const std::exception& error) {
        why = error.what();
    }
    throw_result_unwritable(why);
}

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/base/json.ipp>
#endif
