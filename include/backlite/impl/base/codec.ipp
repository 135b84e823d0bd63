// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/base/codec.hpp>.

#include <backlite/base/codec.hpp>

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

BACKLITE_DECL void throw_encode_error(const std::string& queue, const std::string& why) {
    throw EncodeError(format("queue \"{}\": a task cannot be encoded: {}", {queue, why}), queue);
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
