# Every header under include/backlite, without ".hpp", in the order of the layers.
# A header includes only headers that stand before it in this list: lower rank, or further left in its own rank.
# The FILE_SET of the library and the test "layers" both read it.
set(BACKLITE_HEADERS
    # 0: no dependency on the rest
    version fwd format random error fork clock logger id
    # 1: what a task and a client are made of
    config task records
    # 2: one file, one connection
    storage/database_file storage/statement storage/isolation storage/connection
    # 3: tables, and every SQL statement
    storage/schema storage/claims storage/statistics storage/adds storage/outcomes storage/upkeep storage/reads storage/repository
    # 4: the one write path; who is alive; what a processor returns and sees
    storage/gathering storage/operation storage/group_commit storage/owner_lock open_transactions outcome context
    # 5: a task type and its processor; adding, without an engine
    queue add_target add_op adder
    # 6: names to queues; threads
    runtime/queue_registry runtime/due_times runtime/setback runtime/thread runtime/log_relay runtime/deadline_timer runtime/commit_watch
    runtime/look_schedule runtime/liveness runtime/worker_pool runtime/set_apart runtime/overdue_watch runtime/log_growth runtime/clock_watch runtime/inbox runtime/claim_policy runtime/retry_pause runtime/add_counts runtime/cycle runtime/ending
    runtime/checked_config
    # 7: one attempt
    runtime/task_runner
    # 8: what makes tasks run
    runtime/dispatcher runtime/session runtime/engine
    # 9
    client_handle transaction
    # 10
    client
    # 11: the umbrella; nothing below is reached from it
    backlite
    # 12: for tests of programs that use the library
    testing/manual_clock
    # 13: the dashboard: text and requests; markup; what is shown; the SQL behind it
    ui/text ui/request ui/html ui/payload ui/access ui/model ui/shape ui/statistics_reads ui/queue_reads ui/task_reads ui/file ui/processes
    # 14: pages, and their other forms
    ui/chart ui/layout ui/history ui/overview_page ui/list_pages ui/task_page ui/json ui/metrics ui/pages ui/excuse ui/stylesheet ui/script
    # 15: what hosts include
    ui/dashboard ui/mount
)
