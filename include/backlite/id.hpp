// SPDX-License-Identifier: MIT
#pragma once
// TaskId: the text of a UUID version 7 (RFC 9562), and the generator that makes increasing ones.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <backlite/error.hpp>
#include <backlite/format.hpp>
#include <backlite/random.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// Names one task for as long as its row lives, over all its attempts. A value: ordered, hashable, fmt-formattable.
/// Ids made by one client increase in the order in which its adds took them.
class TaskId {
public:
    /// No id: equal only to another one without text, never given to a task.
    TaskId() = default;

    /// The id in `text`, a UUID in its 36-character form; letters may be of either case and are kept as given.
    /// Errors: ConfigError naming the text if it is no UUID.
    [[nodiscard]] static TaskId parse(std::string_view text) {
        if (!is_uuid(text)) throw ConfigError(detail::format("not a task id: \"{}\"", {text.substr(0, 64)}));
        return TaskId{std::string{text}};
    }

    /// An id with any text: rows that other programs wrote may carry such ids.
    [[nodiscard]] static TaskId from_text(std::string text) { return TaskId{std::move(text)}; }

    /// Its text; empty for no id.
    [[nodiscard]] const std::string& str() const noexcept { return text_; }

    /// Ids are equal if their texts are.
    friend bool operator==(const TaskId&, const TaskId&) = default;
    /// In the order of their texts, which for ids of the library is the order in time.
    friend std::strong_ordering operator<=>(const TaskId& a, const TaskId& b) noexcept {
        return a.text_.compare(b.text_) <=> 0;
    }

private:
    explicit TaskId(std::string text) : text_(std::move(text)) {}

    static bool is_uuid(std::string_view text) noexcept {
        if (text.size() != 36) return false;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const char c = text[i];
            const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            if (dash ? c != '-' : !hex) return false;
        }
        return true;
    }

    std::string text_{};
};

/// Makes UUIDs of version 7 that increase, also when the wall clock stands still or goes back.
/// Within one millisecond the 74 random bits are raised by a random step instead of drawn anew (RFC 9562, 6.2,
/// method 2), so an id costs no system call.
/// Threads: any.
class IdGenerator {
public:
    [[nodiscard]] TaskId next(std::int64_t now_ms) {
        const std::lock_guard lock(mutex_);
        return next_locked(now_ms);
    }

    /// Calls `take` with `count` ids in increasing order, under one lock.
    template <class Take>
    void next_many(std::int64_t now_ms, std::size_t count, Take&& take) {
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < count; ++i) take(i, next_locked(now_ms));
    }

private:
    static constexpr std::uint64_t low_mask = (std::uint64_t{1} << 62) - 1;

    TaskId next_locked(std::int64_t now_ms) {
        const auto now = static_cast<std::uint64_t>(now_ms < 0 ? 0 : now_ms) & 0xffff'ffff'ffffU;
        if (now > ms_) {
            ms_ = now;
            high_ = random() & 0x7ff;  // the top bit stays clear, so that a millisecond has room to count
            low_ = random() & low_mask;
        } else {
            low_ += (random() & 0xffff'ffffU) + 1;
            if (low_ > low_mask) {
                low_ &= low_mask;
                if (++high_ > 0xfff) {
                    high_ = 0;
                    ++ms_;  // used up: borrow from the next millisecond
                }
            }
        }
        return TaskId::from_text(text_of(ms_, high_, low_));
    }

    std::uint64_t random() noexcept { return detail::random_of(random_state_ += detail::random_step); }

    static std::string text_of(std::uint64_t ms, std::uint64_t high, std::uint64_t low) {
        const std::uint64_t first = ms << 16 | 0x7000U | high;                   // version 7
        const std::uint64_t second = std::uint64_t{2} << 62 | (low & low_mask);  // variant 10
        std::string text(36, '-');
        std::size_t at = 0;
        const auto write = [&](std::uint64_t word) {
            for (int shift = 60; shift >= 0; shift -= 4) {
                if (at == 8 || at == 13 || at == 18 || at == 23) ++at;
                text[at++] = "0123456789abcdef"[word >> shift & 0xf];
            }
        };
        write(first);
        write(second);
        return text;
    }

    std::mutex mutex_{};
    // guarded by mutex_
    std::uint64_t random_state_ = detail::random_seed();
    std::uint64_t ms_ = 0;
    std::uint64_t high_ = 0;
    std::uint64_t low_ = 0;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

/// @cond  specialisations of others' templates, which Doxygen cannot place
template <>
struct std::hash<backlite::TaskId> {
    std::size_t operator()(const backlite::TaskId& id) const noexcept { return std::hash<std::string>{}(id.str()); }
};

template <>
struct fmt::formatter<backlite::TaskId> : fmt::formatter<std::string_view> {
    template <class FormatContext>
    auto format(const backlite::TaskId& id, FormatContext& context) const {
        return fmt::formatter<std::string_view>::format(id.str(), context);
    }
};
/// @endcond
