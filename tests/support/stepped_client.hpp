// SPDX-License-Identifier: MIT
#pragma once
// A client without threads on a store of its own: fast, and each step is the caller's.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/backlite.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/store/sqlite/sqlite_store.hpp>
#include <backlite/store/store.hpp>
#include <backlite/testing/stepped_session.hpp>

namespace backlite_test {

/// What a SteppedSession needs and does not own: a base of its own, so that it is made before and goes after it.
class StoreOfClient {
public:
    using Open = std::function<std::unique_ptr<backlite::store::Store>(
        const backlite::ClientConfig&, const backlite::Clock&, const backlite::detail::SafeLogger&,
        backlite::store::StoreHooks)>;

    StoreOfClient(backlite::ClientConfig config, const backlite::Clock& clock, const Open& open)
        : config_(std::move(config)),
          store_(open(config_, clock, tell_,
                      {[this] { foreign_commit(); },
                       {},
                       [this](const auto& what) { note(what); },
                       [this](std::string_view queue) { return keep(queue); }})) {
        store_->check_tables({config_.busy_timeout, {}});
    }

    StoreOfClient(const StoreOfClient&) = delete;
    StoreOfClient& operator=(const StoreOfClient&) = delete;
    ~StoreOfClient() = default;

    [[nodiscard]] const backlite::ClientConfig& config() const noexcept { return config_; }
    [[nodiscard]] backlite::store::Store& store() noexcept { return *store_; }

    /// What the store has told of clients that died or hung: "2 claims, crashed: mail ID".
    [[nodiscard]] const std::vector<std::string>& rescued() const noexcept { return rescued_; }

protected:
    const backlite::ClientConfig config_;
    const backlite::detail::SafeLogger tell_{};
    backlite::testing::SteppedSession* session_ = nullptr;
    const backlite::core::QueueRegistry* queues_ = nullptr;
    const std::unique_ptr<backlite::store::Store> store_;

private:
    void foreign_commit() noexcept {
        if (session_ != nullptr) session_->refresh();
    }
    [[nodiscard]] backlite::store::KeepRule keep(std::string_view queue) const {
        const std::size_t index = queues_->find(queue);
        if (index == queues_->size()) return {true, true, backlite::core::TaskRunner::default_retention};
        return backlite::core::TaskRunner::rule_of_failed((*queues_)[index].config());
    }
    void note(const backlite::store::Rescued& what) {
        std::string& text = rescued_.emplace_back(std::to_string(what.claims) + " claims");
        for (const auto& task : what.crashed) text += ", crashed: " + task.queue + " " + task.id;
    }

    std::vector<std::string> rescued_{};
};

/// The library's session without threads, with a store that it opens.
class SteppedClient : public StoreOfClient, public backlite::testing::SteppedSession {
public:
    static constexpr std::size_t workers = 4;

    SteppedClient(backlite::ClientConfig config, const backlite::core::QueueRegistry& queues,
                  const backlite::Clock& clock, const Open& open = &backlite::store::sqlite::open)
        : StoreOfClient(with_workers(std::move(config)), clock, open),
          SteppedSession({.config = config_, .queues = queues, .clock = clock, .tell = tell_, .store = *store_}) {
        session_ = this;
        queues_ = &queues;
    }

    using SteppedSession::run_one;
    /// Nobody stops it.
    const backlite::detail::AttemptResult* run_one() {
        const auto* ended = run_one(std::make_shared<backlite::detail::StopSignal>());
        return ended != nullptr ? &ended->resolved : nullptr;
    }

    /// REQUIRES: the store is SQLite's.
    [[nodiscard]] backlite::store::sqlite::GroupCommit& writes() {
        return dynamic_cast<backlite::store::sqlite::SqliteStore&>(store()).writes();
    }

private:
    static backlite::ClientConfig with_workers(backlite::ClientConfig config) {
        config.num_workers = static_cast<unsigned>(workers);
        return config;
    }
};

}  // namespace backlite_test
