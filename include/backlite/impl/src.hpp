// SPDX-License-Identifier: MIT
#pragma once
// All bodies but those of the dashboard, for the one source file that compiles them.

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#error "backlite: define BACKLITE_SEPARATE_COMPILATION in all source files of the program, or in none"
#endif

#include <backlite/impl/add_op.ipp>
#include <backlite/impl/base/codec.ipp>
#include <backlite/impl/base/format.ipp>
#include <backlite/impl/base/safe_logger.ipp>
#include <backlite/impl/client.ipp>
#include <backlite/impl/client_handle.ipp>
#include <backlite/impl/clock.ipp>
#include <backlite/impl/config.ipp>
#include <backlite/impl/context.ipp>
#include <backlite/impl/core/add_counts.ipp>
#include <backlite/impl/core/agenda.ipp>
#include <backlite/impl/core/claim_policy.ipp>
#include <backlite/impl/core/clock_watch.ipp>
#include <backlite/impl/core/id_generator.ipp>
#include <backlite/impl/core/look_schedule.ipp>
#include <backlite/impl/core/queue_registry.ipp>
#include <backlite/impl/core/retry_pause.ipp>
#include <backlite/impl/core/set_apart.ipp>
#include <backlite/impl/core/task_runner.ipp>
#include <backlite/impl/engine/checked_config.ipp>
#include <backlite/impl/engine/deadline_timer.ipp>
#include <backlite/impl/engine/dispatcher.ipp>
#include <backlite/impl/engine/engine.ipp>
#include <backlite/impl/engine/liveness.ipp>
#include <backlite/impl/engine/log_growth.ipp>
#include <backlite/impl/engine/log_relay.ipp>
#include <backlite/impl/engine/overdue_watch.ipp>
#include <backlite/impl/engine/session.ipp>
#include <backlite/impl/engine/session_end.ipp>
#include <backlite/impl/engine/wake_signals.ipp>
#include <backlite/impl/engine/worker_pool.ipp>
#include <backlite/impl/id.ipp>
#include <backlite/impl/logger.ipp>
#include <backlite/impl/outcome.ipp>
#include <backlite/impl/platform/file_events.ipp>
#include <backlite/impl/platform/file_identity.ipp>
#include <backlite/impl/platform/fork.ipp>
#include <backlite/impl/platform/process.ipp>
#include <backlite/impl/platform/random.ipp>
#include <backlite/impl/platform/thread.ipp>
#include <backlite/impl/store/sqlite/add_statements.ipp>
#include <backlite/impl/store/sqlite/claims.ipp>
#include <backlite/impl/store/sqlite/commit_window.ipp>
#include <backlite/impl/store/sqlite/connection.ipp>
#include <backlite/impl/store/sqlite/cycle.ipp>
#include <backlite/impl/store/sqlite/database_file.ipp>
#include <backlite/impl/store/sqlite/group_commit.ipp>
#include <backlite/impl/store/sqlite/host_transaction.ipp>
#include <backlite/impl/store/sqlite/isolation.ipp>
#include <backlite/impl/store/sqlite/open_transactions.ipp>
#include <backlite/impl/store/sqlite/operation.ipp>
#include <backlite/impl/store/sqlite/owner_lock.ipp>
#include <backlite/impl/store/sqlite/schema.ipp>
#include <backlite/impl/store/sqlite/statement.ipp>
#include <backlite/impl/store/sqlite/statistics.ipp>
#include <backlite/impl/store/sqlite/status_queries.ipp>
#include <backlite/impl/store/sqlite/transitions.ipp>
#include <backlite/impl/store/sqlite/upkeep.ipp>
#include <backlite/impl/store/trouble.ipp>
#include <backlite/impl/transaction.ipp>
