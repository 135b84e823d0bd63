// SPDX-License-Identifier: MIT
#pragma once
// The version of the library, for the preprocessor and for programs.

// Here, since every header includes this one first.
#if !defined(__linux__)
#error "backlite runs on Linux only so far: it needs locks of open file descriptions (F_OFD_SETLK) and inotify."
#endif

#define BACKLITE_VERSION_MAJOR 0
#define BACKLITE_VERSION_MINOR 1
#define BACKLITE_VERSION_PATCH 0

// Every name of the library lives in an inline namespace of this name, so that two versions in one program are two sets
// of types: what they share by mistake does not link, and what they do not share does not collide. So are two copies of
// one version whose types have two layouts, as those of the standard library's debug mode have.
#define BACKLITE_VERSION_JOIN(major, minor, patch, mode) v##major##_##minor##_##patch##mode
#define BACKLITE_VERSION_NAME(major, minor, patch, mode) BACKLITE_VERSION_JOIN(major, minor, patch, mode)
// With BACKLITE_SEPARATE_COMPILATION, defined in each source file of a program, the headers declare, and one source
// file that includes <backlite/impl/src.hpp> compiles the bodies. The namespace tells the modes apart, so that files of
// both which pass types of the library to each other do not link.
#if defined(BACKLITE_SEPARATE_COMPILATION)
#define BACKLITE_DECL
#if defined(_GLIBCXX_DEBUG)
#define BACKLITE_VERSION_MODE _separate_debug
#else
#define BACKLITE_VERSION_MODE _separate
#endif
#else
#define BACKLITE_DECL inline
#if defined(_GLIBCXX_DEBUG)
#define BACKLITE_VERSION_MODE _debug
#else
#define BACKLITE_VERSION_MODE
#endif
#endif
#define BACKLITE_VERSION_NAMESPACE \
    BACKLITE_VERSION_NAME(BACKLITE_VERSION_MAJOR, BACKLITE_VERSION_MINOR, BACKLITE_VERSION_PATCH, BACKLITE_VERSION_MODE)

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

/// One number that grows with each release: major * 1,000,000 + minor * 1,000 + patch.
/// Stored in `backlite_clients` and compared with `backlite_meta`: never change how it is made.
inline constexpr int version_number =
    BACKLITE_VERSION_MAJOR * 1'000'000 + BACKLITE_VERSION_MINOR * 1'000 + BACKLITE_VERSION_PATCH;

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
