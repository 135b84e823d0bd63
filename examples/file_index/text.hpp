// SPDX-License-Identifier: MIT
#pragma once
// What the index wants to know of one file.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace file_index {

/// Tells whether a file has changed since it was indexed.
struct Stamp {
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;

    friend bool operator==(const Stamp&, const Stamp&) = default;
};

struct FileText {
    Stamp stamp{};
    std::string words{};  ///< UTF-8; each word once, in the order of the file, separated by spaces
    std::string note{};   ///< why `words` is not all: "binary", "first 4 MiB"; else empty
};

/// A file that is there and cannot be read; `what()` is the system's reason.
struct Unreadable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The words of a regular file; nullopt if there is no regular file of that name any more.
/// Errors: Unreadable; std::system_error for what may pass, such as too many open files.
[[nodiscard]] std::optional<FileText> read_text(const std::string& path);

/// The stamp of a regular file, for a stat of it.
template <class Stat>
[[nodiscard]] Stamp stamp_of(const Stat& stat) noexcept {
    constexpr std::int64_t second = 1'000'000'000;
    return {static_cast<std::int64_t>(stat.st_size), stat.st_mtim.tv_sec * second + stat.st_mtim.tv_nsec};
}

/// Whether a byte is part of a word: ASCII letters and digits, and all bytes of letters beyond ASCII.
[[nodiscard]] constexpr bool in_word(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           static_cast<unsigned char>(c) >= 128;
}

/// Bytes that are not UTF-8 taken as Latin-1, the usual other one; UTF-8 as it is.
[[nodiscard]] std::string to_utf8(std::string bytes);

/// A file name as it can be shown on a terminal: any byte may be in one.
[[nodiscard]] std::string printable(const std::string& path);

}  // namespace file_index
