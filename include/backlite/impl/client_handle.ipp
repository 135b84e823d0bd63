// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/client_handle.hpp>.

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

BACKLITE_DECL TaskCounts ClientHandle::counts() const { return engine_->counts(); }

BACKLITE_DECL const ClientConfig& ClientHandle::config() const noexcept { return engine_->config(); }

BACKLITE_DECL CancelResult ClientHandle::cancel(const TaskId& id) const { return engine_->cancel(id); }

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

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
