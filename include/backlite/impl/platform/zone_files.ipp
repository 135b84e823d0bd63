// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/zone_files.hpp>.

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <backlite/platform/zone_files.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL std::string chosen_zone_folder() {
    const char* const folder = std::getenv("TZDIR");  // NOLINT(concurrency-mt-unsafe): as the contract says
    return folder == nullptr ? std::string{} : std::string{folder};
}

/// An open file to read, for as long as one is read.
class ZoneFd {
public:
    // Not blocking: whoever opens a pipe would wait for its writer.
    explicit ZoneFd(const std::string& path) noexcept
        : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
    ZoneFd(const ZoneFd&) = delete;
    ZoneFd& operator=(const ZoneFd&) = delete;
    ~ZoneFd() {
        const int kept = errno;
        if (fd_ >= 0) ::close(fd_);
        errno = kept;
    }

    [[nodiscard]] bool regular() const noexcept {
        struct ::stat own {};
        if (fd_ < 0 || ::fstat(fd_, &own) != 0) return false;
        if (!S_ISREG(own.st_mode)) errno = ENOENT;
        return S_ISREG(own.st_mode);
    }

    [[nodiscard]] std::optional<std::string> read(std::size_t most) const {
        std::string bytes;
        for (char part[4096]; bytes.size() < most;) {
            const std::size_t left = most - bytes.size();
            const ssize_t n = ::read(fd_, part, left < sizeof part ? left : sizeof part);
            if (n == 0) break;
            if (n > 0) {
                bytes.append(part, static_cast<std::size_t>(n));
            } else if (errno != EINTR) {
                return std::nullopt;
            }
        }
        return bytes;
    }

private:
    int fd_;
};

BACKLITE_DECL std::optional<std::string> zone_file(const std::string& name, std::size_t most) {
    const std::string chosen = chosen_zone_folder();
    if (!chosen.empty()) {
        const ZoneFd file{chosen + '/' + name};
        return file.regular() ? file.read(most) : std::nullopt;
    }
    for (const char* const folder :
         {"/usr/share/zoneinfo/", "/usr/lib/zoneinfo/", "/usr/share/lib/zoneinfo/", "/etc/zoneinfo/"}) {
        const ZoneFd file{folder + name};
        if (file.regular()) return file.read(most);
    }
    return std::nullopt;
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
