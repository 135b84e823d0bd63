// SPDX-License-Identifier: MIT
#pragma once
// A store that keeps its tasks in memory, for tests of what stands above a store.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/status.hpp>
#include <backlite/store/admission.hpp>
#include <backlite/store/plan.hpp>
#include <backlite/store/slots.hpp>
#include <backlite/store/store.hpp>

namespace backlite_test {

/// What the clients on one "file" share. It knows neither Go's tables nor wrong clocks, and refuses nothing.
struct MemoryFile {
    struct Kept {
        backlite::TaskStatus status{};
        std::string payload{};
        std::string error{};
        std::optional<backlite::detail::Ms> expires_at{};
        std::string queue{};
        std::string result{};
        std::string unique_key{};      ///< as long as it counts
        backlite::detail::Ms ended{};  ///< for that
    };
    struct Task {
        std::string id{};
        std::string queue{};
        std::string payload{};
        backlite::detail::Ms created{};
        std::optional<backlite::detail::Ms> wait_until{};
        std::optional<backlite::detail::Ms> claimed_at{};
        std::optional<std::int64_t> owner{};
        std::int64_t claim = 0;
        std::int64_t lease = 0;
        std::int64_t attempts = 0;
        std::int64_t crashes = 0;
        int priority = 0;
        std::optional<backlite::detail::Ms> expires_at{};
        std::map<std::string, backlite::OnParentFailure> parents{};  ///< unfinished
        std::string unique_key{};                                    ///< empty: none
        std::string parked_key{};  ///< the same, while it is claimed and another one may have it
        bool key_while_waiting = false;
        bool latest = false;
        bool keeps_key = false;
        bool held = false;                 ///< one with its key runs
        std::optional<Kept> superseded{};  ///< what becomes of it if it is to wait again
        bool flow = false;                 ///< one that has begun
        std::string partition{};
        bool has_turn = false;  ///< of its partition, in order; else a task has it while it is claimed

        [[nodiscard]] bool waits() const { return !claimed_at && parents.empty() && !held; }
        [[nodiscard]] backlite::detail::Ms due() const { return (std::max)(created, wait_until.value_or(created)); }
        void release() { claimed_at.reset(), owner.reset(); }
    };
    struct Member {
        bool alive = true;
        /// By worker: id and claim of its task, or of all tasks of its batch that are entered.
        std::map<std::size_t, std::vector<std::pair<std::string, std::int64_t>>> inside{};
    };

    std::vector<Task> tasks{};  ///< in the order in which they were added
    std::map<std::string, Kept> kept{};
    std::map<std::string, backlite::detail::TaskLabels> labels{};  ///< of tasks that are there, unfinished or kept
    std::map<std::int64_t, Member> owners{};
    std::set<std::string> paused{};
    std::map<std::string, backlite::Limits> limits{};  ///< those that are stored, by queue
    std::string secret{};
    std::map<std::string, std::int64_t> rates{};  ///< see RateCount, by queue
    std::map<std::pair<std::string, std::string>, std::int64_t> partition_rates{};
    /// Until when, and how long ahead that was, by queue and partition; without one: the queue is closed.
    std::map<std::pair<std::string, std::optional<std::string>>, std::pair<backlite::detail::Ms, backlite::Duration>>
        closed{};
    std::map<std::string, Kept> cancels{};  ///< what becomes of claimed tasks that are to end, by id
    std::map<std::string, std::map<std::string, std::string>> saved{};  ///< by id and name
    std::vector<std::pair<std::string, backlite::detail::Ms>> freed{};  ///< tasks that the current cycle has freed
    std::map<std::string, backlite::store::ScheduleRow> schedules{};
    std::map<std::string, backlite::Progress> progress{};
    std::int64_t last_owner = 0;
    std::int64_t last_return = 0;
    std::int64_t added = 0;                                               ///< by the statistics
    std::uint64_t commits = 0;                                            ///< of all clients
    std::map<std::string, std::pair<std::string, std::size_t>> joined{};  ///< a flow's children; the flow, their number
    std::vector<std::pair<std::string, bool>> ended{};  ///< parents whose children are to be seen to; their success

