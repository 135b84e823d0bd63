// SPDX-License-Identifier: MIT
#pragma once
// The one place that knows which system this is: the bodies of platform/ that are not plain POSIX.

#if defined(__linux__)
#include <backlite/impl/platform/linux/file_events.ipp>
#include <backlite/impl/platform/linux/file_identity.ipp>
#include <backlite/impl/platform/linux/file_lock.ipp>
#include <backlite/impl/platform/linux/process.ipp>
#include <backlite/impl/platform/linux/shared_memory.ipp>
#include <backlite/impl/platform/linux/thread.ipp>
#include <backlite/impl/platform/linux/wakeup.ipp>
#else
#error "backlite runs on Linux only; what another system must supply is said in include/backlite/README.md"
#endif
