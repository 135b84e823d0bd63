// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/unique_keys.hpp>.

#include <backlite/store/sqlite/unique_keys.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL void UniqueKeys::take_off(std::int64_t row) {
    Run(db_, put_, {row}).change();
    Run(db_, take_off_, {row, flag::key_while_waiting}).change();
}

BACKLITE_DECL bool UniqueKeys::outdated(const std::string& id) {
    const std::optional<Entry> own = entry(id);
    if (!own) return false;
    const std::optional<Holder> other = holder(own->queue, own->key);
    return other && other->id != id && other->waits && (other->flags & flag::latest) != 0;
}

BACKLITE_DECL void UniqueKeys::end(const std::string& id) {
    const std::optional<Entry> ended = entry(id);
    if (!ended) return;  // it waited, or had no key any more
    Run(db_, forget_, {id}).change();
    if (const std::optional<Holder> next = holder(ended->queue, ended->key)) free(*next, *ended);
}

BACKLITE_DECL void UniqueKeys::free(const Holder& waiting, const Entry& gone) {
    if ((waiting.hold & hold::twin) == 0 || runs(gone.queue, gone.key)) return;
    Run(db_, free_, {waiting.row, hold::twin}).change();
    if (waiting.hold == hold::twin && waiting.waits && freed_ != nullptr) freed_->push_back({gone.queue, waiting.due});
}

BACKLITE_DECL std::optional<Superseded> UniqueKeys::give_back(const std::string& id) {
    const std::optional<Entry> own = entry(id);
    if (!own) return std::nullopt;
    const std::optional<Holder> other = holder(own->queue, own->key);
    if (!other) {
        Run(db_, forget_, {id}).change();
        Run(db_, take_again_, {id, own->key}).change();
        return std::nullopt;
    }
    if (other->id == id) {
        Run(db_, forget_, {id}).change();
        return std::nullopt;
    }
    if (other->waits && (other->flags & flag::latest) != 0) return Superseded{other->id, own->at, own->keep};
    Run(db_, forget_, {id}).change();
    Run(db_, go_without_, {id, flag::key_while_waiting | flag::latest}).change();
    free(*other, *own);
    return std::nullopt;
}

BACKLITE_DECL bool UniqueKeys::runs(std::string_view queue, std::string_view key) {
    return Run(db_, runs_, {queue, key}).step();
}

BACKLITE_DECL void UniqueKeys::supersede(std::string_view queue, std::string_view key, detail::Ms at,
                                         const KeepRule& keep) {
    Run(db_, supersede_, {queue, key, at, keep.row, keep.payload, keep.time.count()}).change();
}

BACKLITE_DECL bool UniqueKeys::has_orphans() { return Run(db_, orphans_, {1}).step(); }

BACKLITE_DECL std::vector<std::string> UniqueKeys::orphans() {
    std::vector<std::string> found;
    Run run(db_, orphans_, {-1});
    while (run.step()) found.emplace_back(run.bytes(0));
    return found;
}

BACKLITE_DECL void UniqueKeys::keep(const std::string& id, detail::Ms until) {
    Run(db_, keep_no_more_, {id}).change();
    Run(db_, keep_, {id, until}).change();
}

BACKLITE_DECL std::optional<TaskId> UniqueKeys::ended(std::string_view queue, std::string_view key, detail::Ms now,
                                                      Duration period) {
    Run run(db_, ended_, {queue, key, now - period, now + period});
    return run.step() ? std::optional{TaskId::from_text(std::string{run.bytes(0)})} : std::nullopt;
}

BACKLITE_DECL auto UniqueKeys::entry(const std::string& id) -> std::optional<Entry> {
    Run run(db_, entry_, {id});
    if (!run.step()) return std::nullopt;
    return Entry{std::string{run.bytes(0)},
                 std::string{run.bytes(1)},
                 run.time(2),
                 {run.integer(3) != 0, run.integer(4) != 0, Duration{run.integer(5)}}};
}

BACKLITE_DECL auto UniqueKeys::holder(std::string_view queue, std::string_view key) -> std::optional<Holder> {
    Run run(db_, holder_, {queue, key});
    if (!run.step()) return std::nullopt;
    return Holder{run.integer(0), std::string{run.bytes(1)}, run.integer(2) != 0, run.integer(3), run.integer(4),
                  run.time(5)};
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
