// SPDX-License-Identifier: MIT
#pragma once
// The bodies of the dashboard and of Admin, for a source file of its own: programs without them do not link it.

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#error "backlite: define BACKLITE_SEPARATE_COMPILATION in all source files of the program, or in none"
#endif

#include <backlite/impl/admin.ipp>
#include <backlite/impl/admin/database_view.ipp>
#include <backlite/impl/admin/existing_file.ipp>
#include <backlite/impl/admin/flow_steps.ipp>
#include <backlite/impl/admin/page_reads.ipp>
#include <backlite/impl/admin/task_pages.ipp>
#include <backlite/impl/admin_values.ipp>
#include <backlite/impl/platform/socket.ipp>
#include <backlite/impl/store/model.ipp>
#include <backlite/impl/store/sqlite/views/queue_reads.ipp>
#include <backlite/impl/store/sqlite/views/read_connection.ipp>
#include <backlite/impl/store/sqlite/views/schema_features.ipp>
#include <backlite/impl/store/sqlite/views/side_files.ipp>
#include <backlite/impl/store/sqlite/views/statistics_reads.ipp>
#include <backlite/impl/store/sqlite/views/task_facts.ipp>
#include <backlite/impl/store/sqlite/views/task_reads.ipp>
#include <backlite/impl/ui/access.ipp>
#include <backlite/impl/ui/act_forms.ipp>
#include <backlite/impl/ui/actions.ipp>
#include <backlite/impl/ui/chart.ipp>
#include <backlite/impl/ui/dashboard.ipp>
#include <backlite/impl/ui/history.ipp>
#include <backlite/impl/ui/html.ipp>
#include <backlite/impl/ui/json.ipp>
#include <backlite/impl/ui/layout.ipp>
#include <backlite/impl/ui/list_address.ipp>
#include <backlite/impl/ui/list_pages.ipp>
#include <backlite/impl/ui/metrics.ipp>
#include <backlite/impl/ui/order.ipp>
#include <backlite/impl/ui/overview_page.ipp>
#include <backlite/impl/ui/pages.ipp>
#include <backlite/impl/ui/payload.ipp>
#include <backlite/impl/ui/request.ipp>
#include <backlite/impl/ui/schedules_page.ipp>
#include <backlite/impl/ui/signature.ipp>
#include <backlite/impl/ui/task_page.ipp>
#include <backlite/impl/ui/text.ipp>
