// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/html.hpp>.

#include <backlite/ui/html.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL Html& Html::text(std::string_view text) {
    each_character(text, [&](std::string_view piece) {
        switch (piece.front()) {
            case '&': text_ += "&amp;"; break;
            case '<': text_ += "&lt;"; break;
            case '>': text_ += "&gt;"; break;
            case '"': text_ += "&quot;"; break;
            case '\'': text_ += "&#39;"; break;
            default: text_ += piece;
        }
    });
    return *this;
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
