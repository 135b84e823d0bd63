// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/expiries.hpp>.

#include <backlite/store/sqlite/expiries.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::optional<detail::Ms> Expiries::take(const TaskId& id) {
    std::optional<detail::Ms> expires_at;
    bool metadata = false;
    {
        Run run(db_, find_, {id.str()});
        if (!run.step()) return std::nullopt;
        if (!run.is_null(0)) expires_at = run.time(0);
        metadata = !run.is_null(1);
    }
    Run(db_, metadata ? clear_ : remove_, {id.str()}).change();
    return expires_at;
}

BACKLITE_DECL std::optional<detail::Ms> Expiries::next(detail::Ms from) {
    Run run(db_, next_, {from});
    return run.step() ? std::optional{run.time(0)} : std::nullopt;
}

BACKLITE_DECL std::vector<Expired> Expiries::expired(detail::Ms from, detail::Ms until, int limit, int past) {
    std::vector<Expired> found;
    Run run(db_, expired_, {from, until, limit, past});
    while (run.step()) {
        found.push_back({std::string{run.bytes(0)}, std::string{run.bytes(1)}, run.integer(2) != 0});
    }
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
