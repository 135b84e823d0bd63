// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <backlite/client_handle.hpp>
#include <backlite/context.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/id.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace backlite;
using backlite_test::message_of;

TEST_CASE("StopReason: each has a name") {
    CHECK(to_string(StopReason::none) == "none");
    CHECK(to_string(StopReason::timeout) == "timeout");
    CHECK(to_string(StopReason::stopping) == "stopping");
    CHECK(to_string(StopReason::claim_lost) == "claim lost");
}

TEST_CASE("StopSignal: says nothing until it is fired") {
    const detail::StopSignal signal;
    CHECK(signal.reason() == StopReason::none);
    CHECK(signal.token().stop_possible());
    CHECK_FALSE(signal.token().stop_requested());
}

TEST_CASE("StopSignal: its token fires with the reason") {
    detail::StopSignal signal;
    const std::stop_token token = signal.token();
    CHECK(signal.fire(StopReason::timeout));
    CHECK(token.stop_requested());
    CHECK(signal.reason() == StopReason::timeout);
}

TEST_CASE("StopSignal: only the first reason counts") {
    detail::StopSignal signal;
    CHECK(signal.fire(StopReason::claim_lost));
    CHECK_FALSE(signal.fire(StopReason::stopping));
    CHECK(signal.reason() == StopReason::claim_lost);
}

TEST_CASE("StopSignal: the reason is known when the callbacks run") {
    detail::StopSignal signal;
    StopReason seen = StopReason::none;
    const std::stop_callback callback(signal.token(), [&] { seen = signal.reason(); });
    signal.fire(StopReason::stopping);
    CHECK(seen == StopReason::stopping);
}

TEST_CASE("StopSignal: of many that fire at once, one is the first") {
    detail::StopSignal signal;
    std::atomic<int> firsts{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 8; ++i) {
            threads.emplace_back([&] {
                if (signal.fire(StopReason::timeout)) ++firsts;
            });
        }
    }
    CHECK(firsts == 1);
}

/// All that a context is made of, but a client.
struct Parts {
    std::weak_ptr<engine::Engine> none{};
    TaskId id = TaskId::from_text("some-id");
    std::string queue = "mail";
    detail::StopSignal stop{};

    [[nodiscard]] Context::Attempt attempt(std::optional<std::chrono::steady_clock::time_point> deadline = {}) {
        return {none, id, queue, 2, 5, stop, deadline};
    }
};

TEST_CASE("Context: says which attempt of which task it is") {
    Parts parts;
    const Context context(parts.attempt());
    CHECK(context.task_id().str() == "some-id");
    CHECK(context.queue() == "mail");
    CHECK(context.attempt() == 2);
    CHECK(context.max_attempts() == 5);
}

TEST_CASE("Context: has a deadline where its queue has a timeout") {
    Parts parts;
    const std::chrono::steady_clock::time_point deadline{std::chrono::hours{1}};
    CHECK(Context(parts.attempt()).deadline() == std::nullopt);
    CHECK(Context(parts.attempt(deadline)).deadline() == deadline);
}

TEST_CASE("Context: its token is the attempt's, and so is the reason") {
    Parts parts;
    const Context context(parts.attempt());
    CHECK_FALSE(context.stop_token().stop_requested());
    CHECK(context.stop_reason() == StopReason::none);
    parts.stop.fire(StopReason::stopping);
    CHECK(context.stop_token().stop_requested());
    CHECK(context.stop_reason() == StopReason::stopping);
}

TEST_CASE("Context: one that was made without a client has none") {
    Parts parts;
    const Context context(parts.attempt());
    CHECK(message_of<UsageError>([&] { (void)context.client(); }) ==
          "Context::client(): this context belongs to no client");
}

}  // namespace
