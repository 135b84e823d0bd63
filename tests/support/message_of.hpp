// SPDX-License-Identifier: MIT
#pragma once
// What an exception says, for tests on its text.

#include <string>
#include <string_view>

namespace backlite_test {

/// The text of the `Exception` that `call` throws; "nothing thrown" if it returns. Other exceptions pass through.
template <class Exception, class Call>
[[nodiscard]] std::string message_of(Call&& call) {
    try {
        call();
    } catch (const Exception& error) {
        return error.what();
    }
    return "nothing thrown";
}

[[nodiscard]] inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

}  // namespace backlite_test
