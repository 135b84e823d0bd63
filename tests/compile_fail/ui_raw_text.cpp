// expect: constant expression
// SPDX-License-Identifier: MIT
#include <string>

#include <backlite/ui/html.hpp>

void use(backlite::ui::Html& html) {
    std::string text;
    html.put(text.c_str());
}
