// SPDX-License-Identifier: MIT
#include "../two_units/letter.hpp"

backlite::TaskId again(const backlite::Adder& adder) { return post(adder, "again"); }

int main() { return 0; }
