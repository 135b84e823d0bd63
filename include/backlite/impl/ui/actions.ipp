// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/actions.hpp>.

#include <exception>
#include <stop_token>

#include <backlite/client_handle.hpp>
#include <backlite/ui/actions.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string Actions::signed_text(std::string_view given) const {
    const std::size_t dot = given.rfind('.');
    if (dot == std::string_view::npos) return {};
    std::string text{given.substr(0, dot)};
    return same_secret(given.substr(dot + 1), sign("did " + text)) ? text : std::string{};
}

BACKLITE_DECL Done Actions::carry_out(const Order& order, const std::vector<TaskFilter>& filters,
                                      const std::string& words, const std::string& who) const {
    Done done{order.act};
    try {
        act(order, filters, done);
    } catch (const std::exception& error) {
        tell(done, words, who, error.what());
        throw;
    }
    tell(done, words, who, {});
    return done;
}

BACKLITE_DECL void Actions::act(const Order& order, const std::vector<TaskFilter>& filters, Done& done) const {
    const auto until = std::chrono::steady_clock::now() + act_time;
    const auto late = [&] { return std::chrono::steady_clock::now() > until; };
    if (is_of_queue(order.act)) {
        const std::string_view queue = order.where.get("queue");
        order.act == Act::pause ? admin_->pause(queue) : admin_->resume(queue);
        return;
    }
    if (is_of_schedule(order.act)) {
        const ClientHandle client = admin_->client();
        const bool changed = order.act == Act::run_schedule     ? client.run_schedule(order.schedule).has_value()
                             : order.act == Act::pause_schedule ? client.pause_schedule(order.schedule)
                                                                : client.resume_schedule(order.schedule);
        done.affected.count = changed ? 1 : 0;
        return;
    }
    for (std::size_t i = 0; !order.all && i < order.ids.size(); ++i) {
        done.more = late();
        if (done.more) return;
        const Affected one = act_on(order, TaskId::from_text(order.ids[i]));
        done.affected.count += one.count;
        done.affected.skipped += one.skipped;
    }
    for (const TaskFilter& filter : filters) {
        const Affected start = done.affected;
        std::stop_source enough;
        Bulk bulk;
        bulk.stop = enough.get_token();
        bulk.progress = [&](const Affected& so_far) {
            done.affected = {start.count + so_far.count, start.skipped + so_far.skipped};
            if (done.affected.count >= most_changed || late()) enough.request_stop();
        };
        static_cast<void>(act_on(order, filter, bulk));
        done.more = enough.stop_requested();
        if (done.more) return;
    }
}

BACKLITE_DECL Affected Actions::act_on(const Order& order, const TaskId& id) const {
    const Admin& admin = *admin_;
    switch (order.act) {
        case Act::retry: return admin.retry(id);
        case Act::run_now: return admin.run_now(id);
        case Act::cancel: return admin.cancel(id);
        case Act::remove: return admin.remove(id);
        case Act::set_priority: return admin.set_priority(id, order.priority);
        case Act::pause:
        case Act::resume:
        case Act::run_schedule:
        case Act::pause_schedule:
        case Act::resume_schedule: break;
    }
    return {};
}

BACKLITE_DECL Affected Actions::act_on(const Order& order, const TaskFilter& filter, const Bulk& bulk) const {
    const Admin& admin = *admin_;
    switch (order.act) {
        case Act::retry: return admin.retry(filter, bulk);
        case Act::run_now: return admin.run_now(filter, bulk);
        case Act::cancel: return admin.cancel(filter, bulk);
        case Act::remove: return admin.remove(filter, bulk);
        case Act::set_priority: return admin.set_priority(filter, order.priority, bulk);
        case Act::pause:
        case Act::resume:
        case Act::run_schedule:
        case Act::pause_schedule:
        case Act::resume_schedule: break;
    }
    return {};
}

BACKLITE_DECL void Actions::tell(const Done& done, const std::string& words, const std::string& who,
                                 const std::string& failure) const {
    log_(failure.empty() ? LogLevel::info : LogLevel::failure, "dashboard action",
         {{"action", to_string(done.act)},
          {"who", who},
          {"tasks", words},
          {"count", done.affected.count},
          {"skipped", done.affected.skipped},
          {"error", failure}});
    if (!audit_) return;
    const ActionRecord record{clock_->now(), who, std::string{to_string(done.act)}, words, done.affected, failure};
    try {
        audit_(record);
    } catch (const std::exception& error) {
        log_(LogLevel::failure, "dashboard audit threw", {{"error", error.what()}});
    } catch (...) {
        log_(LogLevel::failure, "dashboard audit threw");
    }
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
