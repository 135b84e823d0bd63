// SPDX-License-Identifier: MIT
#pragma once
// The commands. Each returns what the program ends with.

#include <string>

#include <backlite/admin.hpp>

#include "options.hpp"

namespace tool {

enum ExitCode { done = 0, nothing = 1, misunderstood = 2, unusable = 3, refused = 4 };

/// Errors: UsageFault, backlite::Error.
int run(const Options& options);

/// For a task that is not there: how many ids begin so, if any do, and how to list them.
[[nodiscard]] std::string begins_so(const backlite::Admin& admin, const Options& options, const std::string& id);

int list(const Options& options);
int show(const Options& options);
int queues(const Options& options);
int stats(const Options& options);
int schedules(const Options& options);
int act(const Options& options);
int send_signal(const Options& options);
int pause_or_resume(const Options& options);
int purge(const Options& options);
int doctor(const Options& options);

}  // namespace tool
