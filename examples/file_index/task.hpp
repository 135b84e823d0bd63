// SPDX-License-Identifier: MIT
#pragma once
// The task of this program, and what a worker does with it.

#include <cstdint>

#include <backlite/backlite.hpp>
#include <nlohmann/json.hpp>

#include "index.hpp"

namespace file_index {

/// Brings one file of the index up to date. It names the file by its row, since a path is any bytes and JSON holds only
/// UTF-8.
struct IndexFile {
    std::int64_t file_id = 0;
    static backlite::QueueConfig config();
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(IndexFile, file_id)

/// The processor. It may run again for a task that it has done: after a crash, before its outcome was written.
[[nodiscard]] backlite::Outcome index_file(Index& index, const backlite::Context& context, const IndexFile& task);

}  // namespace file_index
