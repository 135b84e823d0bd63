// SPDX-License-Identifier: MIT
#pragma once
// The tasks of this program in a browser.

#include <memory>
#include <string>

#include <backlite/fwd.hpp>

namespace file_index {

/// A web server that shows the client's tasks to this machine while it exists.
class Pages {
public:
    /// `port`: 0 for any free one. Errors: std::runtime_error if it cannot be had, or this program was built without
    /// cpp-httplib.
    Pages(backlite::Client& client, int port);
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    ~Pages();

    /// What to open, for the user of this program alone: it holds a token.
    [[nodiscard]] std::string address() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace file_index
