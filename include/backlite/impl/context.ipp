// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/context.hpp>.

#include <algorithm>

#include <backlite/base/format.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/context.hpp>
#include <backlite/error.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace detail {

BACKLITE_DECL bool StopSignal::fire(StopReason reason) noexcept {
    StopReason none = StopReason::none;
    if (!reason_.compare_exchange_strong(none, reason)) return false;
    source_.request_stop();
    return true;
}

}  // namespace detail

BACKLITE_DECL void Context::check_name(const char* call, std::string_view name) const {
    constexpr std::size_t longest = 200;
    const auto refuse = [&](std::string_view why) {
        ConfigError refusal(detail::format("queue \"{}\": Context::{}: the name \"{}\" {}",
                                           {queue(), call, detail::shown(name, longest), why}));
        refusal.set_subject(queue(), task_id().str());
        throw refusal;
    };
    if (name.empty()) refuse("is empty");
    if (name.size() > longest) refuse(detail::format("has {} bytes, more than {}", {name.size(), longest}));
    if (!detail::is_utf8(name)) refuse("is not UTF-8");
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; };
    if (std::any_of(name.begin(), name.end(), is_control)) refuse("holds a control character");
    if (name.starts_with(detail::own_values)) refuse("is the library's: it begins with \"backlite:\"");
}

BACKLITE_DECL void Context::progress(double fraction, std::string_view message) const {
    constexpr std::size_t most = 500;
    constexpr double rounding = 1e-6;
    const auto refuse = [&](const std::string& why) {
        UsageError refusal(detail::format("queue \"{}\": Context::progress: {}", {queue(), why}));
        refusal.set_subject(queue(), task_id().str());
        throw refusal;
    };
    if (!(fraction >= -rounding && fraction <= 1 + rounding)) {
        refuse(std::to_string(fraction) + " is not from 0 to 1");
    }
    if (!detail::is_utf8(message)) refuse("the message is not UTF-8");
    if (message.size() > most) {
        std::size_t end = most;
        while ((static_cast<unsigned char>(message[end]) & 0xc0U) == 0x80U) --end;  // not inside of a character
        message = message.substr(0, end);
    }
    if (attempt_.run != nullptr) attempt_.run->progress((std::clamp)(fraction, 0.0, 1.0), message);
}

BACKLITE_DECL void Context::cannot_encode(std::string_view name, const std::string& why) const {
    EncodeError refusal(detail::format("queue \"{}\": the value \"{}\" cannot be saved: {}", {queue(), name, why}),
                        queue());
    refusal.set_subject(queue(), task_id().str());
    throw refusal;
}

BACKLITE_DECL void Context::cannot_read(std::string_view name, const std::string& why) const {
    Error refusal(detail::format("queue \"{}\": the saved value \"{}\" cannot be read: {}", {queue(), name, why}));
    refusal.set_subject(queue(), task_id().str());
    throw refusal;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
