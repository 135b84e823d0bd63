# Every header under include/backlite, without ".hpp", floor by floor (include/backlite/README.md has the drawing).
# A header includes only headers that stand before it in this list: a lower floor, or further left in its own.
# The FILE_SET of the library and the test "layers" both read it.
set(BACKLITE_HEADERS
    # 0: no dependency on the rest
    version fwd base/hash base/shown base/format base/guards error clock base/times logger id base/safe_logger base/setback
    # 1: the user's words; rows, and a task's JSON
    base/json outcome unique base/names parents step_failed config task status admin_values event schedule_rules base/rows base/codec context queue batch base/add_target
    # 2: the operating system
    platform/last_error platform/random platform/fork platform/file platform/file_lock platform/shared_memory
    platform/file_identity platform/file_events platform/process platform/thread platform/wakeup platform/socket platform/zone_files
    # 3: the store: what it is asked for, its calls, and what it shows; SQLite's: one file, one connection; tables, and every SQL
    # statement; the one write path; who is alive; what those read who only look
    store/admission store/keep_rule store/slots store/plan store/store store/trouble store/model store/unavailable
    store/sqlite/database_file store/sqlite/log_file store/sqlite/open_transactions store/sqlite/statement store/sqlite/host_transaction
    store/sqlite/isolation store/sqlite/connection
    store/sqlite/schema store/sqlite/slack store/sqlite/flags store/sqlite/unique_keys store/sqlite/details store/sqlite/saved_values store/sqlite/progress_notes store/sqlite/history store/sqlite/turns store/sqlite/ends store/sqlite/expiries store/sqlite/transitions store/sqlite/queue_rules store/sqlite/claims store/sqlite/cancels store/sqlite/children store/sqlite/bounds store/sqlite/labels store/sqlite/changes store/sqlite/statistics store/sqlite/settle store/sqlite/add_statements
    store/sqlite/schedules
    store/sqlite/upkeep store/sqlite/status_queries store/sqlite/repository store/sqlite/cycle
    store/sqlite/commit_window store/sqlite/operation store/sqlite/group_commit store/sqlite/owner_lock store/sqlite/liveness store/sqlite/log_growth store/sqlite/sqlite_store
    store/sqlite/views/schema_features store/sqlite/views/statistics_reads store/sqlite/views/queue_reads
    store/sqlite/views/task_reads store/sqlite/views/task_facts store/sqlite/views/read_connection store/sqlite/views/side_files
    # 4: decisions, without a thread of their own; beside them what the dashboard asks a file
    core/id_generator core/queue_registry core/agenda core/running_task core/pool_load core/claim_policy core/look_schedule core/clock_watch core/retry_pause
    core/zone_rule core/zone core/cron_fields core/calendar core/recurrence core/schedule_options core/schedule_changes core/slot_plans
    core/add_counts core/progress_board core/set_apart core/scheduler core/task_runner core/flow_history core/child_results
    admin/database_view admin/page_reads admin/flow_steps admin/task_pages admin/existing_file
    # 5: threads
    engine/lifecycle engine/log_relay engine/event_relay engine/finish_watch engine/deadline_timer engine/worker_pool engine/overdue_watch
    engine/wake_signals engine/session_end engine/checked_config
    engine/dispatcher engine/session engine/room_watch engine/engine engine/flow_state
    # 6: what hosts call, and the umbrella; nothing below the umbrella is reached from it
    add_op adder client_handle transaction client backlite flow
    schedule admin
    testing/manual_clock testing/stepped_session testing/own_folder testing/test_client
    # 7: the dashboard: text and requests, markup, pages and their other forms, what hosts include
    ui/text ui/request ui/html ui/payload ui/access ui/models ui/signature ui/order
    ui/chart ui/layout ui/act_forms ui/history ui/overview_page ui/list_address ui/list_pages ui/task_page ui/json ui/schedules_page ui/metrics ui/pages ui/excuse
    ui/stylesheet ui/script ui/action_record ui/actions ui/dashboard ui/mount
)
