// SPDX-License-Identifier: MIT
#pragma once
// Where the databases live, and how a measurement starts from a known state of the disk.

#include <string>

namespace bench {

/// A folder for the run, removed with everything in it at the end.
class Folder {
public:
    /// A new folder inside `parent`; if that is empty, inside the first of $TMPDIR, /var/tmp and the current folder
    /// that is on a disk. Errors: std::runtime_error.
    explicit Folder(const std::string& parent);
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] bool in_memory() const noexcept { return in_memory_; }

    /// A new database in which the library has installed its tables; one of that name is deleted before.
    /// REQUIRES: no connection to the old one is open.
    [[nodiscard]] std::string fresh(const std::string& name) const;

    /// Deletes the database and the files beside it.
    static void remove(const std::string& database);

private:
    std::string path_{};
    bool in_memory_ = false;
};

/// Writes all dirty pages of the machine to its disks, so that the next measurement does not pay for the last one.
void flush();

}  // namespace bench
