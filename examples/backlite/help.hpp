// SPDX-License-Identifier: MIT
#pragma once
// What the tool says of itself.

#include <string>
#include <string_view>

namespace tool {

[[nodiscard]] bool is_command(std::string_view name) noexcept;

/// Whether a command goes by --queue, --state and so on.
[[nodiscard]] bool has_filter(std::string_view name) noexcept;

/// Of one command; of all if `command` is empty.
[[nodiscard]] std::string help(std::string_view command);

/// A script for `bash` or `zsh`; empty for another shell.
[[nodiscard]] std::string completion(std::string_view shell);

}  // namespace tool
