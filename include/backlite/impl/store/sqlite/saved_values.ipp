// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/saved_values.hpp>.

#include <algorithm>
#include <array>
#include <charconv>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/store/sqlite/saved_values.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL bool SavedValues::save(const SavePlan& plan) {
    if (!details_.mark(plan.claim, true, plan.flow ? flag::flow : 0)) return false;
    const std::string& id = plan.claim.id.str();
    for (const detail::SavedValue& value : plan.values) {
        if (!value.json) {
            Run(db_, remove_, {id, value.name}).change();
        } else if (Run(db_, put_, {id, value.name, plan.now, Blob{*value.json}}).change() != 1) {
            throw StorageError("a value that a task saves changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
        }
    }
    return true;
}

BACKLITE_DECL SignalResult SavedValues::signal(const SignalPlan& plan, std::optional<std::string>& freed) {
    const std::string& id = plan.id.str();
    std::string queue;
    bool flagged = false;
    {
        Run run(db_, task_, {id});
        if (!run.step()) return Run(db_, kept_, {id}).step() ? SignalResult::finished : SignalResult::not_found;
        queue = run.bytes(0);
        flagged = run.integer(1) != 0;
    }
    if (!flagged) Run(db_, flag_, {id}).change();
    const std::string prefix = detail::signal_values(plan.name);
    const NameRange names = NameRange::with_prefix(prefix);
    std::uint64_t number = 0;
    {
        Run run(db_, last_, {id, names.first, *names.end});
        if (run.step()) {
            const std::string_view last = run.bytes(0).substr(prefix.size());
            std::from_chars(last.data(), last.data() + last.size(), number, 16);
        }
    }
    std::array<char, 17> digits{};
    std::snprintf(digits.data(), digits.size(), "%016" PRIx64, number + 1);
    const std::string name = prefix + digits.data();
    if (Run(db_, put_, {id, name, plan.now, Blob{plan.json}}).change() != 1) {
        throw StorageError("a signal changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
    }
    {
        Run run(db_, waits_, {id, detail::flow_waits});
        if (!run.step() || run.bytes(0) != plan.waits) return SignalResult::sent;
    }
    if (Run(db_, wake_, {id, plan.now}).change() == 1) freed = std::move(queue);
    return SignalResult::sent;
}

BACKLITE_DECL std::vector<detail::SavedValue> SavedValues::read(const TaskId& id, const NameRange& names,
                                                                std::size_t limit, std::size_t max_bytes) {
    const Value end = names.end ? Value(*names.end) : Value(Blob{});  // every blob is after every text
    std::vector<detail::SavedValue> found;
    const auto number = [](std::size_t count) {
        return static_cast<std::int64_t>((std::min)(count, std::size_t{(std::numeric_limits<std::int32_t>::max)()}));
    };
    Run run(db_, read_, {id.str(), names.first, end, number(limit), number(max_bytes)});
    while (run.step()) {
        detail::SavedValue value{.name = std::string{run.bytes(0)}};
        if (!run.is_null(2)) {
            value.json = std::string{run.bytes(2)};
        } else if (!run.is_null(1)) {
            value.oversize = static_cast<std::size_t>(run.integer(1));
        }
        found.push_back(std::move(value));
    }
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
