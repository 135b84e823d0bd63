// SPDX-License-Identifier: MIT
#include "text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace file_index {
namespace {

constexpr std::size_t binary_probe = 8 * 1024;
constexpr std::size_t most_text = std::size_t{4} << 20;  // a bound on memory; few texts are longer
constexpr std::size_t longest_word = 64;                 // longer ones are encoded data that nobody looks for

class Descriptor {
public:
    // O_NONBLOCK: a pipe may have taken the file's place since the folder was read, and opening it would wait.
    explicit Descriptor(const std::string& path)
        : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

[[noreturn]] void fail(int error) {
    const bool passes = error == EMFILE || error == ENFILE || error == ENOMEM;
    if (passes) throw std::system_error(error, std::generic_category());
    throw Unreadable(std::generic_category().message(error));
}

// At most `limit` bytes.
std::string read_all(int fd, std::size_t expected, std::size_t limit) {
    std::string content((std::min)(expected + 1, limit), '\0');
    std::size_t used = 0;
    for (;;) {
        if (used == content.size()) {
            if (used == limit) return content;
            content.resize((std::min)(used * 2, limit));
        }
        const ssize_t n = ::read(fd, content.data() + used, content.size() - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(errno);
        if (n == 0) break;
        used += static_cast<std::size_t>(n);
    }
    content.resize(used);
    return content;
}

// Full text search goes by words, so each is kept once: a tenth of the text, and all the work of finding them is done
// before the write lock is taken. SQLite's tokenizer does the rest, as accents and signs beyond ASCII.
std::string distinct_words(std::string& text) {
    std::string words;
    std::unordered_set<std::string_view> seen;
    const auto end = text.end();
    for (auto at = text.begin(); at != end;) {
        const auto first = std::find_if(at, end, in_word);
        for (at = first; at != end && in_word(*at); ++at) {
            if (*at >= 'A' && *at <= 'Z') *at = static_cast<char>(*at - 'A' + 'a');
        }
        const auto length = static_cast<std::size_t>(at - first);
        if (length == 0 || length > longest_word) continue;
        const std::string_view word(&*first, length);
        if (!seen.insert(word).second) continue;
        if (!words.empty()) words += ' ';
        words += word;
    }
    return words;
}

// Well-formed as far as its bytes tell lead from continuation; what only looks like UTF-8 does no harm.
bool is_utf8(const std::string& bytes) noexcept {
    int expected = 0;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        const bool continuation = (byte & 0xc0) == 0x80;
        if (continuation != (expected > 0)) return false;
        if (continuation) {
            --expected;
        } else if (byte >= 0x80) {
            if (byte < 0xc2 || byte > 0xf4) return false;
            expected = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        }
    }
    return expected == 0;
}

}  // namespace

std::optional<FileText> read_text(const std::string& path) {
    const Descriptor file(path);
    if (file.get() < 0) {
        const int error = errno;
        // ELOOP: a symbolic link; ENXIO, ENODEV: a socket or a device.
        for (const int gone : {ENOENT, ENOTDIR, ELOOP, ENXIO, ENODEV}) {
            if (error == gone) return std::nullopt;
        }
        fail(error);
    }
    struct ::stat found {};
    if (::fstat(file.get(), &found) != 0) fail(errno);
    if (!S_ISREG(found.st_mode)) return std::nullopt;

    FileText text{.stamp = stamp_of(found)};
    std::string content = read_all(file.get(), static_cast<std::size_t>(found.st_size), most_text);
    if (std::memchr(content.data(), 0, (std::min)(content.size(), binary_probe)) != nullptr) {
        text.note = "binary";
        return text;
    }
    if (content.size() == most_text) {
        text.note = fmt::format("first {} MiB", most_text >> 20);
        while (!content.empty() && in_word(content.back())) content.pop_back();  // half a word
    }
    content = to_utf8(std::move(content));
    text.words = distinct_words(content);
    return text;
}

std::string to_utf8(std::string bytes) {
    if (is_utf8(bytes)) return bytes;
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            text += c;
        } else {
            text += static_cast<char>(0xc0 | byte >> 6);
            text += static_cast<char>(0x80 | (byte & 0x3f));
        }
    }
    return text;
}

std::string printable(const std::string& path) {
    std::string shown;
    for (const char c : path) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            shown += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
        } else {
            shown += c;
        }
    }
    return shown;
}

}  // namespace file_index
