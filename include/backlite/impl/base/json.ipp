// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/json.hpp>.

#include <utility>

#include <backlite/base/json.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL JsonShape json_shape(std::string_view text) noexcept {
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

BACKLITE_DECL std::string current_error() {
    try {
        throw;
    } catch (const std::exception& error) {
        const char* const text = error.what();
        return text == nullptr ? "an exception without a text" : text;
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

BACKLITE_DECL std::string text_json(std::string text) {
    return nlohmann::json(std::move(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

BACKLITE_DECL std::map<std::string, std::string> read_texts(std::string_view text) {
    std::map<std::string, std::string> found;
    if (text.empty()) return found;
    try {
        auto json = parse_payload<nlohmann::json>(text);
        const TakesApart<nlohmann::json> apart(json);
        if (!json.is_object()) return found;
        for (const auto& [name, value] : json.items()) {
            found.emplace(name, value.is_string() ? value.get<std::string>() : value.dump());
        }
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception&) {  // others may have put anything there
        found.clear();
    }
    return found;
}

BACKLITE_DECL bool shares_field(std::string_view a, std::string_view b) {
    auto first = parse_payload<nlohmann::json>(a);
    const TakesApart<nlohmann::json> first_apart(first);
    auto second = parse_payload<nlohmann::json>(b);
    const TakesApart<nlohmann::json> second_apart(second);
    if (!first.is_object() || !second.is_object() || first.empty() || second.empty()) return true;
    return std::any_of(first.items().begin(), first.items().end(),
                       [&second](const auto& field) { return second.contains(field.key()); });
}

BACKLITE_DECL void throw_result_unwritable(const std::string& why) {
    throw EncodeError(format("its result cannot be written as JSON: {}", {why}), {});
}

BACKLITE_DECL void throw_result_of_another_type(std::string_view type, const std::string& why) {
    throw EncodeError(format("its result cannot be read as {}, the Result of its task: {}", {type, why}), {});
}

#if defined(BACKLITE_SEPARATE_COMPILATION)
template class TakesApart<nlohmann::json>;
template nlohmann::json parse_payload<nlohmann::json>(std::string_view);
template std::string dump_payload<nlohmann::json>(const nlohmann::json&);
template class TakesApart<nlohmann::ordered_json>;
template nlohmann::ordered_json parse_payload<nlohmann::ordered_json>(std::string_view);
template std::string dump_payload<nlohmann::ordered_json>(const nlohmann::ordered_json&);
#endif

}  // namespace detail
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
