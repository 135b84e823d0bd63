// SPDX-License-Identifier: MIT
#pragma once
// The page of one task: where it stands, how it came there, why it failed, and what it carries.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <backlite/ui/act_forms.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/payload.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// A payload or error as it may be shown: after the host's redaction.
struct Shown {
    enum class How {
        whole,
        cut,       ///< the beginning; there is more
        redacted,  ///< what the host's function made of it
        hidden,    ///< not at all
        absent,    ///< there is none
    };
    How how = How::absent;
    PayloadKind kind = PayloadKind::text;
    std::string text{};
};

namespace detail {

inline void put_step(Html& html, std::string_view name, const Html& time, std::string_view note,
                     std::string_view tone) {
    html.put(R"(<li class="{}"><b>{}</b> {}<small>{}</small></li>)", tone, name, time, note);
}

/// From the moment it was added to the last that is known, with the spans between.
void put_timeline(Html& html, const View& view, const TaskDetail& task);

void put_text(Html& html, const View& view, const TaskDetail& task, std::string_view heading, const Shown& shown,
              std::uint64_t size, bool is_payload);

}  // namespace detail

/// A task with what may be seen of it.
struct ShownTask {
    TaskDetail task{};
    Shown payload{};
    Shown error{};
};

/// A payload is made readable up to this many bytes.
inline constexpr std::size_t readable_bytes = 32'768;

[[nodiscard]] Html task_page(const View& view, const ShownTask& shown);

/// A page with one message.
[[nodiscard]] Html message_page(std::string_view message, std::string_view advice);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/task_page.ipp>
#endif
