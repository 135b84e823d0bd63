// SPDX-License-Identifier: MIT
#pragma once
// Zone: what the clocks of a time zone show, and when they are changed.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/core/zone_rule.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/zone_files.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

/// A time zone: an offset for good, a file of the system's, or a zone of the standard library. A value.
/// Threads: any.
class Zone {
public:
    /// No zone's file is as large; real ones have 100 to 4,000 bytes.
    static constexpr std::size_t largest_file = 262'144;

    /// And none has as many changes; real ones have at most some 250.
    static constexpr std::size_t most_changes = 2'000;

    /// UTC.
    Zone() = default;

    /// The zone of that name: "" and "UTC", or an offset as `fixed` reads it, without any file; otherwise such as
    /// "Europe/Berlin", by the system's files, or by the standard library where there is no file and TZDIR names no
    /// folder. Files first: libstdc++ 14 has 118 of 228 zones wrong somewhere between 1900 and 2020, and is slower.
    /// Errors: ConfigError that names it, if there is no such zone, its file is damaged, or the name leaves the folder.
    [[nodiscard]] static Zone find(std::string_view name);

    /// The same without the standard library.
    [[nodiscard]] static Zone of_file(std::string_view name);

    /// The same by the standard library alone; nullopt if it has no zones, or not this one.
    [[nodiscard]] static std::optional<Zone> of_library(std::string_view name);

    /// UTC by each of its names, "+02:00", "-0330", "+02", or "Etc/GMT-2", which is two hours ahead; nullopt for
    /// others.
    [[nodiscard]] static std::optional<Zone> fixed(std::string_view name);

    /// The zone in the bytes of a file in TZif, version 1 to 4 (RFC 9636).
    /// Errors: ConfigError that says what is wrong, and names `name`: a file that is no TZif, is cut, damaged or too
    /// large, or counts leap seconds.
    [[nodiscard]] static Zone read(std::string_view bytes, std::string_view name);

    /// The stretch that `time` is in, within some thousand years.
    [[nodiscard]] Stretch at(std::chrono::sys_seconds time) const;

private:
    class File;

    struct OfLibrary {
        const void* zone =
            nullptr;  ///< a std::chrono::time_zone, where there are such: it lives as long as the program
    };

    /// As `of_file`; nullopt if there is no such file, and then platform::last_error() says why.
    [[nodiscard]] static std::optional<Zone> in_file(std::string_view name);

    explicit Zone(std::chrono::seconds offset) noexcept : first_offset_(offset) {}

    std::chrono::seconds first_offset_{};  ///< until the first change
    std::vector<std::chrono::sys_seconds> changes_{};
    std::vector<std::chrono::seconds> offsets_{};  ///< one for each change: from then on
    std::optional<ZoneRule> rule_{};               ///< after the last change, if there is one
    OfLibrary of_library_{};
};

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/core/zone.ipp>
#endif