    /// Frees the children of parents that have ended, or ends them.
    std::vector<backlite::store::EndedChild> see_to_children(
        backlite::detail::Ms now, const std::function<backlite::store::KeepRule(std::string_view)>& keep) {
        std::vector<backlite::store::EndedChild> cancelled;
        while (!ended.empty()) {
            const auto [parent, succeeded] = ended.back();
            ended.pop_back();
            for (std::size_t i = tasks.size(); i-- > 0;) {
                const auto edge = tasks[i].parents.find(parent);
                if (edge == tasks[i].parents.end()) continue;
                const auto on_failure = edge->second;
                tasks[i].parents.erase(edge);
                if (succeeded || on_failure == backlite::OnParentFailure::run) continue;
                const backlite::store::KeepRule rule = keep ? keep(tasks[i].queue) : backlite::store::KeepRule{};
                if (rule.row) {
                    kept[tasks[i].id] = {backlite::TaskStatus::cancelled, rule.payload ? tasks[i].payload : "",
                                         "cancelled", rule.until(now)};
                }
                cancelled.push_back({backlite::TaskId::from_text(tasks[i].id), tasks[i].queue});
                ended.emplace_back(tasks[i].id, false);
                tell_flow_failed(tasks[i].id, "cancelled");
                tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
        return cancelled;
    }

    /// A flow that waits for this task learns how it has ended.
    void tell_flow(const std::string& id, const std::string& value) {
        const auto child = joined.find(id);
        if (child == joined.end()) return;
        const auto& [flow, number] = child->second;
        const auto joins = saved[flow].find(std::string{backlite::detail::flow_joins});
        if (!value.empty() && joins != saved[flow].end()) {
            const std::string digits = std::to_string(10'000'000'000 + number).substr(1);
            saved[flow][backlite::detail::result_values(joins->second) + digits] = value;
        }
        joined.erase(child);
    }
    void tell_flow_failed(const std::string& id, const std::string& error) {
        tell_flow(id, R"({"e":")" + error + R"(","i":")" + id + R"("})");
    }

    /// A task ends: what it has saved goes, unless it is kept with its payload and may run again.
    void keep_saved(const std::string& id, bool keep) {
        if (!keep) saved.erase(id);
    }

    /// The unfinished task that has the key; null: none.
    Task* with_key(const std::string& queue, const std::string& key) {
        for (Task& task : tasks) {
            if (!key.empty() && task.queue == queue && task.unique_key == key) return &task;
        }
        return nullptr;
    }
    [[nodiscard]] bool runs(std::string_view queue, const std::string& key) const {
        return std::any_of(tasks.begin(), tasks.end(), [&](const Task& task) {
            return task.claimed_at && task.queue == queue && task.parked_key == key;
        });
    }
    void free_twin(const std::string& queue, const std::string& key) {
        Task* const twin = with_key(queue, key);
        if (twin == nullptr || runs(queue, key) || !std::exchange(twin->held, false)) return;
        freed.emplace_back(queue, twin->due());
    }
    void erase(const std::string& id) {
        std::erase_if(tasks, [&](const Task& task) { return task.id == id; });
    }

    /// A claim ends, and the task is to wait again. False if it has ended, since a newer one waits in its place.
    bool give_back(Task& task) {
        task.release();
        if (task.parked_key.empty()) return true;
        const std::string key = std::exchange(task.parked_key, {});
        const Task* const other = with_key(task.queue, key);
        if (other == nullptr) {
            task.unique_key = key;
            return true;
        }
        const std::string queue = task.queue;
        const bool ends = other->latest && !other->claimed_at;
        if (ends) {
            keep_saved(task.id, task.superseded && !task.superseded->payload.empty());
            ended.emplace_back(task.id, false);
            tell_flow_failed(task.id, "superseded");
            if (task.superseded) {
                kept[task.id] = *task.superseded;
                kept[task.id].error = "superseded by " + other->id;
            }
            erase(task.id);
        } else {
            task.key_while_waiting = false;
        }
        free_twin(queue, key);
        return !ends;
    }

    /// A claimed task has ended: its row goes.
    void remove(Task& task) {
        const std::string queue = task.queue;
        const std::string key = task.parked_key;
        cancels.erase(task.id);
        erase(task.id);
        if (!key.empty()) free_twin(queue, key);
    }

    /// A flow that nobody holds is to undo, and then to end.
    void wake_to_undo(Task& task) {
        if (!saved[task.id].emplace(backlite::detail::flow_cancelled, "true").second) return;
        task.wait_until.reset();
        task.parents.clear();
    }

    /// A task that nobody holds ends as its cancel says, if there is one. Whether it has. `undone`: a flow too.
    bool end_cancelled(Task& task, bool undone = false) {
        const auto end = cancels.find(task.id);
        if (end == cancels.end()) return false;
        if (task.flow && !undone) {
            wake_to_undo(task);
            return false;
        }
        keep_saved(task.id, end->second.status == backlite::TaskStatus::cancelled && !end->second.payload.empty());
        if (end->second.status == backlite::TaskStatus::cancelled) kept[task.id] = end->second;
        tell_flow_failed(task.id, "cancelled");
        ended.emplace_back(task.id, false);
        remove(task);
        return true;
    }
    void end_cancelled() {
        for (std::size_t i = tasks.size(); i-- > 0;) {
            if (!tasks[i].claimed_at) end_cancelled(tasks[i]);
        }
    }

    /// Null if it is not there, or the claim is not held any more.
    Task* held(const backlite::TaskId& id, std::int64_t claim) {
        for (Task& task : tasks) {
            if (task.id == id.str() && task.claim == claim && task.claimed_at) return &task;
        }
        return nullptr;
    }
};

/// Threads: one for all clients of a file.
class MemoryStore final : public backlite::store::Store {
public:
    using Steady = std::chrono::steady_clock;
    using Ms = backlite::detail::Ms;
    using Patience = backlite::store::Patience;
    using QueueHead = backlite::store::QueueHead;

    MemoryStore(MemoryFile& file, const backlite::ClientConfig& config, const backlite::Clock& clock,
                backlite::store::StoreHooks hooks)
        : file_(file), config_(config), clock_(clock), hooks_(std::move(hooks)) {}

    void install() override {}
    void check_tables(const Patience&) override {}
    void demand_tables(const Patience&) override {}

    [[nodiscard]] std::unique_ptr<backlite::store::Owner> join(const backlite::detail::SafeLogger&,
                                                               const Patience&) override {
        auto owner = std::make_unique<Membership>(*this, ++file_.last_owner);
        file_.owners[file_.last_owner];
        owner->rescue({});
        committed();
        return owner;
    }

    void add(const backlite::store::AddPlan& plan, const Patience&) override {
        const MemoryFile untouched = plan.bounded() ? file_ : MemoryFile{};
        if (!plan.tasks.empty() && plan.tasks.back().parents && plan.tasks.back().parents->join) {
            join(plan, *plan.tasks.back().parents->join);
        }
        const auto owner = plan.starter ? plan.starter(file_.commits - own_) : std::nullopt;
        const MemoryFile before = file_;
        for (const backlite::detail::NewTask& task : plan.tasks) {
            if (task.unique) {
                try {
                    if (!settle_key(task, plan)) continue;
                } catch (...) {
                    file_ = before;
                    throw;
                }
            }
            MemoryFile::Task row{task.id.str(), std::string{task.queue}, task.payload, plan.now, plan.wait_until};
            row.priority = task.priority;
            row.expires_at = task.expires_at;
            if (task.unique) set_key(row, *task.unique, plan.now);
            if (task.partition) row.partition = task.partition->name;
            if (owner) {
                row.claimed_at = plan.now;
                row.owner = owner;
                row.claim = 1;
            }
            if (task.parents && !task.parents->join) hold(row, *task.parents, plan.tasks);
            file_.tasks.push_back(std::move(row));
        }
        for (const backlite::detail::NewTask& task : plan.tasks) {
            const bool replaces = task.unique && task.unique->as == backlite::AddedAs::replaced;
            const std::string& id = replaces ? task.unique->existing.str() : task.id.str();
            if (replaces) file_.labels.erase(id);
            if (task.labels && (replaces || task.inserted())) file_.labels[id] = *task.labels;
        }
        for (const backlite::detail::NewTask& task : plan.tasks) {
            if (task.bounded == nullptr || !task.inserted() || keep_bound(*task.bounded, plan)) continue;
            file_ = untouched;
            throw backlite::QueueFullError("full", task.bounded->name, task.bounded->max_waiting);
        }
        auto cancelled = file_.see_to_children(plan.now, hooks_.keep);
        if (plan.cancelled != nullptr) *plan.cancelled = std::move(cancelled);
        if (plan.count != nullptr) {
            count(*plan.count, {});
            file_.added +=
                std::count_if(plan.tasks.begin(), plan.tasks.end(), [](auto& task) { return task.inserted(); });
        }
        committed();
    }

    void add_within(backlite::store::HostConnection, const backlite::store::AddPlan&) override { throw no_host(); }
    [[nodiscard]] std::unique_ptr<backlite::store::HostTransaction> begin(backlite::store::HostConnection) override {
        throw no_host();
    }

    [[nodiscard]] bool save(const backlite::store::SavePlan& plan, const Patience&) override {
        MemoryFile::Task* task = file_.held(plan.claim.id, plan.claim.number);
        if (task == nullptr) return false;
        task->crashes = 0;
        task->flow = task->flow || plan.flow;
        for (const backlite::detail::SavedValue& value : plan.values) {
            if (value.json) {
                file_.saved[task->id][value.name] = *value.json;
            } else {
                file_.saved[task->id].erase(value.name);
            }
        }
        committed();
        return true;
    }
    [[nodiscard]] bool save_within(backlite::store::HostConnection, const backlite::store::SavePlan&) override {
        throw no_host();
    }
    [[nodiscard]] bool complete_within(backlite::store::HostConnection, std::string_view, Ms,
                                       const backlite::detail::AttemptResult&) override {
        throw no_host();
    }
    [[nodiscard]] std::vector<backlite::TaskId> parents_of(const backlite::TaskId& id, const std::string& after,
                                                           int limit, const Patience&) override {
        std::vector<backlite::TaskId> found;
        for (const MemoryFile::Task& task : file_.tasks) {
            if (task.id != id.str()) continue;
            for (const auto& [parent, on_failure] : task.parents) {
                if (parent > after && found.size() < static_cast<std::size_t>(limit)) {
                    found.push_back(backlite::TaskId::from_text(parent));
                }
            }
        }
        return found;
    }
    [[nodiscard]] backlite::SignalResult signal(const backlite::store::SignalPlan& plan, const Patience&) override {
        const auto task = std::find_if(file_.tasks.begin(), file_.tasks.end(),
                                       [&](const MemoryFile::Task& each) { return each.id == plan.id.str(); });
        if (task == file_.tasks.end()) {
            return file_.kept.contains(plan.id.str()) ? backlite::SignalResult::finished
                                                      : backlite::SignalResult::not_found;
        }
        auto& values = file_.saved[task->id];
        const std::string prefix = backlite::detail::signal_values(plan.name);
        int number = 0;
        for (const auto& [name, json] : values) {
            if (name.starts_with(prefix)) number = std::stoi(name.substr(prefix.size())) - 1'000'000 + 1;
        }
        values[prefix + std::to_string(1'000'000 + number)] = plan.json;
        const auto waits = values.find(std::string{backlite::detail::flow_waits});
        if (!task->claimed_at && waits != values.end() && waits->second == plan.waits) task->wait_until = plan.now;
        committed();
        if (hooks_.foreign_commit) hooks_.foreign_commit();
        return backlite::SignalResult::sent;
    }
    [[nodiscard]] backlite::detail::TaskLabels labels(const backlite::TaskId& id) override {
        const auto found = file_.labels.find(id.str());
        if (status(id) == backlite::TaskStatus::not_found) return {};
        return found == file_.labels.end() ? backlite::detail::TaskLabels{} : found->second;
    }

    [[nodiscard]] std::vector<backlite::detail::SavedValue> saved(const backlite::TaskId& id,
                                                                  const backlite::store::NameRange& names,
                                                                  std::size_t limit) override {
        std::vector<backlite::detail::SavedValue> found;
        for (const auto& [name, json] : file_.saved[id.str()]) {
            if (name < names.first || (names.end && name >= *names.end)) continue;
            if (found.size() == limit) break;
            const bool fits = json.size() <= config_.max_payload;
            found.push_back({name, fits ? std::optional{json} : std::nullopt, fits ? 0 : json.size()});
        }
        return found;
    }

    [[nodiscard]] backlite::store::CycleResult cycle(const backlite::store::CycleRequest& request,
                                                     const Patience&) override {
        const MemoryFile before = file_;
        try {
            backlite::store::CycleResult result = run(request);
            if (request.prepare) request.prepare(result);
            committed();
            return result;
        } catch (...) {
            file_ = before;
            throw;
        }
    }

    void count(const std::vector<backlite::store::Tally>& tallies, const Patience&) override {
        for (const backlite::store::Tally& tally : tallies) file_.added += tally.added;
    }

    [[nodiscard]] std::optional<Ms> next_expiry(const Patience&) override {
        std::optional<Ms> next;
        for (const auto& [id, kept] : file_.kept) {
            if (kept.expires_at) next = (std::min)(next.value_or(*kept.expires_at), *kept.expires_at);
        }
        return next;
    }

    [[nodiscard]] std::vector<std::pair<std::string, Ms>> strays(const std::vector<QueueHead>& heads, int limit,
                                                                 const Patience&) override {
        std::map<std::string, Ms> found;
        for (const MemoryFile::Task& task : file_.tasks) {
            const auto is_its = [&](const QueueHead& head) { return head.name == task.queue; };
            if (!task.waits() || std::any_of(heads.begin(), heads.end(), is_its)) continue;
            const auto place = found.emplace(task.queue, task.due()).first;
            place->second = (std::min)(place->second, task.due());
        }
        const auto count = (std::min)(static_cast<std::size_t>(limit), found.size());
        return {found.begin(), std::next(found.begin(), static_cast<std::ptrdiff_t>(count))};
    }

    [[nodiscard]] backlite::CancelResult cancel(const backlite::store::CancelPlan& plan, const Patience&) override {
        using backlite::CancelResult;
        const std::string& id = plan.id.str();
        const auto task = std::find_if(file_.tasks.begin(), file_.tasks.end(),
                                       [&](const MemoryFile::Task& each) { return each.id == id; });
        if (task == file_.tasks.end()) {
            return file_.kept.contains(id) ? CancelResult::finished : CancelResult::not_found;
        }
        const backlite::store::KeepRule rule = plan.keep(task->queue);
        file_.cancels[id] = {
            rule.row ? backlite::TaskStatus::cancelled : backlite::TaskStatus::not_found,
            rule.payload ? task->payload : "", "cancelled",
            rule.time == backlite::Duration::zero() ? std::nullopt : std::optional{plan.now + rule.time}, task->queue};
        committed();
        if (task->claimed_at) return CancelResult::requested;
        if (!file_.end_cancelled(*task)) return CancelResult::requested;
        auto cancelled = file_.see_to_children(plan.now, hooks_.keep);
        if (plan.cancelled != nullptr) *plan.cancelled = std::move(cancelled);
        if (hooks_.foreign_commit) hooks_.foreign_commit();
        return CancelResult::cancelled;
    }

    [[nodiscard]] backlite::store::ChangeResult change(const backlite::store::ChangePlan& plan,
                                                       const Patience& patience) override {
        backlite::store::ChangeResult result;
        file_.last_return += std::int64_t{1} << 36;
        for (const backlite::store::ChangePlan::Task& each : plan.tasks) {
            const auto task = std::find_if(file_.tasks.begin(), file_.tasks.end(),
                                           [&](const MemoryFile::Task& one) { return one.id == each.id.str(); });
            const auto kept = file_.kept.find(each.id.str());
            const bool finished = each.finished.value_or(task == file_.tasks.end());
            if (finished ? kept == file_.kept.end() : task == file_.tasks.end()) {
                if (each.finished) ++result.skipped;
                continue;
            }
            const backlite::TaskState state = finished ? state_of(kept->second.status) : state_of(*task, plan.now);
            bool changed = plan.only == backlite::TaskState::any || plan.only == state;
            if (changed && finished) {
                changed = change_kept(plan, each.id.str());
            } else if (changed) {
                changed = change_task(plan, *task, result, patience);
            }
            ++(changed ? result.changed : result.skipped);
        }
        committed();
        return result;
    }

    void set_paused(std::string_view queue, std::optional<Ms> since, const Patience&) override {
        if (since) {
            file_.paused.emplace(queue);
        } else {
            file_.paused.erase(std::string{queue});
        }
        committed();
    }

    void set_limits(std::string_view queue, const std::optional<backlite::Limits>& limits, const Patience&) override {
        if (limits) {
            file_.limits[std::string{queue}] = *limits;
        } else {
            file_.limits.erase(std::string{queue});
        }
        committed();
    }
    [[nodiscard]] std::optional<backlite::Limits> limits(std::string_view queue) override {
        const auto found = file_.limits.find(std::string{queue});
        return found == file_.limits.end() ? std::nullopt : std::optional{found->second};
    }

    [[nodiscard]] std::string secret(std::string_view fresh, const Patience&) override {
        if (file_.secret.empty()) file_.secret = fresh;
        return file_.secret;
    }

    bool change_schedule(const std::string& name, const backlite::store::ScheduleChange& change,
                         const Patience&) override {
        const auto stored = file_.schedules.find(name);
        std::optional<backlite::store::ScheduleRow> row;
        if (stored != file_.schedules.end()) row = stored->second;
        if (!change(row)) return false;
        if (row) {
            file_.schedules[name] = std::move(*row);
        } else {
            file_.schedules.erase(name);
        }
        committed();
        return true;
    }

    [[nodiscard]] backlite::store::SlotResult run_schedule(const backlite::store::SlotPlan& plan, Ms now,
                                                           const Patience&) override {
        backlite::store::SlotResult result = run_slots_of(plan, now);
        committed();
        return result;
    }

    [[nodiscard]] backlite::store::DueSchedules due_schedules(const backlite::store::DueQuery& query,
                                                              const Patience&) override {
        std::vector<const backlite::store::ScheduleRow*> waiting;
        backlite::store::DueSchedules found;
        for (const auto& [name, row] : file_.schedules) {
            if (query.gaps && row.gap_until && *row.gap_until > query.until) found.gaps.push_back(row);
            const bool runs = row.next && !row.paused;
            if (!runs || std::binary_search(query.leave.begin(), query.leave.end(), std::pair{name, *row.next})) {
                continue;
            }
            waiting.push_back(&row);
        }
        std::stable_sort(waiting.begin(), waiting.end(), [](auto* a, auto* b) { return *a->next < *b->next; });
        std::size_t bytes = 0;
        for (const backlite::store::ScheduleRow* row : waiting) {
            if (*row->next > query.until || found.rows.size() == query.limit || bytes >= query.bytes) {
                found.next = row->next;
                break;
            }
            found.rows.push_back(*row);
            bytes += row->payload.size();
        }
        for (backlite::store::ScheduleRow& row : found.gaps) row.payload.clear();
        return found;
    }

    [[nodiscard]] std::vector<backlite::store::ScheduleRow> schedules() override {
        std::vector<backlite::store::ScheduleRow> rows;
        for (const auto& [name, row] : file_.schedules) {
            rows.push_back(row);
            rows.back().payload.clear();
        }
        return rows;
    }

    [[nodiscard]] bool idle(const std::vector<QueueHead>& queues, Ms now) override {
        return std::none_of(file_.tasks.begin(), file_.tasks.end(), [&](const MemoryFile::Task& task) {
            const auto is_its = [&](const QueueHead& head) { return head.name == task.queue; };
            return (task.claimed_at || (task.waits() && task.due() <= now)) &&
                   std::any_of(queues.begin(), queues.end(), is_its);
        });
    }

    [[nodiscard]] std::optional<backlite::Progress> progress(const backlite::TaskId& id) override {
        const auto found = file_.progress.find(id.str());
        const bool there = status(id) != backlite::TaskStatus::not_found;
        return found == file_.progress.end() || !there ? std::nullopt : std::optional{found->second};
    }

    [[nodiscard]] backlite::TaskStatus status(const backlite::TaskId& id) override {
        using backlite::TaskStatus;
        for (const MemoryFile::Task& task : file_.tasks) {
            if (task.id == id.str()) return task.claimed_at ? TaskStatus::running : TaskStatus::pending;
        }
        const auto kept = file_.kept.find(id.str());
        if (kept == file_.kept.end()) return TaskStatus::not_found;
        return kept->second.status;
    }

    [[nodiscard]] backlite::store::FoundTask find(const backlite::TaskId& id, std::size_t max_result) override {
        backlite::store::FoundTask found{.status = status(id)};
        for (const MemoryFile::Task& task : file_.tasks) {
            if (task.id != id.str()) continue;
            found.queue = task.queue;
            return found;
        }
        const auto place = file_.kept.find(id.str());
        if (place == file_.kept.end()) return found;
        const MemoryFile::Kept& kept = place->second;
        found.queue = kept.queue;
        found.error = kept.error;
        (kept.result.size() > max_result ? void(found.oversize_result = kept.result.size())
                                         : void(found.result = kept.result));
        return found;
    }
    void check_thread(std::string_view) override {}

    [[nodiscard]] backlite::TaskCounts counts(Ms now) override {
        std::map<std::string, backlite::QueueCounts> counts;
        for (const MemoryFile::Task& task : file_.tasks) {
            backlite::QueueCounts& queue = counts[task.queue];
            queue.queue = task.queue;
            (task.claimed_at ? queue.running : task.due() > now ? queue.scheduled : queue.waiting) += 1;
        }
        backlite::TaskCounts all;
        for (auto& [name, queue] : counts) all.push_back(std::move(queue));
        return all;
    }

    [[nodiscard]] std::vector<backlite::store::WaitingTask> waiting(const std::string& queue) override {
        std::vector<const MemoryFile::Task*> tasks;
        for (const MemoryFile::Task& task : file_.tasks) {
            if (task.queue == queue && task.waits()) tasks.push_back(&task);
        }
        const auto rank = [this](const MemoryFile::Task& task) {
            return backlite::store::Rank::of(task.priority, task.due(), config_.ageing);
        };
        std::stable_sort(tasks.begin(), tasks.end(), [&](auto* a, auto* b) { return rank(*a) < rank(*b); });
        std::vector<backlite::store::WaitingTask> found;
        for (const MemoryFile::Task* task : tasks) {
            found.push_back({backlite::TaskId::from_text(task->id), task->due(), task->attempts, task->payload});
        }
        return found;
    }

    void look() override {
        if (std::exchange(seen_, file_.commits - own_) != file_.commits - own_ && hooks_.foreign_commit) {
            hooks_.foreign_commit();
        }
    }
    void look_after_itself(const backlite::detail::SafeLogger&, Steady::time_point) override {}
    [[nodiscard]] std::unique_ptr<backlite::store::CommitWatch> watch() override { return nullptr; }

private:
    void set_key(MemoryFile::Task& row, const backlite::detail::UniqueAdd& unique, Ms now) {
        const bool latest = unique.conflict == backlite::Conflict::latest;
        row.unique_key = unique.key;
        row.key_while_waiting = unique.while_waiting();
        row.latest = latest;
        row.keeps_key = unique.period > backlite::Duration::zero();
        if (unique.debounced) row.wait_until = unique.due;
        if (!latest) return;
        row.held = file_.runs(row.queue, unique.key);
        for (MemoryFile::Task& task : file_.tasks) {
            if (!task.claimed_at || task.queue != row.queue || task.parked_key != unique.key) continue;
            task.superseded.reset();
            if (!unique.keep_row) continue;
            task.superseded = {backlite::TaskStatus::cancelled, unique.keep_payload ? task.payload : "", "",
                               backlite::store::KeepRule{true, unique.keep_payload, unique.keep_time}.until(now)};
        }
    }

    /// Whether the queue has room for those of the plan, which are in it, or gets it.
    bool keep_bound(const backlite::QueueConfig& queue, const backlite::store::AddPlan& plan) {
        const auto waits = [&](const MemoryFile::Task& task) { return task.queue == queue.name && !task.claimed_at; };
        const auto is_new = [&](const MemoryFile::Task& task) {
            return std::any_of(plan.tasks.begin(), plan.tasks.end(),
                               [&](const auto& added) { return added.id.str() == task.id; });
        };
        const std::optional<backlite::Retention>& kept = queue.retention;
        while (static_cast<std::size_t>(std::count_if(file_.tasks.begin(), file_.tasks.end(), waits)) >
               queue.max_waiting) {
            auto oldest = file_.tasks.end();
            for (auto task = file_.tasks.begin(); task != file_.tasks.end(); ++task) {
                if (!waits(*task) || is_new(*task)) continue;
                if (oldest == file_.tasks.end() || task->due() < oldest->due()) oldest = task;
            }
            if (queue.overflow != backlite::Overflow::drop_oldest || oldest == file_.tasks.end()) return false;
            if (kept) {
                file_.kept[oldest->id] = {
                    backlite::TaskStatus::cancelled, kept->data ? oldest->payload : "", "dropped: the queue is full",
                    kept->duration == backlite::Duration::zero() ? std::nullopt
                                                                 : std::optional{plan.now + kept->duration}};
            }
            if (plan.dropped != nullptr) {
                plan.dropped->push_back({backlite::TaskId::from_text(oldest->id), queue.name});
            }
            file_.tasks.erase(oldest);
        }
        return true;
    }

    /// Whether a task with a unique key is to be inserted.
    bool settle_key(const backlite::detail::NewTask& task, const backlite::store::AddPlan& plan) {
        using backlite::AddedAs, backlite::Conflict;
        backlite::detail::UniqueAdd& unique = *task.unique;
        unique.as = AddedAs::inserted;
        if (unique.debounced && !plan.wait_until) unique.due = *unique.debounced;
        MemoryFile::Task* other = file_.with_key(std::string{task.queue}, unique.key);
        if (other != nullptr && other->claimed_at && unique.while_waiting()) {
            other->parked_key = std::exchange(other->unique_key, {});
            other->key_while_waiting = true;
            other = nullptr;
        }
        unique.existing = {};
        if (other != nullptr) unique.existing = backlite::TaskId::from_text(other->id);
        for (const auto& [id, kept] : file_.kept) {
            const bool counts = kept.queue == task.queue && kept.unique_key == unique.key &&
                                unique.period > backlite::Duration::zero() && kept.ended > plan.now - unique.period;
            if (counts) unique.existing = backlite::TaskId::from_text(id);
        }
        if (unique.existing == backlite::TaskId{}) return true;
        if (unique.conflict == Conflict::reject) {
            const bool own = std::any_of(plan.tasks.begin(), plan.tasks.end(),
                                         [&](const auto& each) { return each.id == unique.existing; });
            throw backlite::DuplicateError("taken", own ? backlite::TaskId{} : unique.existing);
        }
        unique.as = AddedAs::existing;
        const bool replaces = unique.conflict == Conflict::replace || unique.conflict == Conflict::latest;
        if (!replaces || other == nullptr || other->claimed_at) return false;
        unique.as = AddedAs::replaced;
        std::optional<Ms> wait_until = plan.wait_until;
        if (unique.debounced && !wait_until) {
            if (unique.max_delay > backlite::Duration::zero()) {
                unique.due = (std::min)(unique.due, other->created + unique.max_delay);
            }
            wait_until = unique.due;
        }
        if (wait_until && *wait_until > plan.now) {
            other->wait_until = wait_until;
        } else if (other->due() > plan.now) {
            other->wait_until = plan.now;
        }
        other->payload = task.payload;
        other->priority = task.priority;
        other->attempts = 0;
        other->expires_at = task.expires_at;
        const std::optional<Ms> due = other->wait_until;
        const bool held = other->held;
        set_key(*other, unique, plan.now);
        other->wait_until = due;
        if (unique.conflict != Conflict::latest) other->held = held;
        return false;
    }

    void join(const backlite::store::AddPlan& plan, const backlite::detail::Parents::Join& join) {
        if (!save({join.claim, plan.now, join.values, true}, {})) throw backlite::ClaimLost("lost");
        MemoryFile::Task* const flow = file_.held(join.claim.id, join.claim.number);
        std::size_t number = join.first;
        for (const backlite::detail::NewTask& task : plan.tasks) {
            flow->parents.emplace(task.id.str(), backlite::OnParentFailure::run);
            file_.joined[task.id.str()] = {join.claim.id.str(), number++};
        }
    }

    void hold(MemoryFile::Task& row, const backlite::detail::Parents& parents,
              std::span<const backlite::detail::NewTask> tasks) {
        using backlite::OnParentFailure;
        const auto wait_for = [&](const std::string& id, OnParentFailure on_failure) {
            const bool unfinished =
                std::any_of(file_.tasks.begin(), file_.tasks.end(), [&](const auto& task) { return task.id == id; });
            const auto kept = file_.kept.find(id);
            const bool failed =
                !unfinished && kept != file_.kept.end() && kept->second.status != backlite::TaskStatus::succeeded;
            if (!unfinished && (!failed || on_failure == OnParentFailure::run)) return;
            const auto place = row.parents.emplace(id, on_failure).first;
            place->second = (std::min)(place->second, on_failure);
            if (failed) file_.ended.emplace_back(id, false);
        };
        for (const auto& parent : parents.known) wait_for(parent.id.str(), parent.on_failure);
        for (const auto& task : tasks.subspan(parents.first, parents.count)) {
            wait_for((task.inserted() ? task.id : task.unique->existing).str(), OnParentFailure::cancel);
        }
    }

    static backlite::TaskState state_of(backlite::TaskStatus status) {
        using backlite::TaskState, backlite::TaskStatus;
        if (status == TaskStatus::succeeded) return TaskState::succeeded;
        if (status == TaskStatus::cancelled) return TaskState::cancelled;
        return status == TaskStatus::expired ? TaskState::expired : TaskState::failed;
    }
    static backlite::TaskState state_of(const MemoryFile::Task& task, Ms now) {
        using backlite::TaskState;
        if (task.claimed_at) return TaskState::running;
        if (!task.waits()) return TaskState::held;
        if (task.due() <= now) return TaskState::waiting;
        return task.attempts > 0 ? TaskState::retrying : TaskState::scheduled;
    }

    bool change_kept(const backlite::store::ChangePlan& plan, const std::string& id) {
        const MemoryFile::Kept old = file_.kept[id];
        const bool there = std::any_of(file_.tasks.begin(), file_.tasks.end(),
                                       [&](const MemoryFile::Task& task) { return task.id == id; });
        if (plan.change == backlite::store::Change::retry) {
            if (old.status == backlite::TaskStatus::succeeded || old.payload.empty() || there) return false;
            MemoryFile::Task task{id, old.queue, old.payload, plan.now};
            task.claim = file_.last_return;
            file_.tasks.push_back(std::move(task));
        } else if (plan.change != backlite::store::Change::remove) {
            return false;
        }
        file_.kept.erase(id);
        return true;
    }

    bool change_task(const backlite::store::ChangePlan& plan, MemoryFile::Task& task,
                     backlite::store::ChangeResult& result, const Patience& patience) {
        using backlite::store::Change;
        switch (plan.change) {
            case Change::cancel: {
                const backlite::TaskId id = backlite::TaskId::from_text(task.id);
                const std::string queue = task.queue;
                if (cancel({.id = id, .now = plan.now, .keep = plan.keep}, patience) ==
                    backlite::CancelResult::cancelled) {
                    result.cancelled.push_back({id, queue});
                }
                return true;
            }
            case Change::retry: return false;
            case Change::remove:
                if (task.claimed_at) return false;
                file_.keep_saved(task.id, false);
                file_.tasks.erase(file_.tasks.begin() + (&task - file_.tasks.data()));
                return true;
            case Change::run_now:
                if (task.claimed_at || task.due() <= plan.now) return false;
                task.wait_until = plan.now;
                task.created = (std::min)(task.created, plan.now);
                return true;
            case Change::set_priority: break;
        }
        return std::exchange(task.priority, plan.priority) != plan.priority;
    }

    class Membership final : public backlite::store::Owner {
    public:
        Membership(MemoryStore& store, std::int64_t number) : store_(store), file_(store.file_), number_(number) {}
        Membership(const Membership&) = delete;
        Membership& operator=(const Membership&) = delete;
        ~Membership() override { Membership::let_go(); }

        [[nodiscard]] std::int64_t number() const noexcept override { return number_; }
        void entering(std::size_t worker, const backlite::detail::ClaimedTask& task) noexcept override {
            auto& inside = file_.owners[number_].inside[worker];
            inside = {{task.id.str(), task.claim}};
            for (const auto& other : task.others) inside.emplace_back(other.id.str(), other.claim);
        }
        void left(std::size_t worker) noexcept override { file_.owners[number_].inside.erase(worker); }

        [[nodiscard]] backlite::store::FileState read(std::vector<QueueHead> heads, bool, const Patience&) override {
            others_ = file_.owners.size() > 1;
            for (QueueHead& head : heads) {
                head.limits = store_.limits(head.name).value_or(head.registered);
                store_.read_head(head, {});
                head.paused = file_.paused.contains(std::string{head.name});
            }
            const Ms now = backlite::detail::to_ms(store_.clock_.now());
            for (QueueHead& head : heads) store_.room(head, number_, now);
            std::vector<backlite::detail::ClaimKey> cancels;
            for (const MemoryFile::Task& task : file_.tasks) {
                if (!file_.cancels.contains(task.id)) continue;
                if (file_.saved[task.id].contains(std::string{backlite::detail::flow_cancelled})) continue;
                cancels.push_back({backlite::TaskId::from_text(task.id), task.claim});
            }
            return {.heads = std::move(heads),
                    .expiry = store_.first_expiry(),
                    .known = backlite::detail::minute_of(now),
                    .cancels = std::move(cancels),
                    .slot = store_.due_schedules({.until = Ms::earliest()}, {}).next,
                    .foreign_commits = file_.commits - store_.own_};
        }
        [[nodiscard]] bool others_known() const noexcept override { return others_; }
        [[nodiscard]] bool someone_died() override {
            return std::any_of(file_.owners.begin(), file_.owners.end(),
                               [](const auto& owner) { return !owner.second.alive; });
        }

        int rescue(const Patience&) override {
            int claims = 0;
            std::erase_if(file_.owners, [&](const auto& owner) {
                if (owner.second.alive) return false;
                std::vector<backlite::store::Rescued::Task> crashed;
                const int before = claims;
                for (std::size_t i = file_.tasks.size(); i-- > 0;) {
                    MemoryFile::Task& task = file_.tasks[i];
                    if (task.owner != owner.first) continue;
                    const std::pair claim{task.id, task.claim};
                    const auto& inside = owner.second.inside;
                    const auto is_it = [&](const auto& record) {
                        return std::find(record.second.begin(), record.second.end(), claim) != record.second.end();
                    };
                    if (std::any_of(inside.begin(), inside.end(), is_it)) {
                        ++task.crashes;
                        crashed.push_back({task.id, task.queue});
                    }
                    file_.give_back(task);
                    ++claims;
                }
                if (store_.hooks_.rescued) store_.hooks_.rescued({claims - before, crashed});
                return true;
            });
            file_.end_cancelled();
            store_.committed();
            return claims;
        }

        int observe(const Patience&) override {
            const auto now = store_.clock_.steady_now();
            std::map<std::pair<std::string, std::int64_t>, Sighting> seen;
            int hung = 0;
            for (std::size_t i = file_.tasks.size(); i-- > 0;) {
                MemoryFile::Task& task = file_.tasks[i];
                if (!task.owner || *task.owner == number_) continue;
                const std::pair claim{task.id, task.claim};
                const auto before = sightings_.find(claim);
                const bool still = before != sightings_.end() && before->second.lease == task.lease;
                Sighting sighting{task.lease, still ? before->second.since : now, still ? before->second.looks + 1 : 1};
                seen[claim] = sighting;
                if (sighting.looks < 4 || now - sighting.since < store_.config_.release_after) continue;
                file_.give_back(task);
                ++hung;
            }
            sightings_ = std::move(seen);
            file_.end_cancelled();
            if (hung > 0 && store_.hooks_.rescued) store_.hooks_.rescued({.claims = hung});
            return hung;
        }

        void keep_room() noexcept override {}
        void leave(const Patience&) override { file_.owners.erase(number_); }
        void let_go() noexcept override {
            const auto self = file_.owners.find(number_);
            if (self != file_.owners.end()) self->second.alive = false;
        }

    private:
        struct Sighting {
            std::int64_t lease = 0;
            Steady::time_point since{};
            int looks = 0;
        };

        MemoryStore& store_;
        MemoryFile& file_;
        const std::int64_t number_;
        bool others_ = false;
        std::map<std::pair<std::string, std::int64_t>, Sighting> sightings_{};
    };

    static backlite::UsageError no_host() { return backlite::UsageError("a store in memory has no connections"); }

    void committed() noexcept {
        ++own_;
        ++file_.commits;
    }

    [[nodiscard]] backlite::store::CycleResult run(const backlite::store::CycleRequest& request) {
        backlite::store::CycleResult result;
        file_.freed.clear();
        result.mend_next.assign(request.plan.mend.size(), backlite::store::never);
        for (std::size_t i = 0; i < request.outcomes.size(); ++i) {
            const backlite::detail::AttemptResult& outcome = request.outcomes[i].resolved;
            if (outcome.written) continue;
            MemoryFile::Task* task = file_.held(outcome.id, outcome.claim);
            if (task == nullptr) {
                result.lost_outcomes.push_back(i);
            } else if (task->flow && file_.cancels.contains(task->id) &&
                       outcome.resolution != backlite::detail::RowChange::complete &&
                       outcome.resolution != backlite::detail::RowChange::fail) {
                settle(*task, outcome);
                file_.wake_to_undo(*task);
            } else if (outcome.resolution != backlite::detail::RowChange::complete &&
                       file_.end_cancelled(*task, true)) {
                result.cancelled_outcomes.push_back(i);
            } else if (!settle(*task, outcome)) {
                result.cancelled_outcomes.push_back(i);
            }
        }
        count(request.plan.added, {});
        for (std::size_t i = 0; i < request.plan.leases.size(); ++i) {
            const backlite::detail::ClaimKey& claim = request.plan.leases[i];
            if (MemoryFile::Task* task = file_.held(claim.id, claim.number)) {
                ++task->lease;
            } else {
                result.lost_leases.push_back(i);
            }
        }
        for (const backlite::detail::ProgressNote& note : request.plan.progress) {
            if (file_.held(note.claim.id, note.claim.number) == nullptr) continue;
            file_.progress[note.claim.id.str()] = {note.fraction, note.message, backlite::detail::from_ms(note.at)};
        }
        if (request.plan.purge) {
            result.purged = static_cast<int>(std::erase_if(file_.kept, [&](const auto& kept) {
                if (!kept.second.expires_at || *kept.second.expires_at > request.plan.past) return false;
                file_.saved.erase(kept.first);
                return true;
            }));
        }
        if (request.plan.expire) expire(request, result);
        for (const backlite::store::SlotPlan& plan : request.plan.slots) {
            result.slots.push_back(run_slots_of(plan, backlite::detail::to_ms(clock_.now())));
        }
        result.heads = request.heads;
        for (const auto& finished : request.outcomes) {
            QueueHead& head = result.heads[finished.queue];
            head.full = false;
            if (head.has_partitions()) read_head(head, {});  // its end may have freed some
        }
        for (QueueHead& head : result.heads) {
            if (head.partition_opens > backlite::detail::to_ms(clock_.now())) continue;
            head.partition_opens = backlite::store::never;
            read_head(head, {});
        }
        if (!file_.ended.empty()) {
            result.children_left = false;
            result.cancelled_children = file_.see_to_children(backlite::detail::to_ms(clock_.now()), hooks_.keep);
            for (QueueHead& head : result.heads) {
                for (const MemoryFile::Task& task : file_.tasks) {
                    if (task.queue == head.name && task.waits()) head.came(task.due());
                }
            }
        }
        for (const auto& [queue, due] : file_.freed) {
            for (QueueHead& head : result.heads) {
                if (head.name == queue) head.came(due);
            }
        }
        if (request.plan.claim.limit > 0) claim(request.plan.claim, result);
        return result;
    }

    [[nodiscard]] backlite::store::SlotResult run_slots_of(const backlite::store::SlotPlan& plan, Ms now) {
        using backlite::CancelResult, backlite::TaskId;
        backlite::store::SlotResult result;
        const auto keep = [&](std::string_view queue) {
            return hooks_.keep ? hooks_.keep(queue) : backlite::store::KeepRule{};
        };
        const auto stored = file_.schedules.find(plan.seen->name);
        if (stored == file_.schedules.end() || !backlite::store::still_as_seen(plan, stored->second)) {
            result.lost = true;
            return result;
        }
        backlite::store::ScheduleRow row = stored->second;  // an add that fails puts the file back
        backlite::store::run_slots(
            plan, now, row, result,
            [this](const std::string& id) {
                return std::any_of(file_.tasks.begin(), file_.tasks.end(),
                                   [&](const MemoryFile::Task& task) { return task.id == id; });
            },
            [&](const std::string& id, backlite::store::SlotResult& its) {
                const TaskId task = TaskId::from_text(id);
                const CancelResult ended = cancel({.id = task, .now = now, .keep = keep}, {});
                if (ended == CancelResult::cancelled) its.cancelled.push_back({task, row.queue});
                if (ended == CancelResult::requested) its.asked = true;
            },
            [&](backlite::detail::NewTask& task, std::optional<Ms> wait_until) {
                const std::vector<backlite::store::Tally> none;
                try {
                    add({.tasks = {&task, 1}, .now = now, .wait_until = wait_until, .count = &none}, {});
                } catch (const backlite::QueueFullError&) {
                    return false;
                }
                return task.inserted();
            });
        if (!plan.by_hand) {
            row.begun = plan.begun;
            row.next = plan.next;
            row.gap_from = plan.gap_from;
            row.gap_until = plan.gap_until;
        }
        file_.schedules[row.name] = std::move(row);
        return result;
    }

    [[nodiscard]] std::optional<Ms> first_expiry(Ms from = Ms::earliest()) const {
        std::optional<Ms> first;
        for (const MemoryFile::Task& task : file_.tasks) {
            if (!task.expires_at || *task.expires_at < from) continue;
            first = (std::min)(first.value_or(*task.expires_at), *task.expires_at);
        }
        return first;
    }

    void expire(const backlite::store::CycleRequest& request, backlite::store::CycleResult& result) {
        std::erase_if(file_.tasks, [&](const MemoryFile::Task& task) {
            if (!task.expires_at || *task.expires_at > request.plan.expire_until) return false;
            const auto head = std::find_if(request.heads.begin(), request.heads.end(),
                                           [&](const QueueHead& each) { return each.name == task.queue; });
            if (head == request.heads.end()) return false;
            const auto queue = static_cast<std::size_t>(head - request.heads.begin());
            const backlite::store::KeepRule& keep = request.plan.keep[queue];
            file_.keep_saved(task.id, keep.row && keep.payload);
            if (keep.row) {
                file_.kept[task.id] = {backlite::TaskStatus::expired, keep.payload ? task.payload : "", "expired",
                                       keep.until(request.plan.expire_until), task.queue};
            }
            result.expired.push_back({backlite::TaskId::from_text(task.id), queue});
            file_.tell_flow_failed(task.id, "expired");
            file_.ended.emplace_back(task.id, false);
            return true;
        });
        result.expire_next = first_expiry(request.plan.expire_until + backlite::Duration{1});
    }

    /// False if it ended as cancelled instead.
    bool settle(MemoryFile::Task& task, const backlite::detail::AttemptResult& outcome) {
        using backlite::TaskStatus;
        using backlite::detail::RowChange;
        const bool ends = outcome.resolution == RowChange::complete || outcome.resolution == RowChange::fail;
        if (!ends && !file_.give_back(task)) return false;
        if (outcome.spends_attempt) ++task.attempts;
        switch (outcome.resolution) {
            case RowChange::complete:
            case RowChange::fail:
                file_.keep_saved(task.id,
                                 outcome.resolution == RowChange::fail && outcome.keep_row && outcome.keep_payload);
                if (outcome.resolution != RowChange::complete) {
                    file_.tell_flow_failed(task.id, outcome.error);
                } else {
                    file_.tell_flow(task.id, outcome.result.empty() ? "" : R"({"v":)" + outcome.result + "}");
                }
                file_.ended.emplace_back(task.id, outcome.resolution == RowChange::complete);
                keep(task, outcome);
                file_.remove(task);
                break;
            case RowChange::retry:
            case RowChange::snooze:
                if (outcome.closes > backlite::Duration::zero()) {
                    const Ms now = backlite::detail::to_ms(clock_.now());
                    const auto lane = task.partition.empty() ? std::nullopt : std::optional{task.partition};
                    file_.closed[{task.queue, lane}] = {now + outcome.closes, outcome.closes};
                }
                task.crashes = 0;
                task.wait_until = outcome.wait_until;
                if (!outcome.waits_for.empty()) {
                    for (const auto& [name, json] : file_.saved[task.id]) {
                        if (name.starts_with(outcome.waits_for)) task.wait_until = outcome.executed_at;
                    }
                }
                break;
            case RowChange::release:
                if (outcome.wait) task.wait_until = outcome.wait_until;
                task.expires_at = outcome.expires_at;
                break;
        }
        return true;
    }

    void keep(const MemoryFile::Task& task, const backlite::detail::AttemptResult& outcome) {
        using backlite::TaskStatus;
        const bool succeeded = outcome.resolution == backlite::detail::RowChange::complete;
        const bool expired = outcome.kind == backlite::detail::expired_kind;
        const bool keeps_key = task.keeps_key && !expired && outcome.key_period > backlite::Duration::zero();
        if (!outcome.keep_row && !keeps_key) return;
        const TaskStatus end = succeeded ? TaskStatus::succeeded : expired ? TaskStatus::expired : TaskStatus::failed;
        MemoryFile::Kept& kept = file_.kept[task.id];
        kept = {end,           outcome.keep_row && outcome.keep_payload ? task.payload : "",
                outcome.error, outcome.expires_at,
                task.queue,    outcome.keep_row && succeeded ? outcome.result : ""};
        if (!keeps_key) return;
        kept.unique_key = task.unique_key;
        kept.ended = outcome.executed_at + std::chrono::duration_cast<backlite::Duration>(outcome.duration);
        const Ms until = kept.ended + outcome.key_period;
        if (!outcome.keep_row || (kept.expires_at && *kept.expires_at < until)) kept.expires_at = until;
    }

    /// How many tasks of a queue may be claimed now; and notes in its head what closes it.
    std::int64_t room(QueueHead& head, std::int64_t owner, Ms now) {
        const auto claimed = [&](std::optional<std::int64_t> by) {
            return std::count_if(file_.tasks.begin(), file_.tasks.end(), [&](const MemoryFile::Task& task) {
                return task.queue == head.name && task.claimed_at && (!by || task.owner == by);
            });
        };
        std::int64_t slots = backlite::detail::most_number;
        if (head.limits.running > 0) slots = head.limits.running - claimed(std::nullopt);
        if (head.limits.running_per_client > 0) {
            slots = (std::min)(slots, head.limits.running_per_client - std::int64_t{claimed(owner)});
        }
        head.full = slots <= 0;
        head.opens = Ms::earliest();
        const auto closed = file_.closed.find({std::string{head.name}, std::nullopt});
        if (closed != file_.closed.end() &&
            backlite::store::is_closed(closed->second.first, closed->second.second, now)) {
            head.opens = closed->second.first;
            slots = 0;
        }
        if (!head.limits.rate.any()) return slots;
        const backlite::store::RateCount rate(head.limits.rate, file_.rates[std::string{head.name}], now);
        if (rate.room() == 0) head.opens = (std::max)(head.opens, rate.opens());
        return (std::min)(slots, rate.room());
    }

    /// Whether the partition of a task has a turn for it. It keeps no list of who waits: each claim looks at all.
    bool admit(QueueHead& head, MemoryFile::Task& task, Ms now) {
        const backlite::Limits& limits = head.limits;
        std::int64_t taken = 0;
        for (const MemoryFile::Task& other : file_.tasks) {
            if (&other == &task || other.queue != task.queue || other.partition != task.partition) continue;
            if (other.claimed_at || (limits.in_order && other.has_turn)) ++taken;
        }
        if (limits.turns() > 0 && taken >= limits.turns()) return false;
        const std::pair<std::string, std::string> lane{task.queue, task.partition};
        if (const auto closed = file_.closed.find({task.queue, task.partition}); closed != file_.closed.end()) {
            if (backlite::store::is_closed(closed->second.first, closed->second.second, now)) {
                head.partition_opens = (std::min)(head.partition_opens, closed->second.first);
                return false;
            }
        }
        if (limits.rate_per_partition.any()) {
            std::int64_t& used = file_.partition_rates[lane];
            backlite::store::RateCount rate(limits.rate_per_partition, used, now);
            if (rate.room() == 0) {
                head.partition_opens = (std::min)(head.partition_opens, rate.opens());
                return false;
            }
            rate.started(1);
            used = rate.used_until();
        }
        task.has_turn = limits.in_order;
        return true;
    }

    void started(QueueHead& head, std::int64_t owner, Ms now) {
        if (head.limits.rate.any()) {
            std::int64_t& used = file_.rates[std::string{head.name}];
            backlite::store::RateCount rate(head.limits.rate, used, now);
            rate.started(1);
            used = rate.used_until();
        }
        room(head, owner, now);
    }

    void claim(backlite::store::ClaimRequest request, backlite::store::CycleResult& result) {
        for (QueueHead& head : result.heads) {
            head.partition_opens = backlite::store::never;
            room(head, request.owner, request.now);
        }
        using backlite::store::Admission;
        std::vector<MemoryFile::Task*> due;
        for (MemoryFile::Task& task : file_.tasks) {
            if (task.waits() && task.due() <= request.now) due.push_back(&task);
        }
        const auto rank = [&](const MemoryFile::Task& task) {
            const bool in_order = std::any_of(result.heads.begin(), result.heads.end(), [&](const QueueHead& head) {
                return head.name == task.queue && head.limits.in_order;
            });
            return backlite::store::Rank::of(in_order ? 0 : task.priority, task.due(), request.ageing);
        };
        std::stable_sort(due.begin(), due.end(), [&](auto* a, auto* b) { return rank(*a) < rank(*b); });
        for (QueueHead& head : result.heads) {
            if (head.batch > 0) read_head(head, {});
        }
        std::vector<const MemoryFile::Task*> held;
        std::vector<const MemoryFile::Task*> behind_partitions;
        std::vector<std::pair<QueueHead*, Ms>> for_crashed;
        std::vector<std::pair<QueueHead*, Ms>> for_worker;
        for (MemoryFile::Task* task : due) {
            if (result.claimed.tasks.size() == request.limit) break;
            const auto head = std::find_if(result.heads.begin(), result.heads.end(),
                                           [&](const QueueHead& each) { return each.name == task->queue; });
            if (head == result.heads.end() || head->closed() || head->opens > request.now) continue;
            if (task->claimed_at || (head->batch > 0 && head->gathered() > request.now)) continue;
            const bool ahead = request.beside.free_workers == 0;
            if (ahead && (head->only_for_free_workers() || head->cost > request.ahead)) break;
            if (ahead && task->payload.size() > request.ahead_bytes) {
                result.claimed.left_bytes = task->payload.size();
                break;
            }
            const Admission answer = backlite::store::admission(task->crashes, head->max_crashes, request.beside);
            const bool left = std::binary_search(request.leave.begin(), request.leave.end(), task->id);
            if (left || answer != Admission::yes) {
                held.push_back(task);
                if (answer == Admission::waits_for_crashed) for_crashed.emplace_back(&*head, task->due());
                if (answer == Admission::waits_for_worker) for_worker.emplace_back(&*head, task->due());
                continue;
            }
            if (!admit(*head, *task, request.now)) {
                behind_partitions.push_back(task);
                continue;
            }
            take(*task, *head, request, result);
            started(*head, request.owner, request.now);
            if (head->batch == 0) continue;
            if (task->crashes == 0) fill_batch(due, *head, request, result, behind_partitions);
            std::vector<const MemoryFile::Task*> left_out = held;
            left_out.insert(left_out.end(), behind_partitions.begin(), behind_partitions.end());
            read_head(*head, left_out);
        }
        // They are due again whenever something of their partition has ended: a look finds them.
        held.insert(held.end(), behind_partitions.begin(), behind_partitions.end());
        for (QueueHead& head : result.heads) read_head(head, held);
        for (const auto& [head, time] : for_crashed) head->held_due = (std::min)(head->held_due, time);
        for (const auto& [head, time] : for_worker) head->worker_due = (std::min)(head->worker_due, time);
    }

    void fill_batch(const std::vector<MemoryFile::Task*>& due, QueueHead& head, backlite::store::ClaimRequest& request,
                    backlite::store::CycleResult& result, std::vector<const MemoryFile::Task*>& behind_partitions) {
        backlite::detail::ClaimedTask first = std::move(result.claimed.tasks.back());
        result.claimed.tasks.pop_back();
        backlite::store::ClaimRequest beside = request;
        beside.beside.free_workers = due.size();
        for (MemoryFile::Task* task : due) {
            if (first.others.size() + 1 >= static_cast<std::size_t>(head.full_batch())) break;
            if (task->queue != head.name || task->claimed_at || task->crashes > 0) continue;
            if (head.closed() || head.opens > request.now) break;
            if (std::binary_search(request.leave.begin(), request.leave.end(), task->id)) continue;
            if (!admit(head, *task, request.now)) {
                behind_partitions.push_back(task);
                continue;
            }
            take(*task, head, beside, result);
            started(head, request.owner, request.now);
            first.others.push_back(std::move(result.claimed.tasks.back()));
            result.claimed.tasks.pop_back();
        }
        if (!first.others.empty()) first.batch = backlite::detail::batch_number(head.name, request.now);
        for (auto& other : first.others) other.batch = first.batch;
        result.claimed.tasks.push_back(std::move(first));
    }

    void take(MemoryFile::Task& task, const QueueHead& head, backlite::store::ClaimRequest& request,
              backlite::store::CycleResult& result) const {
        task.claimed_at = request.now;
        task.owner = request.owner;
        task.lease = 0;
        if (task.key_while_waiting) task.parked_key = std::exchange(task.unique_key, {});
        backlite::detail::ClaimedTask claimed;
        claimed.id = backlite::TaskId::from_text(task.id);
        claimed.queue = static_cast<std::size_t>(&head - result.heads.data());
        claimed.claim = ++task.claim;
        claimed.attempts = task.attempts;
        claimed.crashes = task.crashes;
        claimed.due = task.due();
        claimed.priority = task.priority;
        claimed.partition = task.partition;
        claimed.cost = head.cost;
        claimed.expires_at = std::exchange(task.expires_at, std::nullopt);
        if (task.payload.size() > request.max_payload) {
            claimed.oversize = task.payload.size();
        } else {
            claimed.payload = task.payload;
        }
        if (task.crashes > 0 && task.crashes < head.max_crashes) {
            request.beside.crashed = true;
            claimed.last_chance = task.crashes == head.max_crashes - 1;
            request.beside.last_chance = request.beside.last_chance || claimed.last_chance;
        }
        if (request.beside.free_workers > 0) {
            --request.beside.free_workers;
        } else {
            request.ahead -= head.cost;
            request.ahead_bytes -= claimed.payload.size();
        }
        result.claimed.tasks.push_back(std::move(claimed));
    }

    void read_head(QueueHead& head, const std::vector<const MemoryFile::Task*>& held) const {
        head.levels.clear();
        head.due = head.unread = head.held_due = head.worker_due = backlite::store::never;
        std::vector<Ms> dues;
        for (const MemoryFile::Task& task : file_.tasks) {
            if (task.queue != head.name || !task.waits()) continue;
            if (std::find(held.begin(), held.end(), &task) != held.end()) continue;
            head.due = (std::min)(head.due, task.due());
            if (head.batch > 0) dues.push_back(task.due());
            const auto level = std::find_if(head.levels.begin(), head.levels.end(),
                                            [&](const auto& each) { return each.priority == task.priority; });
            if (level == head.levels.end()) {
                head.levels.push_back({task.priority, task.due()});
            } else {
                level->due = (std::min)(level->due, task.due());
            }
        }
        if (head.batch > 0) head.gather(std::move(dues));
    }

    MemoryFile& file_;
    const backlite::ClientConfig& config_;
    const backlite::Clock& clock_;
    const backlite::store::StoreHooks hooks_;
    std::uint64_t own_ = 0;   ///< commits of this client
    std::uint64_t seen_ = 0;  ///< commits of others at the last look
};

}  // namespace backlite_test
