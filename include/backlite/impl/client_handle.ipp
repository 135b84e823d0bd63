// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/client_handle.hpp>.

#include <algorithm>
#include <array>

#include <backlite/base/names.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/batch.hpp>
#include <backlite/client_handle.hpp>
#include <backlite/engine/engine.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL ClientHandle::ClientHandle(std::shared_ptr<engine::Engine> engine) noexcept
    : engine_(std::move(engine)) {}

BACKLITE_DECL ClientHandle::operator Adder() const noexcept { return Adder(target()); }

BACKLITE_DECL bool ClientHandle::stop(Duration patience) const {
    const auto engine = engine_;  // a stop callback of a task may destroy the client
    return engine->stop(patience);
}

BACKLITE_DECL TaskStatus ClientHandle::status(const TaskId& id) const { return engine_->status(id); }

BACKLITE_DECL std::optional<detail::StoredResult> ClientHandle::stored_result(const TaskId& id,
                                                                              const std::string& queue,
                                                                              std::string_view type) const {
    store::FoundTask found = engine_->find(id);
    if (found.status == TaskStatus::not_found) return std::nullopt;
    if (found.queue != queue) {
        throw UsageError(detail::format("Client::result: task {} is of queue \"{}\", and not of \"{}\"",
                                        {id.str(), found.queue, queue}));
    }
    if (found.status != TaskStatus::succeeded) return std::nullopt;
    if (found.oversize_result > 0) {
        const std::string why = detail::format("it has {} bytes, more than ClientConfig::max_payload ({})",
                                               {found.oversize_result, engine_->max_payload()});
        detail::throw_result_error(queue, id, type, why);
    }
    if (found.result.empty()) return std::nullopt;
    return detail::StoredResult{std::move(found.queue), std::move(found.result)};
}

BACKLITE_DECL std::optional<TaskStatus> ClientHandle::wait(const TaskId& id, Duration patience,
                                                           std::stop_token stop) const {
    const auto engine = engine_;  // a stop callback of a task may destroy the client
    return engine->wait(id, patience, std::move(stop));
}

BACKLITE_DECL void ClientHandle::on_finished(const TaskId& id,
                                             std::function<void(const FinishedTask&)> callback) const {
    engine_->on_finished(id, std::move(callback));
}

BACKLITE_DECL std::optional<Progress> ClientHandle::progress(const TaskId& id) const {
    engine_->check_call("Client::progress");
    return engine_->store().progress(id);
}

BACKLITE_DECL TaskCounts ClientHandle::counts() const { return engine_->counts(); }

BACKLITE_DECL const ClientConfig& ClientHandle::config() const noexcept { return engine_->config(); }

BACKLITE_DECL CancelResult ClientHandle::cancel(const TaskId& id) const { return engine_->cancel(id); }

BACKLITE_DECL SignalResult ClientHandle::send(const TaskId& id, std::string_view name, const std::string& json) const {
    engine_->check_call("Client::signal");
    if (const auto why = detail::why_no_name(name)) {
        throw UsageError(
            detail::format("Client::signal: the name \"{}\" {}", {detail::shown(name, detail::longest_name), *why}));
    }
    if (json.size() > engine_->max_payload()) {
        cannot_send(id, name,
                    detail::format("it has {} bytes, more than ClientConfig::max_payload allows ({})",
                                   {json.size(), engine_->max_payload()}));
    }
    const std::string waits = detail::write_json(std::string{name});
    return engine_->store().signal({id, name, json, waits, detail::to_ms(engine_->clock().now())},
                                   {engine_->config().busy_timeout, {}});
}

BACKLITE_DECL void ClientHandle::cannot_send(const TaskId& id, std::string_view name, const std::string& why) {
    EncodeError refusal(detail::format("Client::signal: the value of \"{}\" cannot be sent: {}", {name, why}), {});
    refusal.set_subject({}, id.str());
    throw refusal;
}

BACKLITE_DECL void ClientHandle::pause(std::string_view queue) const { engine_->set_paused(queue, true); }

BACKLITE_DECL void ClientHandle::resume(std::string_view queue) const { engine_->set_paused(queue, false); }

