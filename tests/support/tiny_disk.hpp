// SPDX-License-Identifier: MIT
#pragma once
// A disk that a test can fill.

#include <array>
#include <string>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <temp_folder.hpp>

namespace backlite_test {

/// A file system of 256 KiB in memory, mounted on a folder. Only who may mount gets one.
class TinyDisk {
public:
    TinyDisk() : mounted_(::mount("backlite", folder_.name().c_str(), "tmpfs", 0, "size=256k") == 0) {}
    TinyDisk(const TinyDisk&) = delete;
    TinyDisk& operator=(const TinyDisk&) = delete;
    ~TinyDisk() {
        if (mounted_) ::umount2(folder_.name().c_str(), MNT_DETACH);
    }

    [[nodiscard]] bool mounted() const { return mounted_; }
    [[nodiscard]] const TempFolder& folder() const { return folder_; }
    [[nodiscard]] std::string ballast() const { return folder_.name() + "/ballast"; }

    /// Leaves no room, until the ballast is removed.
    void fill() const {
        const int fd = ::open(ballast().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        const std::array<char, 4096> block{};
        while (::write(fd, block.data(), block.size()) > 0) {
        }
        ::close(fd);
    }

private:
    TempFolder folder_{};
    bool mounted_;
};

}  // namespace backlite_test
