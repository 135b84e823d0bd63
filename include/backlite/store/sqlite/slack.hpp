// SPDX-License-Identifier: MIT
#pragma once
// The filler that keeps the record of a large task at its size. SQLite writes only those pages of a record that differ,
// if its size stays; else it writes the whole payload again.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <backlite/base/rows.hpp>
#include <backlite/store/sqlite/statement.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

/// The columns of an unfinished task that change with its state.
struct StateColumns {
    std::optional<std::int64_t> claimed_at{};
    std::optional<std::int64_t> owner{};
    std::optional<std::int64_t> wait_until{};
    std::optional<std::int64_t> last_executed_at{};
    std::int64_t claim = 0;
    std::int64_t lease = 0;
    std::int64_t crashes = 0;
    std::int64_t attempts = 0;
    std::int64_t flags = 0;
    std::optional<std::size_t> error{};  ///< bytes

    /// How many bytes of a record they take (sqlite.org/fileformat2.html, 2.1).
    [[nodiscard]] std::size_t bytes() const noexcept;
};

/// What the column `slack` holds: so many zeros, whose bytes nobody reads. NULL in rows that other programs added: more
/// bytes could make one of them larger than SQLite takes, and it could not be claimed.
class Slack {
public:
    /// Of a task that waits for its first attempt: enough for what its states write, with an error of usual length.
    static constexpr std::size_t most = 400;
    /// Fewer would take a byte less to say how many they are.
    static constexpr std::size_t least = 58;

    /// Of a new task with these columns. nullopt: it is not large.
    [[nodiscard]] static std::optional<Blob> of(const detail::NewTask& task, const StateColumns& now = {}) noexcept {
        return task.payload.size() < detail::large_payload ? std::nullopt : std::optional{after(most, {}, now)};
    }

    /// What is left of `slack` bytes after a change of the columns.
    [[nodiscard]] static Blob after(std::size_t slack, const StateColumns& before, const StateColumns& now) noexcept;

private:
    static Blob zeros(std::size_t count) noexcept { return Blob{{bytes_.data(), count}}; }

    static constexpr std::array<char, most> bytes_{};
};

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/store/sqlite/slack.ipp>
#endif
