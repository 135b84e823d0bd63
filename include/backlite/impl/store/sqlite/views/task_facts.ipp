// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/store/sqlite/views/task_facts.hpp>.

#include <algorithm>

#include <backlite/base/rows.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/sqlite/views/task_facts.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
namespace sqlite {

BACKLITE_DECL std::string TaskFactReads::like_pattern(std::string_view text) {
    std::string pattern = "%";
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern + '%';
}

BACKLITE_DECL std::string TaskFactReads::walk_sql(const char* table, const char* state, const char* time,
                                                  const char* bounds) {
    // Of CASE's conditions only those that matter are worked out: a payload is read where it must be.
    return fmt::format(
        "SELECT id, rowid, {1}, CASE WHEN NOT (?4 = '' OR queue = ?4) THEN 0 WHEN NOT (?5 = 0 OR {1} = ?5) THEN 0 "
        "WHEN NOT ({2} BETWEEN ?7 AND ?8) THEN 0 WHEN ?9 <> '' AND NOT EXISTS (SELECT 1 FROM backlite_tags WHERE "
        "task = {0}.id AND tag = ?9) THEN 0 WHEN ?6 = '' THEN 1 WHEN id LIKE ?6 ESCAPE '\\' THEN 1 "
        "WHEN error LIKE ?6 ESCAPE '\\' THEN 1 WHEN CAST(task AS TEXT) LIKE ?6 ESCAPE '\\' THEN 1 ELSE 0 END "
        "FROM {0} WHERE {3} AND (?2 IS NULL OR 1) ORDER BY id DESC",
        table, state, time, bounds);
}

BACKLITE_DECL TaskFacts TaskFactReads::facts(bool finished, std::int64_t row, detail::Ms now) {
    TaskFacts facts;
    Run run(db_, finished ? finished_ : unfinished_, {row, now});
    if (!run.step()) return facts;
    facts.state = static_cast<TaskState>(run.integer(0));
    facts.priority = run.integer(1);
    if (finished) {
        facts.unique_key = run.bytes(2);
        facts.partition = run.bytes(3);
        facts.host = run.bytes(4);
        facts.pid = run.integer(5);
        facts.has_result = run.integer(6) != 0;
    } else {
        facts.hold = run.integer(2);
        facts.unique_key = run.bytes(3);
        facts.partition = run.bytes(4);
    }
    return facts;
}

struct TaskFactReads::Sought {
    Sought(const TaskFilter& filter, const std::optional<std::string>& behind, detail::Ms now_,
           std::chrono::milliseconds time)
        : only(filter),
          pattern(filter.text.empty() ? std::string{} : like_pattern(filter.text)),
          end(filter.id + "\xf4\x8f\xbf\xbf"),  // U+10FFFF: behind every id that begins so
          now(now_),
          give_up(std::chrono::steady_clock::now() + time) {
        if (behind && (filter.id.empty() || *behind < end)) {
            end = *behind;
        } else if (filter.id.empty()) {
            open = true;
        }
        if (filter.since) since = detail::to_due_ms(*filter.since);
        if (filter.until) until = detail::to_ms(*filter.until);
    }

    /// Ids before this one. A blob is behind every text.
    [[nodiscard]] Value before() const { return open ? Value(Blob{"behind"}) : Value(end); }

    const TaskFilter& only;
    std::string pattern;
    std::string end;
    detail::Ms now;
    bool open = false;
    detail::Ms since = detail::Ms::earliest();
    detail::Ms until = detail::Ms::latest();
    std::chrono::steady_clock::time_point give_up;
};

class TaskFactReads::Lane {
public:
    Lane(sqlite3* db, Statement& statement, bool finished, const Sought& sought, Value first, Value last)
        : run_(db, statement,
               {first, sought.now, last, sought.only.queue, static_cast<int>(sought.only.state), sought.pattern,
                sought.since, sought.until, sought.only.tag}),
          finished_(finished) {}

    /// Whether there is a (next) row.
    bool step() { return there_ = run_.step(); }

    [[nodiscard]] bool there() const noexcept { return there_; }
    [[nodiscard]] std::string_view id() const { return run_.bytes(0); }

