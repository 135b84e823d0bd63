// SPDX-License-Identifier: MIT
#pragma once
// Adder: adds tasks to a client. The header for files that declare tasks and add them: it pulls in neither the engine
// nor SQLite.

#include <cstddef>
#include <ranges>
#include <type_traits>

#include <backlite/add_op.hpp>
#include <backlite/base/add_target.hpp>
#include <backlite/task.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// A reference to a client that can only add. A value, cheap to copy: `Client` converts to it.
/// Threads: any. Must not outlive its client.
class Adder {
public:
    /// Used by `Client`.
    explicit Adder(detail::AddTarget& target) noexcept : target_(&target) {}

    /// The same as `Client::add`: tasks in any mixture of types, or ranges of tasks. Nothing happens before `save`.
    /// Encodes the tasks at once and keeps no reference to them.
    template <class... Tasks>
    [[nodiscard]] AddOp add(Tasks&&... tasks) const {
        static_assert(sizeof...(Tasks) > 0, "backlite: add() needs a task or a range of tasks");
        AddOp op(*target_);
        (push(op, tasks), ...);
        return op;
    }

private:
    template <class Item>
    static void push(AddOp& op, Item& item) {
        if constexpr (TaskRange<Item>) {
            if constexpr (std::ranges::sized_range<Item>) op.reserve(static_cast<std::size_t>(std::ranges::size(item)));
            for (const auto& task : item) push(op, task);
        } else {
            using T = std::remove_cv_t<Item>;
            static_assert(detail::check_task<T>());
            op.push<T>(item);
        }
    }

    detail::AddTarget* target_;
};

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
