// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin.hpp>.

#include <chrono>
#include <utility>

#include <backlite/admin.hpp>
#include <backlite/admin/database_view.hpp>
#include <backlite/admin/existing_file.hpp>
#include <backlite/admin/task_pages.hpp>
#include <backlite/base/format.hpp>
#include <backlite/base/times.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/store/model.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace admin {

/// What a call of Admin looks at, so that it takes 50 ms at most where rows are in memory. The dashboard looks at more.
inline constexpr store::Bounds of_a_call{.counted = 20'000,
                                         .retries = 5'000,
                                         .to_come = 0,  // a list has no chart
                                         .held = 10'000,
                                         .finished = 10'000,
                                         .look_time = std::chrono::milliseconds{40}};

}  // namespace admin

BACKLITE_DECL Admin::Admin(const ClientHandle& client)
    : engine_(client.engine_),
      view_(std::make_shared<admin::DatabaseView>(client.config().database, client.config().open,
                                                  client.config().busy_timeout, admin::of_a_call)) {}

BACKLITE_DECL Admin::Admin(std::string database) : Admin(ClientConfig{.database = std::move(database)}) {}

BACKLITE_DECL Admin::Admin(ClientConfig config)
    : Admin(ClientHandle(detail::make_engine(admin::for_existing_file(std::move(config))))) {}

BACKLITE_DECL admin::DatabaseView& Admin::view(const char* call) const {
    engine_->check_call(call);
    return *view_;
}

BACKLITE_DECL TaskPage Admin::tasks(const TaskFilter& filter, const Page& page) const {
    return admin::look_at(view("Admin::tasks"), [&](admin::Queries& queries) {
        return admin::TaskPages(queries, view_->name(), detail::to_ms(engine_->clock().now())).tasks(filter, page);
    });
}

BACKLITE_DECL std::optional<TaskDetails> Admin::task(const TaskId& id) const {
    return admin::look_at(view("Admin::task"), [&](admin::Queries& queries) {
        return admin::TaskPages(queries, view_->name(), detail::to_ms(engine_->clock().now())).task(id.str());
    });
}

BACKLITE_DECL std::vector<QueueInfo> Admin::queues() const {
    return admin::look_at(view("Admin::queues"), [&](admin::Queries& queries) {
        return admin::TaskPages(queries, view_->name(), detail::to_ms(engine_->clock().now())).queues();
    });
}

BACKLITE_DECL std::vector<ClientInfo> Admin::clients() const {
    return admin::look_at(view("Admin::clients"), [&](admin::Queries& queries) {
        return admin::TaskPages(queries, view_->name(), detail::to_ms(engine_->clock().now())).clients();
    });
}

BACKLITE_DECL ClientHandle Admin::client() const { return ClientHandle(engine_); }

BACKLITE_DECL Affected Admin::cancel(const TaskId& id) const { return change(Action::cancel, id); }
BACKLITE_DECL Affected Admin::cancel(const TaskFilter& filter, const Bulk& bulk) const {
    return change(Action::cancel, filter, bulk);
}

BACKLITE_DECL Affected Admin::retry(const TaskId& id) const { return change(Action::retry, id); }
BACKLITE_DECL Affected Admin::retry(const TaskFilter& filter, const Bulk& bulk) const {
    return change(Action::retry, filter, bulk);
}

BACKLITE_DECL Affected Admin::remove(const TaskId& id) const { return change(Action::remove, id); }
BACKLITE_DECL Affected Admin::remove(const TaskFilter& filter, const Bulk& bulk) const {
    return change(Action::remove, filter, bulk);
}

BACKLITE_DECL Affected Admin::run_now(const TaskId& id) const { return change(Action::run_now, id); }
BACKLITE_DECL Affected Admin::run_now(const TaskFilter& filter, const Bulk& bulk) const {
    return change(Action::run_now, filter, bulk);
}

BACKLITE_DECL Affected Admin::set_priority(const TaskId& id, int priority) const {
    return change(Action::set_priority, id, priority);
}
BACKLITE_DECL Affected Admin::set_priority(const TaskFilter& filter, int priority, const Bulk& bulk) const {
    return change(Action::set_priority, filter, bulk, priority);
}

BACKLITE_DECL void Admin::pause(std::string_view queue) const { engine_->set_paused(queue, true); }

BACKLITE_DECL void Admin::resume(std::string_view queue) const { engine_->set_paused(queue, false); }

BACKLITE_DECL void Admin::set_limits(std::string_view queue, const Limits& limits) const {
    engine_->set_limits("Admin::set_limits", queue, limits);
}

BACKLITE_DECL void Admin::reset_limits(std::string_view queue) const {
    engine_->set_limits("Admin::reset_limits", queue, std::nullopt);
}

BACKLITE_DECL std::string Admin::secret() const { return engine_->secret("Admin::secret"); }

namespace admin {

/// An action, as the store and messages have it.
struct ActionOf {
    store::Change change;
    const char* call;
};
inline constexpr ActionOf actions[] = {{store::Change::cancel, "Admin::cancel"},
                                       {store::Change::retry, "Admin::retry"},
                                       {store::Change::remove, "Admin::remove"},
                                       {store::Change::run_now, "Admin::run_now"},
                                       {store::Change::set_priority, "Admin::set_priority"}};

/// How many tasks one transaction changes: others wait for it some milliseconds.
inline constexpr std::size_t at_once = 500;

}  // namespace admin

BACKLITE_DECL Affected Admin::change(Action action, const TaskId& id, int priority) const {
    const admin::ActionOf& of = admin::actions[static_cast<std::size_t>(action)];
    check_priority(of.call, priority);
    const store::ChangePlan::Task task{id};
    const store::ChangeResult result =
        engine_->change(of.call, {.change = of.change, .tasks = {&task, 1}, .priority = priority});
    return {result.changed, result.skipped};
}

BACKLITE_DECL Affected Admin::change(Action action, const TaskFilter& filter, const Bulk& bulk, int priority) const {
    const admin::ActionOf& of = admin::actions[static_cast<std::size_t>(action)];
    check_priority(of.call, priority);
    admin::DatabaseView& file = view(of.call);
    admin::TaskPages::check_that(filter);
    if (filter.empty() && !filter.all) {
        throw UsageError(detail::format(
            "{}: the filter narrows nothing, so it would change every task: set TaskFilter::all if that is meant",
            {of.call}));
    }
    Affected sum;
    std::optional<std::string> before;
    do {
        if (bulk.stop.stop_requested()) break;
        std::vector<store::ChangePlan::Task> tasks;
        {
            const detail::Ms now = detail::to_ms(engine_->clock().now());
            const store::sqlite::Walk walk = admin::look_at(
                file, [&](admin::Queries& queries) { return queries.facts.walk(filter, before, now, admin::at_once); });
            for (const store::sqlite::FoundRow& row : walk.rows) {
                tasks.push_back({TaskId::from_text(row.id), row.finished});
            }
            before = walk.next;
        }
        if (!tasks.empty()) {
            const store::ChangeResult result = engine_->change(
                of.call, {.change = of.change, .tasks = tasks, .only = filter.state, .priority = priority});
            sum.count += result.changed;
            sum.skipped += result.skipped;
        } else if (!before) {
            break;
        }
        if (bulk.progress) bulk.progress(sum);
    } while (before);
    return sum;
}

BACKLITE_DECL void Admin::check_priority(const char* call, int priority) {
    if (priority >= least_priority && priority <= most_priority) return;
    throw ConfigError(
        detail::format("{}: priority is {}, and must be {} to {}", {call, priority, least_priority, most_priority}));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
