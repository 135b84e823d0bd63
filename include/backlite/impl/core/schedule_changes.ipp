// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/schedule_changes.hpp>.

#include <utility>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/schedule_changes.hpp>
#include <backlite/error.hpp>
#include <backlite/unique.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL void check_schedule_name(std::string_view name) {
    if (name.empty()) throw ConfigError("a schedule has an empty name: set Schedule::name");
    const char* why = nullptr;
    if (name.size() > longest_schedule_name) {
        why = "is longer than 255 bytes";
    } else if (name.find('\0') != std::string_view::npos) {
        why = "holds a NUL character";
    } else if (!detail::is_utf8(name)) {
        why = "is not UTF-8";
    }
    if (why == nullptr) return;
    throw ConfigError(detail::format("schedule \"{}\": Schedule::name {}", {detail::shown(name, 64), why}));
}

BACKLITE_DECL SlotPlace place_in(const store::ScheduleRow& row) {
    return {.spec = row.spec,
            .zone = row.zone,
            .begun = row.begun,
            .next = row.next,
            .gap_from = row.gap_from,
            .gap_until = row.gap_until,
            .last = row.last};
}

BACKLITE_DECL void put_place(store::ScheduleRow& row, SlotPlace place) noexcept {
    row.spec = std::move(place.spec);
    row.zone = std::move(place.zone);
    row.begun = place.begun;
    row.next = place.next;
    row.gap_from = place.gap_from;
    row.gap_until = place.gap_until;
}

/// What the stored definition says; one that cannot be read says nothing.
BACKLITE_DECL bool defined_as_paused(const store::ScheduleRow& row) {
    try {
        return ScheduleOptions::read(row.options).paused;
    } catch (const ConfigError&) {
        return false;
    }
}

BACKLITE_DECL bool define(std::optional<store::ScheduleRow>& row, const store::ScheduleRow& wanted,
                          const ScheduleOptions& options, detail::Ms now) {
    std::string text = options.text();
    const bool is_new = !row;
    if (!is_new && row->queue == wanted.queue && row->payload == wanted.payload && row->options == text &&
        row->spec == wanted.spec && row->zone == wanted.zone) {
        return false;
    }
    SlotPlace place = place_of(is_new ? std::nullopt : std::optional{place_in(*row)}, wanted.spec, wanted.zone, now);
    const bool was_paused = !is_new && defined_as_paused(*row);
    if (is_new) row.emplace();
    row->name = wanted.name;
    row->queue = wanted.queue;
    row->payload = wanted.payload;
    row->options = std::move(text);
    put_place(*row, std::move(place));
    if (options.paused && !was_paused) static_cast<void>(pause(*row, now));
    if (!options.paused && was_paused) static_cast<void>(resume(*row, now));
    return true;
}

BACKLITE_DECL bool pause(store::ScheduleRow& row, detail::Ms now) noexcept {
    if (row.paused) return false;
    row.paused = now;
    return true;
}

BACKLITE_DECL bool resume(store::ScheduleRow& row, detail::Ms now) {
    if (!row.paused) return false;
    put_place(row, resumed(place_in(row), now));
    row.paused.reset();
    return true;
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
