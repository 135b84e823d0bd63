// expect: StoredTime<
// SPDX-License-Identifier: MIT
#include <backlite/core/agenda.hpp>

bool lower(backlite::core::Agenda& due) { return due.lower("mail", backlite::Duration{5}); }
