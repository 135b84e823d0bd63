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

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>

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

    static bool is_uuid(std::string_view text) noexcept;

    std::string text_{};
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

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/id.ipp>
#endif
