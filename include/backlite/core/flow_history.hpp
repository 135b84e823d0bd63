// SPDX-License-Identifier: MIT
#pragma once
// What a flow has done so far, as the saved values of its task say it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// A record of a step that has returned, and of one that failed for good: its JSON begins so. Stored: never change.
inline constexpr std::string_view record_done = "{\"v\":";
inline constexpr std::string_view record_failed = "{\"f\":";
static_assert(record_done.size() == record_failed.size());
static_assert(record_done.size() < detail::record_frame);

[[nodiscard]] std::string record_of_value(const std::string& json);
[[nodiscard]] std::string record_of_wait(detail::Ms due);

/// What a record of one of the first two kinds holds.
[[nodiscard]] std::string inside_of(const std::string& record);

/// A number of a record; nullopt if it has none of that name.
[[nodiscard]] std::optional<std::int64_t> number_in(const std::string& record, const char* name);

/// Threads: that of the flow.
class FlowHistory {
public:
    struct Record {
        std::string json{};
        std::size_t oversize = 0;  ///< above zero: it has this many bytes, too many to be read
    };

    /// A value whose name begins with `detail::flow_values`.
    void add(detail::SavedValue&& value);

    /// The record of a step; null: there is none. It counts as reached.
    [[nodiscard]] const Record* find(const std::string& key);
    /// How many steps were not reached.
    [[nodiscard]] std::size_t unreached() const noexcept { return records_.size() - reached_; }

    /// It was cancelled, and is to undo.
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }
    /// It has failed, and is to undo: why.
    [[nodiscard]] const std::optional<std::string>& failed() const noexcept { return failed_; }
    /// Whether a signal of this name wakes it.
    [[nodiscard]] bool waits_for(std::string_view signal) const;

private:
    std::unordered_map<std::string, Record> records_{};
    std::size_t reached_ = 0;
    bool cancelled_ = false;
    std::optional<std::string> failed_{};
    std::string waits_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/flow_history.ipp>
#endif
