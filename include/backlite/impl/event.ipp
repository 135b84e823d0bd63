// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/event.hpp>.

#include <backlite/event.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL std::string_view to_string(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::added: return "task added";
        case EventKind::started: return "task started";
        case EventKind::succeeded: return "task processed";
        case EventKind::failed: return "task failed";
        case EventKind::retried: return "task retried";
        case EventKind::snoozed: return "task snoozed";
        case EventKind::released: return "task given back";
        case EventKind::cancelled: return "task cancelled";
        case EventKind::expired: return "task expired";
        case EventKind::claim_lost: return "claim lost";
        case EventKind::rescued: return "claims rescued";
        case EventKind::crashed: return "task crashed";
        case EventKind::purged: return "purged expired tasks";
        case EventKind::client_started: return "task dispatcher started";
        case EventKind::client_stopped: return "task dispatcher stopped";
        case EventKind::client_failed: return "the client stops itself: its file cannot be used any more";
        case EventKind::storage_failing: return "storage error: the dispatcher tries again";
        case EventKind::storage_recovered: return "storage works again";
        case EventKind::stuck: return "task ignores its timeout";
        case EventKind::dropped: break;
    }
    return "events dropped";
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
