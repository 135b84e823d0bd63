// expect: call to
// SPDX-License-Identifier: MIT
#include <string>

#include <backlite/ui/html.hpp>

void use(backlite::ui::Html& html) { html.put("<a title=\"{}\">x</a>", html); }
