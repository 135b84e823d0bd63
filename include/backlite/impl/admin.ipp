// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/admin.hpp>.

#include <utility>

#include <backlite/admin.hpp>
#include <backlite/admin/database_view.hpp>
#include <backlite/admin/existing_file.hpp>
#include <backlite/admin/task_pages.hpp>
#include <backlite/base/times.hpp>
#include <backlite/engine/engine.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL Admin::Admin(const ClientHandle& client)
    : engine_(client.engine_),
      view_(std::make_shared<admin::DatabaseView>(client.config().database, client.config().open,
                                                  client.config().busy_timeout)) {}

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

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
