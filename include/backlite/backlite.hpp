// SPDX-License-Identifier: MIT
#pragma once
// backlite: type-safe, persistent, embedded task queues and a background job runner on SQLite.
// Everything that an application needs; in the order of the layers.

#include <backlite/version.hpp>

#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/id.hpp>
#include <backlite/logger.hpp>

#include <backlite/config.hpp>
#include <backlite/event.hpp>
#include <backlite/status.hpp>
#include <backlite/task.hpp>

#include <backlite/batch.hpp>
#include <backlite/context.hpp>
#include <backlite/outcome.hpp>
#include <backlite/queue.hpp>

#include <backlite/add_op.hpp>
#include <backlite/adder.hpp>
#include <backlite/client.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/transaction.hpp>