BACKLITE_DECL bool ClientHandle::wait_idle(Duration patience) const { return engine_->wait_idle(patience); }

BACKLITE_DECL void ClientHandle::notify() const { engine_->notify(); }

BACKLITE_DECL detail::AddTarget& ClientHandle::target() const noexcept { return *engine_; }

BACKLITE_DECL ClientHandle Context::client() const {
    std::shared_ptr<engine::Engine> engine = attempt_.engine.lock();
    if (!engine) throw UsageError("Context::client(): this context belongs to no client");
    return ClientHandle(std::move(engine));
}

BACKLITE_DECL ClientHandle BatchContext::client() const {
    std::shared_ptr<engine::Engine> engine = attempt_.engine.lock();
    if (!engine) throw UsageError("BatchContext::client(): this context belongs to no client");
    return ClientHandle(std::move(engine));
}

BACKLITE_DECL void Context::put(std::string_view name, std::string json) const {
    const auto is_it = [&](const detail::SavedValue& value) noexcept { return value.name == name; };
    if (const std::shared_ptr<engine::Engine> engine = attempt_.engine.lock()) {
        engine->check_call("Context::save");
        if (json.size() > engine->max_payload()) {
            cannot_encode(name, detail::format("it has {} bytes, more than ClientConfig::max_payload allows ({})",
                                               {json.size(), engine->max_payload()}));
        }
        if (attempt_.claim != 0) {
            const detail::ClaimKey claim{task_id(), attempt_.claim};
            const std::array<detail::SavedValue, 1> values{{{std::string{name}, std::move(json)}}};
            if (engine->store().save({claim, detail::to_ms(engine->clock().now()), values},
                                     {engine->config().busy_timeout, {}})) {
                return;
            }
            throw_claim_lost("Context::save");
        }
    }
    const detail::LockGuard lock(mutex_);
    std::erase_if(loose_, is_it);
    loose_.push_back({std::string{name}, std::move(json)});
}

BACKLITE_DECL std::optional<std::string> Context::find(std::string_view name) const {
    const std::shared_ptr<engine::Engine> engine = attempt_.engine.lock();
    if (engine) engine->check_call("Context::load");
    if (engine && attempt_.claim != 0) {
        std::vector<detail::SavedValue> found = engine->store().saved(task_id(), store::NameRange::of(name), 1);
        if (found.empty()) return std::nullopt;
        const detail::SavedValue& value = found.front();
        if (const std::size_t bytes = value.json ? value.json->size() : value.oversize; bytes > engine->max_payload()) {
            cannot_read(name, detail::format("it has {} bytes, more than ClientConfig::max_payload allows", {bytes}));
        }
        return std::move(found.front().json);
    }
    const detail::LockGuard lock(mutex_);
    const auto found =
        std::find_if(loose_.begin(), loose_.end(), [&](const detail::SavedValue& value) { return value.name == name; });
    return found == loose_.end() ? std::nullopt : found->json;
}

BACKLITE_DECL const std::vector<std::string>& Context::tags() const { return labels("Context::tags").tags; }

BACKLITE_DECL const std::map<std::string, std::string>& Context::metadata() const {
    return labels("Context::metadata").metadata;
}

BACKLITE_DECL auto Context::labels(const char* call) const -> const Labels& {
    {
        const detail::LockGuard lock(mutex_);
        if (labels_) return *labels_;
    }
    auto read = std::make_unique<Labels>();
    const std::shared_ptr<engine::Engine> engine = attempt_.engine.lock();
    if (engine) engine->check_call(call);
    if (engine && attempt_.claim != 0) {
        detail::TaskLabels stored = engine->store().labels(task_id());
        read->tags = std::move(stored.tags);
        read->metadata = detail::read_texts(stored.metadata);
    }
    const detail::LockGuard lock(mutex_);
    if (!labels_) labels_ = std::move(read);
    return *labels_;
}

BACKLITE_DECL void Context::throw_claim_lost(const char* call) const {
    ClaimLost refusal(detail::format("{}: the claim of task {} of queue \"{}\" was taken back, or has ended",
                                     {call, task_id().str(), queue()}));
    refusal.set_subject(queue(), task_id().str());
    throw refusal;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
