// SPDX-License-Identifier: MIT
#pragma once
// Rows of other kinds that lie in the file beside the tasks at work.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bench {

/// A kind of row that lies beside, and the statement that makes ?1 of them at the time ?2.
struct Beside {
    std::string_view name;
    std::string_view sql;
};

[[nodiscard]] std::span<const Beside> all_kinds() noexcept;

/// Makes `count` of them, which are counted by no Runs. The file holds our tables already.
void fill_beside(const std::string& file, const Beside& beside, std::size_t count);

}  // namespace bench
