// SPDX-License-Identifier: MIT
#include "letter.hpp"

backlite::TaskId post(backlite::Adder adder, const std::string& to) { return adder.add(Letter{to}).save().front(); }