    void add_to(std::vector<FoundRow>& rows) const {
        if (run_.integer(3) == 0) return;
        rows.push_back({std::string{id()}, finished_, run_.integer(1), static_cast<TaskState>(run_.integer(2))});
    }

private:
    Run run_;
    bool finished_;
    bool there_ = false;
};

BACKLITE_DECL Walk TaskFactReads::walk(const TaskFilter& filter, const std::optional<std::string>& before,
                                       detail::Ms now, std::size_t limit) {
    const Sought sought(filter, before, now, bounds_.look_time);
    return filter.tag.empty() ? walk_both(sought, limit) : walk_tagged(sought, limit);
}

BACKLITE_DECL bool TaskFactReads::enough(const Sought& sought, std::int64_t looked_at) const {
    return looked_at >= bounds_.looked_at || (looked_at > 0 && std::chrono::steady_clock::now() > sought.give_up);
}

BACKLITE_DECL Walk TaskFactReads::walk_both(const Sought& sought, std::size_t limit) {
    Walk walk;
    Lane unfinished(db_, walk_, false, sought, sought.before(), sought.only.id);
    Lane finished(db_, walk_finished_, true, sought, sought.before(), sought.only.id);
    const int state = static_cast<int>(sought.only.state);
    if (state < static_cast<int>(TaskState::succeeded)) unfinished.step();
    if (state == 0 || state >= static_cast<int>(TaskState::succeeded)) finished.step();
    std::string last;
    for (std::int64_t looked_at = 0; unfinished.there() || finished.there(); ++looked_at) {
        Lane& next =
            !finished.there() || (unfinished.there() && unfinished.id() >= finished.id()) ? unfinished : finished;
        const bool ends = walk.rows.size() >= limit || enough(sought, looked_at);
        if (ends && next.id() != last) {  // both rows of one id, or none
            walk.next = last;
            return walk;
        }
        last = next.id();
        next.add_to(walk.rows);
        next.step();
    }
    return walk;
}

BACKLITE_DECL Walk TaskFactReads::walk_tagged(const Sought& sought, std::size_t limit) {
    Walk walk;
    std::string last;
    std::int64_t looked_at = 0;
    for (Run run(db_, tagged_, {sought.only.tag, sought.before(), sought.only.id}); run.step(); ++looked_at) {
        if (looked_at > 0 && (walk.rows.size() >= limit || enough(sought, looked_at))) {
            walk.next = last;
            return walk;
        }
        last = run.bytes(0);
        for (const bool finished : {false, true}) {
            Lane lane(db_, finished ? one_finished_ : one_, finished, sought, last, "");
            if (lane.step()) lane.add_to(walk.rows);
        }
    }
    return walk;
}

BACKLITE_DECL void TaskFactReads::read_records(TaskDetails& details, const TaskFacts& facts, bool finished,
                                               std::int64_t row) {
    const std::string& id = details.id.str();
    constexpr auto most = static_cast<std::int64_t>(most_records);
    for (Run run(db_, attempts_, {id, most}); run.step();) {
        details.attempts.push_back({run.integer(0), detail::from_ms(run.time(1)),
                                    (std::max)(run.duration(2), detail::Us::zero()), std::string{run.bytes(3)},
                                    std::string{run.bytes(4)}, run.integer(5)});
    }
    std::reverse(details.attempts.begin(), details.attempts.end());
    if (finished && details.started && details.spent > 0) {
        details.attempts.push_back({details.spent, *details.started,
                                    details.duration.value_or(std::chrono::microseconds::zero()), details.error,
                                    facts.host, facts.pid});
    }
    for (Run run(db_, saved_, {id, most}); run.step();) {
        details.saved.push_back({std::string{run.bytes(0)}, std::string{run.bytes(1)}});
    }
    if (Run run(db_, progress_, {id}); run.step()) {
        Progress progress{{}, std::string{run.bytes(1)}, detail::from_ms(run.time(2))};
        if (!run.is_null(0)) progress.fraction = run.real(0);
        details.progress = std::move(progress);
    }
    for (Run run(db_, tags_, {id, most}); run.step();) details.tags.emplace_back(run.bytes(0));
    if (Run run(db_, details_, {id}); run.step()) {
        details.metadata = run.bytes(0);
        if (!run.is_null(1)) details.expires = detail::from_ms(run.time(1));
    }
    for (Run run(db_, parents_, {id, most}); run.step();) {
        details.parents.push_back(TaskId::from_text(std::string{run.bytes(0)}));
    }
    for (Run run(db_, children_, {id, most}); run.step();) {
        details.children.push_back(TaskId::from_text(std::string{run.bytes(0)}));
    }
    if (!finished) details.cancel_requested = Run(db_, cancelled_, {id}).step();
    if (facts.has_result) {
        Run run(db_, result_, {row});
        if (run.step()) details.result = std::string{run.bytes(0)};
    }
}

BACKLITE_DECL std::vector<std::string> TaskFactReads::paused() {
    std::vector<std::string> names;
    for (Run run(db_, rules_); run.step();) {
        if (!run.is_null(1)) names.emplace_back(run.bytes(0));
    }
    return names;
}

BACKLITE_DECL auto TaskFactReads::flow_values(const std::string& id) -> std::vector<FlowValue> {
    std::vector<FlowValue> found;
    const store::NameRange names = store::NameRange::with_prefix(detail::flow_values);
    Run run(db_, of_flow_, {id, names.first, *names.end, static_cast<std::int64_t>(most_records)});
    while (run.step()) {
        FlowValue& value = found.emplace_back();
        value.name = run.bytes(0).substr(detail::flow_values.size());
        value.at = run.time(1);
        if (!run.is_null(2)) value.json = std::string{run.bytes(2)};
    }
    std::reverse(found.begin(), found.end());
    return found;
}

BACKLITE_DECL auto TaskFactReads::flow_signals(const std::string& id) -> std::vector<FlowValue> {
    std::vector<FlowValue> found;
    constexpr std::string_view prefix = "backlite:signal:";
    for (Run run(db_, sent_, {id, static_cast<std::int64_t>(most_records)}); run.step();) {
        FlowValue& value = found.emplace_back();
        const std::string_view name = run.bytes(0).substr(prefix.size());
        value.name = name.substr(0, name.rfind('\x01'));
        value.at = run.time(1);
        if (!run.is_null(2)) value.json = std::string{run.bytes(2)};
    }
    return found;
}

BACKLITE_DECL std::map<std::string, QueueFacts> TaskFactReads::queues() {
    std::map<std::string, QueueFacts> found;
    for (Run run(db_, rules_); run.step();) found[std::string{run.bytes(0)}].paused = run.optional_time(1);
    std::uint64_t all = 0;
    for (Run run(db_, held_, {bounds_.held + 1}); run.step();) {
        QueueFacts& queue = found[std::string{run.bytes(0)}];
        queue.reasons |= run.integer(1);
        queue.held.number += static_cast<std::uint64_t>(run.integer(2));
        all += static_cast<std::uint64_t>(run.integer(2));
    }
    if (all > static_cast<std::uint64_t>(bounds_.held)) {
        for (auto& [name, queue] : found) queue.held.more = true;
    }
    return found;
}

}  // namespace sqlite
}  // namespace store
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
