// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/logger.hpp>.

#include <backlite/logger.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL std::string format_event(std::string_view message, std::span<const LogField> fields) {
    std::string line{message};
    for (const LogField& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; };
        const bool plain = !field.value.empty() && field.value.find_first_of(" \"=\\") == std::string::npos &&
                           std::none_of(field.value.begin(), field.value.end(), control);
        if (plain) {
            line += field.value;
            continue;
        }
        line += '"';
        for (const char c : field.value) {
            switch (c) {
                case '"': line += "\\\""; break;
                case '\\': line += "\\\\"; break;
                case '\n': line += "\\n"; break;
                case '\r': line += "\\r"; break;
                case '\t': line += "\\t"; break;
                default:
                    if (control(c)) {  // a terminal must not obey what an error text says
                        line += "\\x";
                        line += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
                        line += "0123456789abcdef"[c & 0xf];
                    } else {
                        line += c;
                    }
            }
        }
        line += '"';
    }
    return line;
}

BACKLITE_DECL void(StderrLogger::log)(LogLevel level, std::string_view message, std::span<const LogField> fields) {
    if (level < least_) return;
    std::string line{to_string(level)};
    line.resize(8, ' ');
    line.append(format_event(message, fields)) += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
