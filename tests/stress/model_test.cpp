// SPDX-License-Identifier: MIT
// Random sequences of the whole interface, run against the library and against a small model of what it promises. After
// each settled step both tables must be what the model says, to the millisecond: the clock stands still between steps.
//     BACKLITE_ROUNDS=5000 BACKLITE_SEED=7 build/gcc/tests/backlite_stress "model: *"
// A round is a sequence of 200 operations. One that fails is made as short as it can be, and printed.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include <backlite_catch.hpp>
#include <harness.hpp>
#include <temp_folder.hpp>

namespace {

using namespace std::chrono_literals;
using backlite::Client;
using backlite::Context;
using backlite::Outcome;
using backlite::TaskStatus;
using Ms = std::int64_t;
using Steady = std::chrono::steady_clock;

// ---- what the library and the model are both told -------------------------------------------------------------------

enum class Wait { none, fixed, doubling, growing };
enum class Data { no, all, failed };

struct Rule {
    const char* name = "";
    int max_attempts = 1;
    Wait backoff = Wait::none;
    bool keeps = false;
    Ms retention = 0;  // zero: for ever
    bool only_failed = false;
    Data data = Data::no;
    backlite::Unique unique{};  // of tasks that are added with a key
    Ms expires_after = 0;
    std::size_t max_waiting = 0;
    backlite::Overflow overflow = backlite::Overflow::reject;
};

constexpr std::size_t plain_queues = 6;
constexpr std::size_t first_bounded = 10;  // those before it are for tasks with keys
constexpr std::size_t expiring_queue = 13;
constexpr std::size_t queues = 14;
constexpr unsigned served_by_second = 0b1111'001'001010;
constexpr unsigned all_queues = (1U << queues) - 1;
constexpr int max_crashes = 3;
constexpr Ms release_after = 600'000;
constexpr std::array<Rule, queues> rules{{
    {"gone", 1, Wait::none, false, 0, false, Data::no},
    {"kept", 3, Wait::fixed, true, 0, false, Data::all},
    {"hour", 2, Wait::doubling, true, 3'600'000, false, Data::no},
    {"failures", 4, Wait::growing, true, 600'000, true, Data::failed},
    {"minute", 1, Wait::none, true, 60'000, false, Data::failed},
    {"audit", 5, Wait::none, true, 7'200'000, true, Data::all},
    {"latest", 3, Wait::fixed, true, 3'600'000, false, Data::all, {.conflict = backlite::Conflict::latest}},
    {"started",
     2,
     Wait::growing,
     false,
     0,
     false,
     Data::no,
     {.conflict = backlite::Conflict::keep, .until = backlite::UniqueUntil::started}},
    {"period", 2, Wait::none, false, 0, false, Data::no, {.conflict = backlite::Conflict::keep, .period = 30s}},
    {"debounced",
     1,
     Wait::none,
     true,
     60'000,
     true,
     Data::failed,
     {.conflict = backlite::Conflict::replace, .debounce = 5s, .max_delay = 60s}},
    {.name = "rejecting", .max_attempts = 2, .backoff = Wait::fixed, .max_waiting = 2},
    {.name = "dropping",
     .max_attempts = 2,
     .backoff = Wait::fixed,
     .keeps = true,
     .retention = 3'600'000,
     .data = Data::all,
     .max_waiting = 3,
     .overflow = backlite::Overflow::drop_oldest},
    {.name = "roomy",
     .max_attempts = 2,
     .backoff = Wait::fixed,
     .max_waiting = 2,
     .overflow = backlite::Overflow::wait},
    {.name = "expiring",
     .max_attempts = 3,
     .backoff = Wait::fixed,
     .keeps = true,
     .retention = 3'600'000,
     .data = Data::failed,
     .expires_after = 5'000},
}};

backlite::QueueConfig config_of(const Rule& rule) {
    backlite::QueueConfig config;
    config.name = rule.name;
    config.max_attempts = rule.max_attempts;
    config.max_crashes = max_crashes;
    if (rule.backoff == Wait::fixed) config.backoff = 5s;
    if (rule.backoff == Wait::doubling) {
        config.backoff = backlite::Backoff::exponential({.initial = 1s, .factor = 2.0, .max = 3s, .jitter = 0.0});
    }
    if (rule.backoff == Wait::growing) config.backoff = backlite::Backoff::custom([](int n) { return n * 1000ms; });
    if (rule.keeps) {
        backlite::Retention retention;
        retention.duration = std::chrono::milliseconds{rule.retention};
        retention.only_failed = rule.only_failed;
        if (rule.data != Data::no) retention.data = backlite::RetainData{.only_failed = rule.data == Data::failed};
        config.retention = retention;
    }
    config.unique = rule.unique;
    config.expires_after = std::chrono::milliseconds{rule.expires_after};
    config.max_waiting = rule.max_waiting;
    config.overflow = rule.overflow;
    return config;
}

// A task says what its runs do, one letter each; after the last one it succeeds.
//     f throws, n throws a number, r retries, i retries at once, I retries in 7 s, z snoozes for nothing, Z snoozes
//     for a minute, d discards, o succeeds. '!' is refused by a trigger of the host's.
template <int Q>
struct Job {
    std::string script{};
    static backlite::QueueConfig config() { return config_of(rules[Q]); }
};
template <int Q>
void to_json(nlohmann::json& json, const Job<Q>& job) {
    json = {{"script", job.script}};
}
template <int Q>
void from_json(const nlohmann::json& json, Job<Q>& job) {
    json.at("script").get_to(job.script);
}

constexpr Ms long_retry = 7'000;
constexpr Ms long_snooze = 60'000;

// ---- the model ------------------------------------------------------------------------------------------------------

struct Done {
    std::string queue{};
    Ms created = 0;
    Ms executed = 0;
    int attempts = 0;
    bool succeeded = false;
    std::optional<std::string> payload{};
    std::optional<Ms> expires{};
    std::optional<std::string> error{};
    int priority = 0;
    bool cancelled = false;
    bool kept = true;
    std::optional<std::string> key{};  // with a period
    bool expired = false;
};

struct Task {
    std::string queue{};
    Ms created = 0;
    std::string payload{};
    std::optional<std::string> script{};  // nullopt: the payload cannot be read
    std::optional<Ms> wait_until{};
    std::optional<Ms> claimed{};  // by a program that does not say who it is
    std::optional<Ms> executed{};
    int attempts = 0;
    int crashes = 0;
    std::optional<std::string> error{};
    int priority = 0;
    std::optional<Done> end{};  // what becomes of it once nobody holds it: it was cancelled
    std::optional<std::string> key{};
    std::optional<std::string> parked{};  // the same while it is claimed, and another may have it
    bool while_waiting = false;
    bool latest = false;
    bool held = false;
    Ms period = 0;
    Ms superseded = 0;            // when a newer one was added beside it
    std::optional<Ms> expires{};  // until it has started
    std::size_t number = 0;       // of tasks of bounded queues: in which order they were added

    [[nodiscard]] Ms due() const { return std::max(created, wait_until.value_or(created)); }
};

constexpr Ms week = Ms{7} * 24 * 3'600'000;
constexpr std::string_view unreadable = "its payload cannot be read";

struct ModelClient {
    bool started = false;
    unsigned serves = 0;  // a bit for each queue
};

struct Model {
    Ms now = 0;
    std::map<std::string, Task> tasks{};
    std::map<std::string, Done> done{};
    std::map<std::string, std::vector<Ms>> entered{};  // each run's due time
    std::array<ModelClient, 2> clients{};
    std::set<std::string> paused{};
    int host_rows = 0;

    [[nodiscard]] bool started() const { return clients[0].started || clients[1].started; }

    [[nodiscard]] const Rule* served(const std::string& queue) const {
        for (std::size_t q = 0; q < queues; ++q) {
            if (queue != rules[q].name || paused.contains(queue)) continue;
            for (const ModelClient& client : clients) {
                if (client.started && (client.serves >> q & 1U) != 0) return &rules[q];
            }
        }
        return nullptr;
    }

    // Also while it is paused.
    [[nodiscard]] const Rule* registered(const std::string& queue) const {
        for (std::size_t q = 0; q < queues; ++q) {
            if (queue != rules[q].name) continue;
            for (const ModelClient& client : clients) {
                if (client.started && (client.serves >> q & 1U) != 0) return &rules[q];
            }
        }
        return nullptr;
    }

    [[nodiscard]] std::size_t waiting(const std::string& queue) const {
        return static_cast<std::size_t>(std::count_if(tasks.begin(), tasks.end(), [&](const auto& entry) {
            return entry.second.queue == queue && !entry.second.claimed;
        }));
    }

    // Of those that wait, the one that is dropped first.
    [[nodiscard]] std::string oldest(const std::string& queue) const {
        const auto rank = [](const Task& task) { return std::tuple{task.due(), task.priority, task.number}; };
        const std::string* found = nullptr;
        for (const auto& [id, task] : tasks) {
            if (task.queue != queue || task.claimed) continue;
            if (found == nullptr || rank(task) < rank(tasks.at(*found))) found = &id;
        }
        return *found;
    }

    // Whoever adds to the queue finds it full, and ends the oldest for as many new ones.
    void drop(const Rule& rule, std::size_t count) {
        for (; count > 0; --count) {
            const std::string id = oldest(rule.name);
            const Task& task = tasks.at(id);
            Done end{task.queue, task.created, task.executed.value_or(now), std::max(task.attempts, 0)};
            end.error = "dropped: the queue is full";
            end.priority = task.priority;
            end.cancelled = true;
            if (rule.data != Data::no) end.payload = task.payload;
            end.expires = now + rule.retention;
            if (rule.keeps) done[id] = std::move(end);
            tasks.erase(id);
        }
    }

    void expire() {
        for (auto it = tasks.begin(); it != tasks.end();) {
            const auto current = it++;
            const Task& task = current->second;
            const Rule* rule = registered(task.queue);
            if (rule == nullptr || !task.expires || *task.expires > now) continue;
            Done end{task.queue, task.created, now, 0};
            end.error = "expired";
            end.priority = task.priority;
            end.expired = true;
            if (rule->data != Data::no) end.payload = task.payload;
            end.expires = now + rule->retention;
            done[current->first] = std::move(end);
            tasks.erase(current);
        }
    }

    // What running clients make of it, now.
    void run() {
        if (!started()) return;
        purge();
        lapse();
        expire();
        for (auto& [id, task] : tasks) task.held = task.held && runs(task.queue, *task.key);
        for (bool changed = true; changed;) {
            changed = false;
            for (auto it = tasks.begin(); it != tasks.end();) {
                const auto current = it++;
                Task& task = current->second;
                const Rule* rule = served(task.queue);
                if (rule == nullptr || task.claimed || task.held || task.due() > now) continue;
                changed = true;
                if (attempt(current->first, task, *rule)) tasks.erase(current);
            }
        }
        purge();  // what was cancelled while it was claimed expires by the time of that
    }

    void lapse() {
        std::vector<std::pair<Ms, std::string>> lapsed;
        for (const auto& [id, task] : tasks) {
            if (task.claimed && *task.claimed + release_after <= now) lapsed.emplace_back(*task.claimed, id);
        }
        std::sort(lapsed.begin(), lapsed.end());
        for (const auto& [claimed, id] : lapsed) {
            const auto entry = tasks.find(id);
            Task& task = entry->second;
            task.claimed.reset();
            const std::optional<std::string> key = std::exchange(task.parked, std::nullopt);
            const auto other = key ? with_key(task.queue, *key) : tasks.end();
            if (key && other == tasks.end()) {
                task.key = key;
            } else if (key && other->second.latest && !other->second.claimed) {
                supersede(entry, other->first);
                continue;
            } else if (key) {
                task.while_waiting = task.latest = false;
            }
            if (task.end) end_cancelled(entry);
        }
    }

    [[nodiscard]] std::map<std::string, Task>::iterator with_key(const std::string& queue, const std::string& key) {
        return std::find_if(tasks.begin(), tasks.end(),
                            [&](const auto& entry) { return entry.second.queue == queue && entry.second.key == key; });
    }

    [[nodiscard]] bool runs(const std::string& queue, const std::string& key) const {
        return std::any_of(tasks.begin(), tasks.end(), [&](const auto& entry) {
            return entry.second.claimed && entry.second.queue == queue && entry.second.parked == key;
        });
    }

    // A newer one waits in its place.
    void supersede(std::map<std::string, Task>::iterator entry, const std::string& by) {
        const Task& task = entry->second;
        const Rule& rule = rule_of(task.queue);
        Done end{task.queue, task.created, task.superseded, std::max(task.attempts, 0)};
        end.error = "superseded by " + by;
        end.priority = task.priority;
        end.cancelled = true;
        if (rule.data != Data::no) end.payload = task.payload;
        end.expires = task.superseded + rule.retention;
        done[entry->first] = std::move(end);
        tasks.erase(entry);
    }

    [[nodiscard]] static const Rule& rule_of(const std::string& queue) {
        return *std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.name == queue; });
    }

    // A task with a key is added: what becomes of it, and the id that counts; of a new one that is `id`.
    backlite::AddResult add_unique(Task task, const backlite::TaskId& id) {
        using backlite::AddedAs;
        const backlite::Unique& unique = rule_of(task.queue).unique;
        const bool latest = unique.conflict == backlite::Conflict::latest;
        task.while_waiting = latest || unique.until == backlite::UniqueUntil::started;
        task.latest = latest;
        task.period = unique.period.count();
        const bool debounced = unique.debounce.count() > 0 && !task.wait_until;
        for (const auto& [kept, row] : done) {
            if (task.period > 0 && row.queue == task.queue && row.key == task.key && row.executed > now - task.period) {
                return {backlite::TaskId::from_text(kept), AddedAs::existing};
            }
        }
        auto other = with_key(task.queue, *task.key);
        if (other != tasks.end() && other->second.claimed && task.while_waiting) {
            other->second.parked = std::exchange(other->second.key, std::nullopt);
            other->second.while_waiting = true;
            other = tasks.end();
        }
        if (other != tasks.end() && (other->second.claimed || unique.conflict == backlite::Conflict::keep ||
                                     unique.conflict == backlite::Conflict::none)) {
            return {backlite::TaskId::from_text(other->first), AddedAs::existing};
        }
        if (latest) {
            task.held = runs(task.queue, *task.key);
            for (auto& [each, running] : tasks) {
                if (running.claimed && running.queue == task.queue && running.parked == task.key) {
                    running.superseded = now;
                }
            }
        }
        if (other == tasks.end()) {
            if (debounced) task.wait_until = now + unique.debounce.count();
            tasks[id.str()] = std::move(task);
            return {id, AddedAs::inserted};
        }
        Task& old = other->second;
        std::optional<Ms> due = task.wait_until;
        if (debounced) due = std::min(now + unique.debounce.count(), old.created + unique.max_delay.count());
        if (due.value_or(now) > now) {
            old.wait_until = due;
        } else if (old.due() > now) {
            old.wait_until = now;
        }
        old.script = task.script;
        old.payload = task.payload;
        old.priority = task.priority;
        old.attempts = 0;
        old.error.reset();
        old.executed.reset();
        if (latest) old.held = task.held;
        return {backlite::TaskId::from_text(other->first), AddedAs::replaced};
    }

    void purge() {
        std::erase_if(done, [&](const auto& entry) { return entry.second.expires && *entry.second.expires <= now; });
    }

    // Whether that was the task's end.
    bool attempt(const std::string& id, Task& task, const Rule& rule) {
        task.expires.reset();
        const int spent = std::max(task.attempts, 0);
        if (task.crashes >= max_crashes) {
            return give_up(id, task, rule,
                           fmt::format("the process died {} times while it ran this task (max_crashes "
                                       "is {})",
                                       task.crashes, max_crashes));
        }
        if (!task.script) {
            if (spent + 1 < rule.max_attempts) {
                return fail(id, task, rule, std::string{unreadable}, backoff(rule, spent + 1));
            }
            task.attempts = spent + 1;
            return give_up(id, task, rule, with_bound(rule, spent + 1, std::string{unreadable}));
        }

        std::vector<Ms>& runs = entered[id];
        const char letter = runs.size() < task.script->size() ? (*task.script)[runs.size()] : 'o';
        runs.push_back(task.due());
        const int number = spent + 1;
        switch (letter) {
            case 'f': return fail(id, task, rule, "broken", backoff(rule, number));
            case 'n': return fail(id, task, rule, "an exception that is no std::exception", backoff(rule, number));
            case 'r': return fail(id, task, rule, "again", backoff(rule, number));
            case 'i': return fail(id, task, rule, "at once", 0);
            case 'I': return fail(id, task, rule, "later", long_retry);
            case 'd': return end(id, task, rule, "not wanted");
            case 'z':
            case 'Z':
                task.wait_until = now + (letter == 'z' ? 0 : long_snooze);
                task.executed = now;
                task.crashes = 0;
                return false;
            default: return end(id, task, rule, std::nullopt);
        }
    }

    static Ms backoff(const Rule& rule, int number) {
        switch (rule.backoff) {
            case Wait::none: return 0;
            case Wait::fixed: return 5'000;
            case Wait::growing: return 1'000 * number;
            case Wait::doubling: break;
        }
        return number == 1 ? 1'000 : number == 2 ? 2'000 : 3'000;
    }

    bool fail(const std::string& id, Task& task, const Rule& rule, const std::string& error, Ms wait) {
        const int number = std::max(task.attempts, 0) + 1;
        if (number >= rule.max_attempts) return end(id, task, rule, with_bound(rule, number, error));
        task.attempts = number;
        task.crashes = 0;
        task.wait_until = now + wait;
        task.executed = now;
        task.error = error;
        return false;
    }

    static std::string with_bound(const Rule& rule, int number, const std::string& error) {
        if (number <= rule.max_attempts) return error;
        return fmt::format("no attempt is left after {} (max_attempts is {}): {}", number, rule.max_attempts, error);
    }

    bool end(const std::string& id, const Task& task, const Rule& rule, const std::optional<std::string>& error) {
        if (rule.keeps && (error || !rule.only_failed)) {
            const bool data = rule.data == Data::all || (rule.data == Data::failed && error);
            keep(id, task, std::max(task.attempts, 0) + 1, data, rule.retention, error);
        } else if (task.period > 0 && task.key) {
            keep(id, task, std::max(task.attempts, 0) + 1, false, task.period, error);
        }
        return true;
    }

    bool give_up(const std::string& id, const Task& task, const Rule& rule, const std::string& error) {
        keep(id, task, std::max(task.attempts, 0), true, rule.keeps ? rule.retention : week, error);
        return true;
    }

    // `registered`: the queue's rule, if the client that cancels knows it.
    void cancel(const std::string& id, const Rule* registered) {
        const auto entry = tasks.find(id);
        Task& task = entry->second;
        Done end{task.queue, task.created, task.executed.value_or(now), std::max(task.attempts, 0)};
        end.error = "cancelled";
        end.priority = task.priority;
        end.cancelled = true;
        end.kept = registered == nullptr || registered->keeps;
        if (registered == nullptr || registered->data != Data::no) end.payload = task.payload;
        const Ms retention = registered == nullptr ? week : registered->retention;
        if (retention > 0) end.expires = now + retention;
        if (!task.end) task.end = std::move(end);
        if (!task.claimed) end_cancelled(entry);
    }

    void end_cancelled(std::map<std::string, Task>::iterator task) {
        if (task->second.end->kept) done[task->first] = *task->second.end;
        tasks.erase(task);
    }

    void keep(const std::string& id, const Task& task, int attempts, bool data, Ms retention,
              const std::optional<std::string>& error) {
        Done& row = done[id];
        row = {task.queue, task.created, now, attempts, !error, std::nullopt, std::nullopt, error, task.priority};
        if (data) row.payload = task.payload;
        if (retention > 0) row.expires = now + std::max(retention, task.key ? task.period : 0);
        if (task.period > 0) row.key = task.key;
    }
};

// ---- operations -----------------------------------------------------------------------------------------------------

enum class What {
    add,
    add_mixed,
    add_range,
    add_unencodable,
    add_refused,
    add_cancelled,
    add_unique,
    add_bounded,
    add_expiring,
    claim_elsewhere,
    host_commit,
    host_rollback,
    transaction_commit,
    transaction_rollback,
    foreign_row,
    foreign_delete,
    advance,
    advance_to_due,
    advance_before_due,
    start,
    stop,
    reopen,
    pause,
    resume,
    cancel,
    status,
    counts,
    last
};

constexpr std::array<std::string_view, static_cast<std::size_t>(What::last)> names{"add",
                                                                                   "add mixed",
                                                                                   "add range",
                                                                                   "add unencodable",
                                                                                   "add refused",
                                                                                   "add cancelled",
                                                                                   "add unique",
                                                                                   "add bounded",
                                                                                   "add expiring",
                                                                                   "claim elsewhere",
                                                                                   "host commit",
                                                                                   "host rollback",
                                                                                   "transaction commit",
                                                                                   "transaction rollback",
                                                                                   "foreign row",
                                                                                   "foreign delete",
                                                                                   "advance",
                                                                                   "advance to due",
                                                                                   "advance before due",
                                                                                   "start",
                                                                                   "stop",
                                                                                   "reopen",
                                                                                   "pause",
                                                                                   "resume",
                                                                                   "cancel",
                                                                                   "status",
                                                                                   "counts"};

struct Op {
    What what = What::add;
    std::size_t client = 0;
    std::size_t queue = 0;
    unsigned variant = 0;
    Ms ms = 0;
    std::string script{};
    bool settle = false;

    [[nodiscard]] std::string text() const {
        return fmt::format("{:<20} client {} queue {:<8} variant {} ms {} script \"{}\"{}",
                           names[static_cast<std::size_t>(what)], client, rules[queue].name, variant, ms, script,
                           settle ? ", then compare" : "");
    }
};

Op random_op(std::mt19937_64& random) {
    const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
    // What happens often stands in here often.
    static constexpr std::array<What, 68> choice{What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add,
                                                 What::add_mixed,
                                                 What::add_mixed,
                                                 What::add_range,
                                                 What::add_range,
                                                 What::add_unencodable,
                                                 What::add_refused,
                                                 What::add_cancelled,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_unique,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_bounded,
                                                 What::add_expiring,
                                                 What::add_expiring,
                                                 What::add_expiring,
                                                 What::add_expiring,
                                                 What::claim_elsewhere,
                                                 What::claim_elsewhere,
                                                 What::host_commit,
                                                 What::host_commit,
                                                 What::host_rollback,
                                                 What::transaction_commit,
                                                 What::transaction_commit,
                                                 What::transaction_rollback,
                                                 What::foreign_row,
                                                 What::foreign_row,
                                                 What::foreign_row,
                                                 What::foreign_row,
                                                 What::foreign_delete,
                                                 What::advance,
                                                 What::advance,
                                                 What::advance_to_due,
                                                 What::advance_to_due,
                                                 What::advance_before_due,
                                                 What::start,
                                                 What::start,
                                                 What::stop,
                                                 What::reopen,
                                                 What::pause,
                                                 What::resume,
                                                 What::resume,
                                                 What::cancel,
                                                 What::cancel,
                                                 What::status,
                                                 What::counts,
                                                 What::advance_to_due};
    Op op;
    op.what = choice[below(choice.size())];
    op.client = below(2);
    const bool unique = op.what == What::add_unique || op.what == What::claim_elsewhere;
    const bool any = op.what == What::pause || op.what == What::resume;
    op.queue = below(any ? queues : unique ? first_bounded : plain_queues);
    if (unique && below(3) > 0) op.queue = plain_queues + below(first_bounded - plain_queues);
    if (op.what == What::add_bounded) op.queue = first_bounded + below(expiring_queue - first_bounded);
    if (op.what == What::add_expiring) op.queue = expiring_queue;
    op.variant = static_cast<unsigned>(below(64));
    static constexpr std::array<Ms, 8> times{1, 500, 1'000, 5'000, 60'000, 600'000, 3'600'000, 7'200'000};
    op.ms = times[below(times.size())] + static_cast<Ms>(below(2) * below(1'000));
    static constexpr std::string_view letters = "offnrriIzZdo";
    for (std::size_t n = below(5); n > 0; --n) op.script += letters[below(letters.size())];
    op.settle = below(4) == 0;
    return op;
}

// ---- the library ----------------------------------------------------------------------------------------------------

class Library {
public:
    // How long the clients may take to come to rest.
    static inline std::chrono::milliseconds patience = 15s;

    Library() : host_(create(file_), SQLite::OPEN_READWRITE, 10'000) {
        open(0, all_queues);
        open(1, served_by_second);
        host_.exec("CREATE TABLE host (n integer)");
        host_.exec(
            "CREATE TRIGGER refuse BEFORE INSERT ON backlite_tasks WHEN instr(CAST(NEW.task AS TEXT), '!') > 0 "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END");
    }

    void open(std::size_t which, unsigned serves) {
        std::unique_ptr<Client>& client = clients_[which];
        client.reset();
        backlite::ClientConfig config;
        config.database = file_;
        config.num_workers = which == 0 ? 1 : 2;
        config.durability = backlite::Durability::process;
        config.release_after = std::chrono::milliseconds{release_after};
        config.cleanup_interval = 1ms;  // so that each step of the clock purges
        config.clock = clock_;
        client = std::make_unique<Client>(std::move(config));
        serve<0>(*client, serves);
    }

    [[nodiscard]] Client& client(std::size_t which) { return *clients_[which]; }
    [[nodiscard]] SQLite::Database& host() { return host_; }

    [[nodiscard]] Ms now() const {
        return std::chrono::floor<std::chrono::milliseconds>(clock_->now().time_since_epoch()).count();
    }
    // Time passes. What the steady clock is ahead by is made up for.
    void advance(Ms ms) {
        const Ms paid = std::min(ms, ahead_);
        ahead_ -= paid;
        clock_->jump(std::chrono::milliseconds{paid});
        clock_->advance(std::chrono::milliseconds{ms - paid});
    }

    // Waits until the clients have nothing to do. False if they do not come to rest.
    [[nodiscard]] bool settle(const Model& model) {
        for (std::size_t i = 0; i < 2; ++i) {
            if (model.clients[i].started) clients_[i]->notify();
        }
        if (!model.started()) return true;
        std::string served;
        std::string registered;
        for (const Rule& rule : rules) {
            if (model.served(rule.name) != nullptr)
                served += fmt::format("{}'{}'", served.empty() ? "" : ", ", rule.name);
            if (model.registered(rule.name) != nullptr)
                registered += fmt::format("{}'{}'", registered.empty() ? "" : ", ", rule.name);
        }
        SQLite::Statement busy(
            host_, fmt::format("SELECT EXISTS (SELECT 1 FROM backlite_tasks WHERE owner IS NOT NULL) "
                               "OR EXISTS (SELECT 1 FROM backlite_tasks WHERE claimed_at IS NULL AND hold = 0 AND "
                               "queue IN ({}) AND due <= {}) "
                               "OR EXISTS (SELECT 1 FROM backlite_keys WHERE NOT EXISTS (SELECT 1 FROM backlite_tasks "
                               "WHERE id = backlite_keys.task AND claimed_at IS NOT NULL)) "
                               "OR EXISTS (SELECT 1 FROM backlite_tasks WHERE claimed_at <= {} AND owner IS NULL) "
                               "OR EXISTS (SELECT 1 FROM backlite_tasks_completed WHERE expires_at <= {}) "
                               "OR EXISTS (SELECT 1 FROM backlite_details JOIN backlite_tasks ON id = "
                               "backlite_details.task WHERE expires_at <= {} AND queue IN ({}))",
                               served, model.now, model.now - release_after, model.now, model.now, registered));
        const auto until = Steady::now() + patience;
        auto nudge = Steady::now() + 300ms;
        for (int round = 0;; ++round) {
            busy.reset();
            if (!busy.executeStep()) return false;
            if (busy.getColumn(0).getInt() == 0) return true;
            const auto now = Steady::now();
            if (now > until && round > 5'000) return false;  // not because the whole machine stood still
            if (now > nudge) {
                // The steady clock stands still. A write that met our own lock is tried again after a pause of it, and
                // a wall clock that is not trusted is watched for a moment of it before anything is purged.
                nudge = now + 300ms;
                const std::chrono::milliseconds more = ahead_ <= 0 ? 600ms : 1ms;
                ahead_ += more.count();
                clock_->jump(-more);
                clock_->advance(more);
                for (const auto& client : clients_) client->notify();
            }
            if (round < 20) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(100us);
            }
        }
    }

    // Both tables, a line for each row.
    [[nodiscard]] std::vector<std::string> rows() {
        std::vector<std::string> lines;
        SQLite::Statement tasks(host_,
                                "SELECT id, queue, created_at, CAST(task AS TEXT), wait_until, claimed_at, "
                                "last_executed_at, attempts, crashes, error, priority, owner, hold, unique_key FROM "
                                "backlite_tasks "
                                "ORDER BY id");
        while (tasks.executeStep()) lines.push_back(line("task", tasks));
        SQLite::Statement done(host_,
                               "SELECT id, queue, created_at, CAST(task AS TEXT), last_executed_at, attempts, "
                               "succeeded, last_duration_micro, expires_at, error, priority, kind FROM "
                               "backlite_tasks_completed "
                               "ORDER BY id");
        while (done.executeStep()) lines.push_back(line("done", done));
        return lines;
    }

    // The ids of all runs so far, in the order in which they began.
    [[nodiscard]] std::vector<std::string> entered() {
        const std::lock_guard lock(mutex_);
        return entered_;
    }

private:
    // Makes the file, with its tables.
    static const std::string& create(const std::string& file) {
        backlite::ClientConfig config;
        config.database = file;
        config.durability = backlite::Durability::process;
        const Client client{config};
        return file;
    }

    template <int Q>
    void serve(Client& client, unsigned serves) {
        if ((serves >> Q & 1U) != 0) {
            client.register_queue<Job<Q>>(
                [this](Context& context, const Job<Q>& job) { return run(context.task_id().str(), job.script); });
        }
        if constexpr (Q + 1 < static_cast<int>(queues)) serve<Q + 1>(client, serves);
    }

    Outcome run(const std::string& id, const std::string& script) {
        std::size_t number = 0;
        {
            const std::lock_guard lock(mutex_);
            entered_.push_back(id);
            number = runs_[id]++;
        }
        switch (number < script.size() ? script[number] : 'o') {
            case 'f': throw std::runtime_error("broken");
            case 'n': throw 5;
            case 'r': return Outcome::retry("again");
            case 'i': return Outcome::retry_in(0ms, "at once");
            case 'I': return Outcome::retry_in(std::chrono::milliseconds{long_retry}, "later");
            case 'd': return Outcome::discard("not wanted");
            case 'z': return Outcome::snooze(0ms);
            case 'Z': return Outcome::snooze(std::chrono::milliseconds{long_snooze});
            default: return Outcome::success();
        }
    }

    static std::string line(std::string_view table, const SQLite::Statement& row) {
        std::string text{table};
        for (int i = 0; i < row.getColumnCount(); ++i) {
            const SQLite::Column column = row.getColumn(i);
            text += '|';
            if (column.isNull()) {
                text += '-';
                continue;
            }
            const std::string value = column.getString();
            const std::size_t known = value.find(unreadable);  // what follows it is the JSON library's
            text += known == std::string::npos ? value : value.substr(0, known + unreadable.size());
        }
        return text;
    }

    const backlite_test::TempFolder folder_{};
    const std::string file_ = folder_.file("app.db");
    const std::shared_ptr<backlite::testing::ManualClock> clock_ = std::make_shared<backlite::testing::ManualClock>();
    Ms ahead_ = 0;
    SQLite::Database host_;

    std::mutex mutex_{};
    // guarded by mutex_
    std::vector<std::string> entered_{};
    std::map<std::string, std::size_t> runs_{};

    std::array<std::unique_ptr<Client>, 2> clients_{};
};

template <class T>
std::string text(const std::optional<T>& value) {
    return value ? fmt::format("{}", *value) : "-";
}

std::vector<std::string> rows(const Model& model) {
    std::vector<std::string> lines;
    for (const auto& [id, task] : model.tasks) {
        lines.push_back(fmt::format("task|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|-|{}|{}", id, task.queue, task.created,
                                    task.payload, text(task.wait_until), text(task.claimed), text(task.executed),
                                    task.attempts, task.crashes, text(task.error), task.priority, task.held ? 4 : 0,
                                    text(task.key)));
    }
    for (const auto& [id, done] : model.done) {
        lines.push_back(fmt::format("done|{}|{}|{}|{}|{}|{}|{}|0|{}|{}|{}|{}", id, done.queue, done.created,
                                    text(done.payload), done.executed, done.attempts, done.succeeded ? 1 : 0,
                                    text(done.expires), text(done.error), done.priority,
                                    done.cancelled ? "1"
                                    : done.expired ? "5"
                                                   : "-"));
    }
    return lines;
}

// ---- both -----------------------------------------------------------------------------------------------------------

struct Difference : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void demand(bool holds, const std::string& otherwise) {
    if (!holds) throw Difference(otherwise);
}

class Sequence {
public:
    Sequence() {
        model_.now = library_.now();
        model_.clients[0].serves = all_queues;
        model_.clients[1].serves = served_by_second;
    }

    // Errors: Difference.
    void run(const Op& op) {
        apply(op);
        model_.run();
        moving_ = moving_ || (op.what != What::status && op.what != What::counts);
        if (op.settle) compare();
    }

    void finish() {
        compare();
        for (std::size_t i = 0; i < 2; ++i) stop(i);
        compare();
    }

private:
    // Waits until nothing is left to do, and looks at what has run.
    void rest() {
        if (!std::exchange(moving_, false)) return;
        demand(library_.settle(model_), "the clients do not come to rest");
        compare_runs();
    }

    void compare() {
        rest();
        const std::vector<std::string> found = library_.rows();
        const std::vector<std::string> expected = rows(model_);
        std::string difference;
        for (const std::string& line : found) {
            if (std::find(expected.begin(), expected.end(), line) == expected.end())
                difference += "\n    file:  " + line;
        }
        for (const std::string& line : expected) {
            if (std::find(found.begin(), found.end(), line) == found.end()) difference += "\n    model: " + line;
        }
        demand(found == expected, "the tables differ:" + difference);
        const int host_rows = library_.host().execAndGet("SELECT count(*) FROM host").getInt();
        demand(host_rows == model_.host_rows,
               fmt::format("the host has {} rows of its own, not {}", host_rows, model_.host_rows));
    }

    // Each task ran as often as it should, and in the order of the due times where one worker had the choice.
    void compare_runs() {
        const std::vector<std::string> entered = library_.entered();
        Ms before = 0;
        for (std::size_t i = checked_; i < entered.size(); ++i) {
            const std::vector<Ms>& dues = model_.entered[entered[i]];
            const std::size_t run = runs_[entered[i]]++;
            demand(run < dues.size(), fmt::format("task {} ran {} times, not {}", entered[i], run + 1, dues.size()));
            demand(!ordered_ || dues[run] >= before,
                   fmt::format("task {}, due at {}, ran after one due at {}", entered[i], dues[run], before));
            before = dues[run];
        }
        checked_ = entered.size();
        ordered_ = false;
        for (const auto& [id, dues] : model_.entered) {
            demand(runs_[id] == dues.size(), fmt::format("task {} ran {} times, not {}", id, runs_[id], dues.size()));
        }
    }

    // From a moment when nothing is due: what a step that is compared at once makes due is claimed in order, by a
    // single worker. Tasks that have crashed wait for others; claims that lapse in that step come one cycle late.
    void expect_order(const Op& op, Ms ms = 0) {
        rest();
        const bool special = std::any_of(model_.tasks.begin(), model_.tasks.end(), [&](const auto& entry) {
            const bool ranked = entry.second.priority != 0 && entry.second.due() <= model_.now + ms;
            return entry.second.crashes > 0 || entry.second.claimed || ranked;
        });
        ordered_ = op.settle && !special && !model_.clients[1].started;
    }

    void apply(const Op& op) {
        Client& client = library_.client(op.client);
        switch (op.what) {
            case What::add: return added(timed(make(client, op.queue, op.script), op).save(), {{op.queue, op.script}});
            case What::add_mixed:
                return added(timed(client.add(Job<0>{op.script}, Job<1>{"f"}, Job<3>{op.script}), op).save(),
                             {{0, op.script}, {1, "f"}, {3, op.script}});
            case What::add_range: {
                const std::vector<Job<2>> jobs(op.variant % 4, Job<2>{op.script});
                return added(client.add(jobs, Job<4>{op.script}).save(), std::vector<New>(jobs.size(), {2, op.script}),
                             {{4, op.script}});
            }
            case What::add_unencodable:
                return refused<backlite::EncodeError>([&] { return client.add(Job<1>{"o"}, Job<2>{"\xff"}).save(); });
            case What::add_refused:
                return refused<backlite::StorageError>([&] { return client.add(Job<1>{"o"}, Job<2>{"!"}).save(); });
            case What::add_cancelled: {
                std::stop_source source;
                source.request_stop();
                return refused<backlite::Cancelled>(
                    [&] { return make(client, op.queue, op.script).stop_token(source.get_token()).save(); });
            }
            case What::add_unique: return add_unique(op);
            case What::add_bounded: return add_bounded(op);
            case What::add_expiring:
                return added(timed(make(client, op.queue, op.script), op).save(), {{op.queue, op.script}});
            case What::claim_elsewhere: return claim_elsewhere(op);
            case What::host_commit: return within(op, true, false);
            case What::host_rollback: return within(op, false, false);
            case What::transaction_commit: return within(op, true, true);
            case What::transaction_rollback: return within(op, false, true);
            case What::foreign_row: return foreign(op);
            case What::foreign_delete: return foreign_delete(op);
            case What::advance: return advance(op, op.ms);
            case What::advance_to_due:
            case What::advance_before_due: return advance_to_due(op, op.what == What::advance_before_due ? 1 : 0);
            case What::start:
                expect_order(op);
                library_.client(op.client).start();
                model_.clients[op.client].started = true;
                if (op.client == 1) ordered_ = false;
                return;
            case What::stop: rest(); return stop(op.client);
            case What::reopen: {
                rest();
                const unsigned serves =
                    op.variant % 3 == 0 ? all_queues : op.variant | (op.variant % 16) << 6 | (op.variant / 4) << 10;
                library_.open(op.client, serves);
                model_.clients[op.client] = {false, serves};
                return;
            }
            case What::pause:
                rest();
                // Others hear of it a little later, and the model does not know of that: each says it itself.
                for (std::size_t i = 0; i < 2; ++i) library_.client(i).pause(rules[op.queue].name);
                model_.paused.insert(rules[op.queue].name);
                return;
            case What::resume:
                rest();
                client.resume(rules[op.queue].name);
                model_.paused.erase(rules[op.queue].name);
                return;
            case What::cancel: return cancel(op);
            case What::status: rest(); return check_status(client);
            case What::counts: rest(); return check_counts(client);
            case What::last: return;
        }
    }

    using New = std::pair<std::size_t, std::string>;  // queue, script

    backlite::AddOp make(Client& client, std::size_t queue, const std::string& script) {
        switch (queue) {
            case 0: return client.add(Job<0>{script});
            case 1: return client.add(Job<1>{script});
            case 2: return client.add(Job<2>{script});
            case 3: return client.add(Job<3>{script});
            case 4: return client.add(Job<4>{script});
            case 5: return client.add(Job<5>{script});
            case 6: return client.add(Job<6>{script});
            case 7: return client.add(Job<7>{script});
            case 8: return client.add(Job<8>{script});
            case 9: return client.add(Job<9>{script});
            case 10: return client.add(Job<10>{script});
            case 11: return client.add(Job<11>{script});
            case 12: return client.add(Job<12>{script});
            default: return client.add(Job<13>{script});
        }
    }

    // At once, later, at a time to come, at a time gone by; of two the last counts.
    backlite::AddOp timed(backlite::AddOp add, const Op& op) {
        const std::chrono::milliseconds ms{op.ms};
        const auto time = [&](Ms at) { return backlite::TimePoint{std::chrono::milliseconds{at}}; };
        due_.reset();
        priority_ = op.variant / 8 == 3 ? static_cast<int>(op.ms % 21) - 10 : 0;
        if (priority_ != 0) static_cast<void>(add.priority(priority_));
        switch (op.variant % 6) {
            case 1: due_ = model_.now + op.ms; return std::move(add).wait(ms);
            case 2: due_ = model_.now + op.ms; return std::move(add).at(time(model_.now + op.ms));
            case 3: due_ = model_.now - op.ms; return std::move(add).at(time(model_.now - op.ms));
            case 4: due_ = model_.now; return std::move(add).at(time(5)).wait(0ms);
            default: return add;
        }
    }

    // REQUIRES: `timed` was called last, for tasks that have a time.
    void added(const std::vector<backlite::TaskId>& ids, std::vector<New> tasks, const std::vector<New>& more = {}) {
        tasks.insert(tasks.end(), more.begin(), more.end());
        demand(ids.size() == tasks.size(), "save() returned another number of ids than there were tasks");
        for (std::size_t i = 0; i < ids.size(); ++i) {
            Task& task = model_.tasks[ids[i].str()];
            task.queue = rules[tasks[i].first].name;
            task.created = model_.now;
            task.script = tasks[i].second;
            task.payload = fmt::format("{{\"script\":\"{}\"}}", tasks[i].second);
            task.wait_until = due_;
            task.priority = priority_;
            task.number = ++numbers_;
            const Ms expires_after = rules[tasks[i].first].expires_after;
            if (expires_after > 0) task.expires = task.due() + expires_after;
        }
        due_.reset();
        priority_ = 0;
    }

    // A task of a queue that takes only so many. What waits is at rest.
    void add_bounded(const Op& op) {
        rest();
        const Rule& rule = rules[op.queue];
        Client& client = library_.client(op.client);
        auto add = timed(make(client, op.queue, op.script), op);
        const std::size_t waiting = model_.waiting(rule.name) + 1;
        const std::size_t over = waiting > rule.max_waiting ? waiting - rule.max_waiting : 0;
        const bool in_transaction = op.variant % 5 == 0;
        const bool waits = rule.overflow == backlite::Overflow::wait && !in_transaction;
        if (over > 0 && waits) return add_when_there_is_room(op, std::move(add), over);
        const auto save = [&] {
            if (!in_transaction) return std::move(add).save();
            SQLite::Transaction transaction(library_.host(), SQLite::TransactionBehavior::IMMEDIATE);
            std::vector<backlite::TaskId> ids = std::move(add).tx(library_.host()).save();
            transaction.commit();
            return ids;
        };
        if (over > 0 && rule.overflow != backlite::Overflow::drop_oldest) {
            due_.reset();
            priority_ = 0;
            return refused<backlite::QueueFullError>(save);
        }
        const std::vector<backlite::TaskId> ids = save();
        model_.drop(rule, over);
        added(ids, {{op.queue, op.script}});
    }

    // It waits for room, until some is made or it gives up.
    void add_when_there_is_room(const Op& op, backlite::AddOp add, std::size_t over) {
        std::stop_source source;
        std::vector<backlite::TaskId> ids;
        std::string fault;
        bool given_up = false;
        std::thread adder([&] {
            try {
                ids = std::move(add).stop_token(source.get_token()).save();
            } catch (const backlite::Cancelled&) {
                given_up = true;
            } catch (const std::exception& error) {
                fault = error.what();
            }
        });
        const bool makes_room = op.variant % 3 > 0;
        const std::size_t by = op.variant % 2 == 0 ? op.client : 1 - op.client;
        try {
            for (std::size_t i = 0; makes_room && i < over; ++i) cancel(by, model_.oldest(rules[op.queue].name));
            if (!makes_room) source.request_stop();
        } catch (...) {
            source.request_stop();
            adder.join();
            throw;
        }
        adder.join();
        demand(fault.empty(), "an add that waits for room: " + fault);
        demand(given_up != makes_room, makes_room ? "an add found no room" : "an add found room in a full queue");
        if (makes_room) return added(ids, {{op.queue, op.script}});
        due_.reset();
        priority_ = 0;
    }

    // One of three keys. What has it is at rest.
    void add_unique(const Op& op) {
        rest();
        Client& client = library_.client(op.client);
        Task task;
        task.queue = rules[op.queue].name;
        task.created = model_.now;
        task.script = op.script;
        task.payload = fmt::format("{{\"script\":\"{}\"}}", op.script);
        task.key = fmt::format("k{}", op.variant / 6 % 3);
        auto add = timed(make(client, op.queue, op.script), op).unique(*task.key);
        task.wait_until = std::exchange(due_, std::nullopt);
        task.priority = std::exchange(priority_, 0);
        std::vector<backlite::AddResult> found;
        if (op.variant % 5 == 0) {
            SQLite::Transaction transaction(library_.host(), SQLite::TransactionBehavior::IMMEDIATE);
            found = std::move(add).tx(library_.host()).save_results();
            transaction.commit();
        } else {
            found = std::move(add).save_results();
        }
        const backlite::AddResult expected = model_.add_unique(std::move(task), found.front().id);
        demand(found.front() == expected,
               fmt::format("add with key: {} {}, not {} {}", found.front().id.str(), to_string(found.front().as),
                           expected.id.str(), to_string(expected.as)));
    }

    // Another program claims a task that has a key, and says not who it is.
    void claim_elsewhere(const Op& op) {
        rest();
        for (auto& [id, task] : model_.tasks) {
            if (task.queue != rules[op.queue].name || !task.key || task.claimed || task.held) continue;
            task.claimed = model_.now - op.ms % release_after;
            library_.host().exec(
                fmt::format("UPDATE backlite_tasks SET claimed_at = {} WHERE id = '{}'", *task.claimed, id));
            return;
        }
    }

    template <class Error, class Save>
    void refused(Save&& save) {
        try {
            save();
        } catch (const Error&) {
            return;
        }
        throw Difference("save() did not throw");
    }

    // Tasks in a transaction of the host's, beside a row of its own and an add that fails.
    void within(const Op& op, bool commits, bool ours) {
        Client& client = library_.client(op.client);
        SQLite::Database& host = library_.host();
        std::optional<backlite::Transaction> transaction;
        if (ours) {
            transaction.emplace(client, host);
            refused<backlite::UsageError>([&] { return client.add(Job<1>{"o"}).save(); });
        } else {
            host.exec(op.variant % 2 == 0 ? "BEGIN" : "BEGIN IMMEDIATE");
        }
        host.exec("INSERT INTO host VALUES (1)");
        auto add = timed(make(client, op.queue, op.script), op);
        const std::vector<backlite::TaskId> ids =
            ours ? std::move(add).tx(*transaction).save() : std::move(add).tx(host).save();
        if (op.variant % 4 < 2) {
            refused<backlite::StorageError>([&] { return client.add(Job<1>{"o"}, Job<2>{"!"}).tx(host).save(); });
        }
        if (!commits) {
            due_.reset();
            priority_ = 0;
            if (ours) {
                transaction.reset();
            } else {
                host.exec("ROLLBACK");
            }
            return;
        }
        if (ours) {
            transaction->commit();
        } else {
            host.exec("COMMIT");
        }
        ++model_.host_rows;
        added(ids, {{op.queue, op.script}});
    }

    // A row that another program writes, by plain SQL.
    void foreign(const Op& op) {
        Task task;
        task.queue = op.variant == 0 ? "nobody" : rules[op.queue].name;
        task.created = model_.now;
        task.script = op.script;
        task.payload = fmt::format("{{\"script\":\"{}\"}}", op.script);
        switch (op.variant % 12) {
            case 1: task.created -= op.ms; break;
            case 2: task.wait_until = model_.now - op.ms; break;
            case 3: task.wait_until = model_.now + op.ms; break;
            // None is made in the future: it would be taken for made by a clock that was ahead.
            case 5: task.attempts = 1; break;
            case 6: task.attempts = -3; break;
            case 7:
                task.attempts = rules[op.queue].max_attempts + max_crashes + static_cast<int>(op.variant % 2);
                break;
            case 8:
                task.payload = op.variant % 2 == 0 ? "{\"script\":" : "{\"script\":5}";
                task.script.reset();
                break;
            case 9: task.claimed = model_.now - op.ms; break;
            case 10: task.crashes = static_cast<int>(op.variant / 12 % 5); break;
            default: break;
        }
        const std::string id = fmt::format("foreign-{}", ++foreign_);
        SQLite::Statement insert(library_.host(),
                                 "INSERT INTO backlite_tasks (id, queue, created_at, task, wait_until, claimed_at, "
                                 "attempts) VALUES (?1, ?2, ?3, CAST(?4 AS BLOB), ?5, ?6, ?7)");
        insert.bind(1, id);
        insert.bind(2, task.queue);
        insert.bind(3, task.created);
        insert.bind(4, task.payload);
        if (task.wait_until) insert.bind(5, *task.wait_until);
        if (task.claimed) insert.bind(6, *task.claimed);
        insert.bind(7, task.attempts);
        SQLite::Transaction transaction(library_.host(), SQLite::TransactionBehavior::IMMEDIATE);
        insert.exec();
        if (task.crashes > 0) {
            library_.host().exec(
                fmt::format("UPDATE backlite_tasks SET crashes = {} WHERE id = '{}'", task.crashes, id));
        }
        transaction.commit();
        model_.tasks[id] = std::move(task);
    }

    // Another program takes a task away that nobody has claimed.
    void foreign_delete(const Op& op) {
        rest();
        if (model_.tasks.empty()) return;
        const auto task =
            std::next(model_.tasks.begin(), static_cast<std::ptrdiff_t>(op.variant % model_.tasks.size()));
        library_.host().exec(fmt::format("DELETE FROM backlite_tasks WHERE id = '{}'", task->first));
        model_.tasks.erase(task);
    }

    void cancel(const Op& op) {
        rest();
        if (op.variant % 8 == 0 && !model_.done.empty()) {
            cancel_is(op.client, model_.done.begin()->first, backlite::CancelResult::finished);
        }
        if (model_.tasks.empty()) return cancel_is(op.client, "nobody", backlite::CancelResult::not_found);
        const auto task =
            std::next(model_.tasks.begin(), static_cast<std::ptrdiff_t>(op.variant % model_.tasks.size()));
        cancel(op.client, task->first);
    }

    void cancel_is(std::size_t which, const std::string& id, backlite::CancelResult expected) {
        const backlite::CancelResult found = library_.client(which).cancel(backlite::TaskId::from_text(id));
        demand(found == expected, fmt::format("cancel of task {}: {}, not {}", id, backlite::to_string(found),
                                              backlite::to_string(expected)));
    }

    // An unfinished task, which is at rest.
    void cancel(std::size_t which, const std::string& id) {
        const Task& task = model_.tasks.at(id);
        const Rule* registered = nullptr;
        for (std::size_t q = 0; q < queues; ++q) {
            const bool knows = (model_.clients[which].serves >> q & 1U) != 0;
            if (knows && task.queue == rules[q].name) registered = &rules[q];
        }
        cancel_is(which, id, task.claimed ? backlite::CancelResult::requested : backlite::CancelResult::cancelled);
        model_.cancel(id, registered);
    }

    void advance(const Op& op, Ms ms) {
        expect_order(op, ms);
        library_.advance(ms);
        model_.now += ms;
    }

    void advance_to_due(const Op& op, Ms before) {
        std::optional<Ms> next;
        for (const auto& [id, task] : model_.tasks) {
            if (task.due() > model_.now && (!next || task.due() < *next)) next = task.due();
            if (task.expires && *task.expires > model_.now && (!next || *task.expires < *next)) next = task.expires;
        }
        if (next && *next - before > model_.now) advance(op, *next - before - model_.now);
    }

    void stop(std::size_t which) {
        demand(library_.client(which).stop(10s), "stop() returned false although nothing ran");
        model_.clients[which].started = false;
    }

    void check_status(Client& client) {
        const auto check = [&](const std::string& id, TaskStatus expected) {
            const TaskStatus found = client.status(backlite::TaskId::from_text(id));
            demand(found == expected,
                   fmt::format("task {} is {}, not {}", id, backlite::to_string(found), backlite::to_string(expected)));
        };
        for (const auto& [id, task] : model_.tasks) {
            check(id, task.claimed ? TaskStatus::running : TaskStatus::pending);
        }
        for (const auto& [id, done] : model_.done) {
            check(id, done.cancelled   ? TaskStatus::cancelled
                      : done.expired   ? TaskStatus::expired
                      : done.succeeded ? TaskStatus::succeeded
                                       : TaskStatus::failed);
        }
        for (const auto& [id, dues] : model_.entered) {
            if (!model_.tasks.contains(id) && !model_.done.contains(id)) check(id, TaskStatus::not_found);
        }
    }

    void check_counts(Client& client) {
        std::map<std::string, backlite::QueueCounts> expected;
        for (const auto& [id, task] : model_.tasks) {
            backlite::QueueCounts& counts = expected[task.queue];
            if (task.claimed) {
                ++counts.running;
            } else if (task.due() > model_.now) {
                ++counts.scheduled;
            } else {
                ++counts.waiting;
                const backlite::TimePoint due{std::chrono::milliseconds{task.due()}};
                if (!counts.oldest_due || due < *counts.oldest_due) counts.oldest_due = due;
            }
        }
        const backlite::TaskCounts found = client.counts();
        demand(found.size() == expected.size(), "counts() names other queues");
        for (const backlite::QueueCounts& counts : found) {
            const backlite::QueueCounts& other = expected[counts.queue];
            demand(counts.waiting == other.waiting && counts.scheduled == other.scheduled &&
                       counts.running == other.running && counts.oldest_due == other.oldest_due,
                   fmt::format("counts() of queue {}: {} waiting, {} scheduled, {} running; not {}, {}, {}",
                               counts.queue, counts.waiting, counts.scheduled, counts.running, other.waiting,
                               other.scheduled, other.running));
        }
    }

    Library library_{};
    Model model_{};
    std::optional<Ms> due_{};  // of the tasks that are being added
    int priority_ = 0;         // the same
    std::size_t numbers_ = 0;
    int foreign_ = 0;
    std::size_t checked_ = 0;
    bool ordered_ = false;
    bool moving_ = true;
    std::map<std::string, std::size_t> runs_{};
};

// What is wrong with a sequence; nullopt: nothing.
std::optional<std::string> failure(const std::vector<Op>& ops) {
    Sequence sequence;
    try {
        for (const Op& op : ops) sequence.run(op);
        sequence.finish();
    } catch (const std::exception& error) {
        return error.what();
    }
    return std::nullopt;
}

// Drops operations, in ever smaller pieces, as long as the rest still fails.
std::vector<Op> shrink(std::vector<Op> ops, std::string& what) {
    const auto until = Steady::now() + 12s;
    Library::patience = 1s;
    for (std::size_t piece = ops.size() / 2; piece > 0;) {
        bool dropped = false;
        for (std::size_t from = 0; from < ops.size() && Steady::now() < until;) {
            std::vector<Op> fewer = ops;
            const auto first = fewer.begin() + static_cast<std::ptrdiff_t>(from);
            fewer.erase(first, first + static_cast<std::ptrdiff_t>(std::min(piece, ops.size() - from)));
            if (auto still = failure(fewer)) {
                ops = std::move(fewer);
                what = std::move(*still);
                dropped = true;
            } else {
                from += piece;
            }
        }
        if (!dropped || piece > 1) piece /= 2;
    }
    return ops;
}

TEST_CASE("model: random sequences of the whole interface leave the tables as a small model has them") {
    constexpr std::size_t length = 200;
    const backlite_test::Harness harness("model", 15);
    std::mt19937_64 random(harness.seed());
    std::array<std::size_t, names.size()> counts{};
    const auto start = Steady::now();
    for (std::size_t round = 0; round < harness.rounds(); ++round) {
        std::mt19937_64 own(random());
        std::vector<Op> ops;
        for (std::size_t i = 0; i < length; ++i) {
            ops.push_back(random_op(own));
            ++counts[static_cast<std::size_t>(ops.back().what)];
        }
        std::optional<std::string> what = failure(ops);
        if (!what) continue;
        fmt::print("BACKLITE_SEED={} round {}: {}\nmaking it shorter ...\n", harness.seed(), round, *what);
        ops = shrink(std::move(ops), *what);
        std::string steps;
        for (const Op& op : ops) steps += "\n  " + op.text();
        FAIL("BACKLITE_SEED=" << harness.seed() << " round " << round << ": these steps fail: " << steps << "\n  "
                              << *what);
    }
    const double seconds = std::chrono::duration<double>(Steady::now() - start).count();
    const auto operations = static_cast<double>(harness.rounds() * length);
    fmt::print("  {} operations, {:.0f} a second\n", harness.rounds() * length, operations / seconds);
    for (std::size_t i = 0; i < counts.size(); ++i) fmt::print("  {:<20} {}\n", names[i], counts[i]);
}

}  // namespace
