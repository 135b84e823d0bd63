// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/client.hpp>.

#include <backlite/client.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/store/sqlite/database_file.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace detail {
[[nodiscard]] BACKLITE_DECL std::shared_ptr<engine::Engine> make_engine(ClientConfig config) {
    config.database = store::sqlite::lasting_name(config.database);
    return std::make_shared<engine::Engine>(std::move(config), &store::sqlite::open);
}
}  // namespace detail

BACKLITE_DECL Client::Client(ClientConfig config) : ClientHandle(detail::make_engine(std::move(config))) {}

BACKLITE_DECL Client::~Client() {
    if (engine_->forked()) {
        new std::shared_ptr(std::move(engine_));  // leaked: its threads and locks are the parent's
        return;
    }
    engine_->shut_down();
}

BACKLITE_DECL void Client::install() { engine_->install(); }

BACKLITE_DECL void Client::start(std::stop_token hard_stop) {
    const auto engine = engine_;  // a stop callback of a task may destroy the client
    engine->start(std::move(hard_stop));
}

BACKLITE_DECL void Client::register_untyped(std::unique_ptr<detail::QueueBase> queue) {
    engine_->register_queue(std::move(queue));
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
