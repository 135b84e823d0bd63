// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/engine/flow_state.hpp>.

#include <array>
#include <chrono>

#include <backlite/base/format.hpp>
#include <backlite/base/json.hpp>
#include <backlite/base/names.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/engine/flow_state.hpp>
#include <backlite/store/store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// Errors: UsageError without a client.
[[nodiscard]] BACKLITE_DECL const QueueConfig& queue_of(const engine::Engine* engine, const Context& context) {
    if (engine == nullptr || !context.has_claim()) throw UsageError("Flow: this context belongs to no client");
    return engine->queues()[engine->queues().find(context.queue())].config();
}

BACKLITE_DECL FlowState::FlowState(Context& context)
    : context_(context), engine_(context.attempt_.engine.lock()), queue_(queue_of(engine_.get(), context)) {}

BACKLITE_DECL detail::Ms FlowState::now() const { return detail::to_ms(engine_->clock().now()); }

BACKLITE_DECL void FlowState::load() {
    constexpr std::size_t page = 1'000;
    store::NameRange names = store::NameRange::with_prefix(detail::flow_values);
    for (;;) {
        std::vector<detail::SavedValue> found = saved(names, page);
        const bool last = found.size() < page;
        if (!last) names.first = found.back().name + '\0';
        for (detail::SavedValue& value : found) history_.add(std::move(value));
        if (last) break;
    }
    cancelled_ = history_.cancelled() || context_.stop_reason() == StopReason::cancelled;
    failed_ = history_.failed();
}

BACKLITE_DECL std::vector<detail::SavedValue> FlowState::saved(const store::NameRange& names, std::size_t limit) {
    return unless_busy([&] { return engine_->store().saved(context_.task_id(), names, limit); });
}

BACKLITE_DECL auto FlowState::enter(std::string_view kind, std::string_view name) -> Place {
    const auto misused = [&](std::string_view why) {
        UsageError refusal(detail::format("queue \"{}\": Flow::{} \"{}\": {}",
                                          {context_.queue(), kind, detail::shown(name, detail::longest_name), why}));
        refusal.set_subject(context_.queue(), context_.task_id().str());
        throw refusal;
    };
    if (std::this_thread::get_id() != thread_) misused("called on another thread than the flow's");
    if (suspension_ != Suspension::none) throw Suspended{};
    if (inside_ != nullptr) misused(detail::format("called inside of step \"{}\"", {inside_->name}));
    if (const auto why = detail::why_no_name(name)) misused(detail::format("the name {}", {*why}));
    Place place{std::string{name}, 1, {}};
    place.occurrence = ++met_[{std::string{kind}, place.name}];
    place.key = detail::format("{}:{}#{}", {kind, name, place.occurrence});
    return place;
}

BACKLITE_DECL const std::string* FlowState::find(const Place& place) {
    const core::FlowHistory::Record* const found = history_.find(place.key);
    if (found == nullptr) return nullptr;
    if (found->oversize > 0) {
        cannot_read(place, {},
                    detail::format("it has {} bytes, more than ClientConfig::max_payload allows ({})",
                                   {found->oversize, engine_->max_payload()}));
    }
    return &found->json;
}

BACKLITE_DECL void FlowState::begin() {
    check_stop();
    if ((cancelled_ || failed_) && !undoing_) suspend(Suspension::undo);
}

BACKLITE_DECL void FlowState::check_stop() {
    switch (context_.stop_reason()) {
        case StopReason::stopping: suspend(Suspension::stop);
        case StopReason::claim_lost: suspend(Suspension::lost);
        case StopReason::cancelled:
            if (undoing_) suspend(Suspension::stop);  // what undoes gets a token that has not fired
            cancelled_ = true;
            return;
        case StopReason::timeout: suspend(Suspension::until, now());  // of an earlier step: the token is used up
        case StopReason::none: break;
    }
}

BACKLITE_DECL void FlowState::suspend(Suspension why, detail::Ms until, std::string_view signal) {
    suspension_ = why;
    until_ = until;
    signal_ = signal;
    throw Suspended{};
}

BACKLITE_DECL Outcome FlowState::suspended() const {
    switch (suspension_) {
        case Suspension::until: {
            Outcome outcome = Outcome::snooze_until(detail::from_ms(until_));
            outcome.reason_ = signal_;
            return outcome;
        }
        case Suspension::stop:
        case Suspension::lost:
        case Suspension::undo:
        case Suspension::none: break;
    }
    return Outcome::retry("the flow was interrupted");
}

BACKLITE_DECL Outcome FlowState::out_of_memory() {
    suspension_ = Suspension::until;
    until_ = now() + Duration{std::chrono::seconds{1}};
    signal_.clear();
    return suspended();
}

BACKLITE_DECL detail::SavedValue FlowState::record_of(const Place& place, std::string record) const {
    return {std::string{detail::flow_values} + place.key, std::move(record)};
}

BACKLITE_DECL void FlowState::write(const Place& place, std::string record) {
    const std::array<detail::SavedValue, 1> values{record_of(place, std::move(record))};
    write(values);
}

BACKLITE_DECL void FlowState::write(std::span<const detail::SavedValue> values) {
    const detail::ClaimKey claim{context_.task_id(), context_.attempt_.claim};
    bool held = false;
    try {
        held = engine_->store().save({claim, now(), values, true}, {engine_->config().busy_timeout, {}});
    } catch (const StorageError& error) {
        put_off(error);
    }
    if (!held) suspend(Suspension::lost);
}

BACKLITE_DECL void FlowState::put_off(const StorageError& error) {
    detail::SafeLogger(engine_->config().logger)(
        LogLevel::warning, "a flow's step could not be kept or read: it is tried again",
        {{"id", context_.task_id().str()}, {"queue", context_.queue()}, {"error", error.what()}});
    suspend(Suspension::until, now() + Duration{std::chrono::seconds{1}});
}

BACKLITE_DECL detail::Ms FlowState::due_of(const Place& place, const std::string& record) const {
    const std::optional<std::int64_t> due = core::number_in(record, "d");
    if (!due) cannot_read(place, "a time", "the record is damaged");
    return detail::Ms{*due};
}

BACKLITE_DECL detail::Ms FlowState::due_after(const Place& place, Duration time) const {
    const detail::Ms due = detail::due_after(engine_->clock().now(), time);
    if (time < Duration::zero() || due == detail::Ms::latest()) {
        throw ConfigError(detail::format("queue \"{}\": Flow, \"{}\": {} ms is negative or too long",
                                         {context_.queue(), place.name, time.count()}));
    }
    return due;
}

BACKLITE_DECL void FlowState::tell_unreached() const {
    if (history_.unreached() == 0) return;
    detail::SafeLogger(engine_->config().logger)(
        LogLevel::warning, "a flow has ended without reaching steps that it has recorded",
        {{"id", context_.task_id().str()}, {"queue", context_.queue()}, {"steps", history_.unreached()}});
}

BACKLITE_DECL void FlowState::cannot_read(const Place& place, std::string_view type, const std::string& why) const {
    Error refusal(
        detail::format("queue \"{}\": step \"{}\" (occurrence {}): what is kept of it cannot be read{}{}: {}",
                       {context_.queue(), place.name, place.occurrence, type.empty() ? "" : " as ", type, why}));
    refusal.set_subject(context_.queue(), context_.task_id().str());
    throw refusal;
}

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
