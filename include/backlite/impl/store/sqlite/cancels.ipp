// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/cancels.hpp>.

#include <utility>

#include <backlite/store/sqlite/cancels.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL CancelResult Cancels::cancel(const CancelPlan& plan) {
    const std::string& id = plan.id.str();
    Asked asked{plan.now};
    bool claimed = false;
    std::int64_t claim = 0;
    {
        Run run(db_, find_, {id});
        if (!run.step()) {
            return Run(db_, kept_, {id}).step() ? CancelResult::finished : CancelResult::not_found;
        }
        asked.keep = plan.keep(run.bytes(0));
        claimed = run.integer(1) != 0;
        claim = run.integer(2);
        asked.undoes = run.integer(3) != 0;
    }
    if (claimed || asked.undoes) {
        Run(db_, ask_, {id, claim, asked.at, asked.keep.row, asked.keep.payload, asked.keep.time.count()}).change();
        if (!claimed) wake_to_undo(id, asked.at);
        return CancelResult::requested;
    }
    if (!end(id, asked)) {
        throw StorageError("the end of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
    }
    return CancelResult::cancelled;
}

BACKLITE_DECL std::optional<Asked> Cancels::asked(const TaskId& id) {
    Run run(db_, asked_, {id.str()});
    if (!run.step()) return std::nullopt;
    return Asked{
        run.time(0), {run.integer(1) != 0, run.integer(2) != 0, Duration{run.integer(3)}}, run.integer(4) != 0};
}

BACKLITE_DECL std::vector<detail::ClaimKey> Cancels::read() {
    std::vector<detail::ClaimKey> claims;
    Run run(db_, read_);
    while (run.step()) claims.push_back({TaskId::from_text(std::string{run.bytes(0)}), run.integer(1)});
    return claims;
}

BACKLITE_DECL int Cancels::end_released() {
    std::vector<std::pair<std::string, Asked>> released;
    {
        Run run(db_, released_);
        while (run.step()) {
            released.emplace_back(std::string{run.bytes(0)},
                                  Asked{run.time(1),
                                        {run.integer(2) != 0, run.integer(3) != 0, Duration{run.integer(4)}},
                                        run.integer(5) != 0});
        }
    }
    int ended = 0;
    for (const auto& [id, asked] : released) {
        if (asked.undoes) {
            wake_to_undo(id, asked.at);
        } else if (end(id, asked)) {
            ++ended;
        }
    }
    Run(db_, forget_gone_).change();
    return ended;
}

BACKLITE_DECL void Cancels::wake_to_undo(const std::string& id, detail::Ms now) {
    Run(db_, ask_no_more_, {id}).change();
    if (Run(db_, undo_, {id, detail::flow_cancelled, now}).change() == 0) return;
    Run run(db_, wake_, {id, now});
    if (run.step() && run.integer(1) == 0) ends_.note({std::string{run.bytes(0)}, run.time(2)});
    while (run.step()) {
    }
}

BACKLITE_DECL void Cancels::expire(const std::string& id, detail::Ms now, const KeepRule& keep) {
    if (end(id, {now, keep}, detail::expired_error, detail::expired_kind)) return;
    throw StorageError("the end of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
}

BACKLITE_DECL void Cancels::end_child(const std::string& id, detail::Ms now, const KeepRule& keep,
                                      std::string_view text) {
    if (end(id, {now, keep}, text)) return;
    throw StorageError("the end of a task changed no row: a trigger ignored it", SQLITE_CONSTRAINT);
}

BACKLITE_DECL void Cancels::supersede(const std::string& id, const Superseded& superseded) {
    static_cast<void>(end(id, {superseded.at, superseded.keep}, detail::format("superseded by {}", {superseded.by})));
}

BACKLITE_DECL bool Cancels::end(const std::string& id, const Asked& asked, std::string_view text,
                                std::int64_t kind_of_end) {
    if (asked.keep.row) {
        Run(db_, keep_, {id, asked.at, asked.keep.payload, asked.expires_at(), text, kind_of_end}).change();
    }
    Run(db_, forget_details_, {id}).change();
    if (Run(db_, remove_, {id, flag::on_end}).change() == 1) return true;
    std::int64_t flags = 0;
    {
        Run run(db_, flags_, {id});
        if (!run.step()) return false;
        flags = run.integer(0);
    }
    if ((flags & flag::on_end) == 0) return false;
    ends_.before_end({id, flags, end_of(kind_of_end), asked.keep.row, asked.keep.payload, {}, text});
    Run(db_, forget_expiry_, {id}).change();
    return Run(db_, remove_, {id, 0}).change() == 1;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
