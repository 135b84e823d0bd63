// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/ends.hpp>.

#include <backlite/base/json.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/store/sqlite/ends.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void Ends::before_end(const Ending& ending) {
    if ((ending.flags & flag::children) != 0) {
        tell_flow(ending);
        mark(ending.id, ending.end == End::succeeded);
    }
    if ((ending.flags & flag::key_while_waiting) != 0) keys_.end(ending.id);
    if ((ending.flags & flag::partition) != 0) turns_.ended(ending.id, freed_);
    if ((ending.flags & flag::details) == 0) return;
    if (!ending.keeps_row) return forget_details(ending.id);
    // Who may be run again goes on where it was.
    if (ending.end == End::succeeded || !ending.keeps_payload) Run(db_, forget_saved_, {ending.id}).change();
}

BACKLITE_DECL std::optional<Superseded> Ends::before_return(const std::string& id, std::int64_t flags) {
    if ((flags & flag::key_while_waiting) != 0) {
        if (auto superseded = keys_.give_back(id)) return superseded;
    }
    if ((flags & flag::partition) != 0) turns_.returned(id, freed_);
    return std::nullopt;
}

BACKLITE_DECL void Ends::before_claim(std::int64_t row, std::int64_t flags) {
    if ((flags & flag::key_while_waiting) != 0) keys_.take_off(row);
}

BACKLITE_DECL void Ends::tell_flow(const Ending& ending) {
    if (ending.end == End::succeeded && ending.result.empty()) return;
    std::string value = "{\"v\":";
    if (ending.end == End::succeeded) {
        value += ending.result;
    } else {
        value = "{\"e\":" + detail::text_json(detail::shown(ending.error, 4'096)) +
                ",\"i\":" + detail::text_json(detail::shown(ending.id, 4'096));
    }
    value += '}';
    Run(db_, tell_flow_, {ending.id, Blob{value}}).change();
}

BACKLITE_DECL void Ends::forget_failure(const std::string& id) {
    Run(db_, leave_children_, {id}).change();
    bool undone = false;
    {
        Run run(db_, undone_, {id});
        undone = run.step();
    }
    if (undone) {
        Run(db_, forget_flow_, {id}).change();
        return;
    }
    Run(db_, forget_failed_, {id}).change();
    std::vector<std::string> maps;
    {
        Run run(db_, failed_maps_, {id});
        while (run.step()) maps.emplace_back(run.bytes(0));
    }
    for (const std::string& map : maps) Run(db_, forget_map_, {id, map}).change();
}

BACKLITE_DECL void Ends::forget_details(const std::string& id) {
    for (Statement* const forget :
         {&forget_saved_, &forget_progress_, &forget_attempts_, &forget_tags_, &forget_details_}) {
        Run(db_, *forget, {id}).change();
    }
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
