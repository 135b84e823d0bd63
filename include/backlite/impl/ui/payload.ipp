// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/payload.hpp>.

#include <backlite/ui/payload.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL PayloadKind kind_of(std::string_view payload) {
    if (!is_utf8(payload)) return PayloadKind::binary;
    if (nlohmann::json::accept(payload)) return PayloadKind::json;
    return payload.find('\0') == std::string_view::npos ? PayloadKind::text : PayloadKind::binary;
}

BACKLITE_DECL std::string indented_json(std::string_view json, std::size_t limit) {
    std::string out;
    std::size_t level = 0;
    bool in_string = false;
    const auto line = [&] {
        out += '\n';
        out.append(2 * (std::min)(level, std::size_t{32}), ' ');
    };
    const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
    for (std::size_t i = 0; i < json.size() && out.size() < limit; ++i) {
        const char c = json[i];
        if (in_string) {
            out += c;
            if (c == '\\' && i + 1 < json.size()) out += json[++i];
            if (c == '"') in_string = false;
            continue;
        }
        if (is_blank(c)) continue;
        switch (c) {
            case '"':
                in_string = true;
                out += c;
                break;
            case '{':
            case '[': {
                out += c;
                std::size_t next = i + 1;
                while (next < json.size() && is_blank(json[next])) ++next;
                if (next < json.size() && (json[next] == '}' || json[next] == ']')) {
                    out += json[next];
                    i = next;
                } else {
                    ++level;
                    line();
                }
                break;
            }
            case '}':
            case ']':
                if (level > 0) --level;
                line();
                out += c;
                break;
            case ',':
                out += c;
                line();
                break;
            case ':': out += ": "; break;
            default: out += c;
        }
    }
    return out;
}

BACKLITE_DECL std::string hex_dump(std::string_view bytes, std::size_t limit) {
    std::string out;
    for (std::size_t at = 0; at < bytes.size() && out.size() < limit; at += 16) {
        const std::string_view row = bytes.substr(at, 16);
        out += fmt::format("{:08x} ", at);
        for (std::size_t i = 0; i < 16; ++i) {
            if (i == 8) out += ' ';
            out += i < row.size() ? fmt::format(" {:02x}", static_cast<unsigned char>(row[i])) : "   ";
        }
        out += "  ";
        for (const char c : row) out += c >= 0x20 && c < 0x7f ? c : '.';
        out += '\n';
    }
    return out;
}

BACKLITE_DECL std::string readable_payload(std::string_view payload, PayloadKind kind, std::size_t limit) {
    switch (kind) {
        case PayloadKind::json: return indented_json(payload, limit);
        case PayloadKind::text: return std::string{cut(payload, limit)};
        case PayloadKind::binary: break;
    }
    return hex_dump(payload, limit);
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
