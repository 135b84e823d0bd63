// SPDX-License-Identifier: MIT
#include "files.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <backlite/client.hpp>

namespace bench {

namespace {

bool is_in_memory(const std::string& folder) {
    struct ::statfs info {};
    if (::statfs(folder.c_str(), &info) != 0) return false;
    return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC;
}

std::string place_on_disk() {
    const char* temporary = std::getenv("TMPDIR");
    for (const std::string& place : {std::string{temporary == nullptr ? "" : temporary}, std::string{"/var/tmp"}}) {
        if (!place.empty() && ::access(place.c_str(), W_OK) == 0 && !is_in_memory(place)) return place;
    }
    return ".";
}

}  // namespace

Folder::Folder(const std::string& parent) {
    const std::string place = parent.empty() ? place_on_disk() : parent;
    path_ = place + "/backlite-bench-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
        throw std::runtime_error(
            fmt::format("cannot make a folder in {}: {}", place, std::generic_category().message(errno)));
    }
    in_memory_ = is_in_memory(path_);
}

Folder::~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string Folder::fresh(const std::string& name) const {
    std::string database = path_ + '/' + name + ".db";
    remove(database);
    const backlite::Client installed{{.database = database}};
    return database;
}

void Folder::remove(const std::string& database) {
    for (const char* suffix : {"", "-wal", "-shm", "-backlite"}) {
        std::error_code ignored;
        std::filesystem::remove(database + suffix, ignored);
    }
}

void flush() { ::sync(); }

}  // namespace bench
