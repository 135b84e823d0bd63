// expect: call to
// SPDX-License-Identifier: MIT
#include <backlite/ui/html.hpp>

void use(backlite::ui::Html& html) { html.put("<a href={}>", "x"); }
