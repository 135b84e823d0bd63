// SPDX-License-Identifier: MIT
// Clients in a process that forks while their threads run.

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/base/codec.hpp>

#include <backlite_catch.hpp>
#include <temp_folder.hpp>

#include "rig.hpp"

namespace {

using namespace std::chrono_literals;
using namespace backlite_test;
using backlite::Client;
using backlite::ClientConfig;
using backlite::Context;
using backlite::ForkError;
using backlite::TaskId;
using backlite::TaskStatus;

struct Work {
    std::string name{};
    static backlite::QueueConfig config() { return {.name = "work", .retention = backlite::Retention{}}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Work, name)

struct Other {
    using Result = int;
    int number = 0;
    static backlite::QueueConfig config() { return {.name = "other"}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Other, number)

// What `body` returns in a forked child of this process, whatever threads run here; "hangs" or "died" if it does not.
std::string in_child(const std::function<std::string()>& body) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return "no pipe";
    const pid_t pid = ::fork();
    if (pid == 0) {
        std::string text;
        try {
            text = body();
        } catch (const std::exception& error) {
            text = std::string{"threw "} + error.what();
        }
        text += '.';
        const bool told = ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::_exit(told ? 0 : 1);
    }
    ::close(ends[1]);
    pollfd fd{ends[0], POLLIN, 0};
    std::string text = "hangs";
    if (::poll(&fd, 1, static_cast<int>(patience.count())) > 0) {
        std::array<char, 4096> buffer{};
        const ssize_t size = ::read(ends[0], buffer.data(), buffer.size());
        text = size > 0 ? std::string(buffer.data(), static_cast<std::size_t>(size)) : "died";
    } else {
        ::kill(pid, SIGKILL);
    }
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!text.empty() && text.back() == '.') text.pop_back();
    return text;
}

// Empty if the call throws ForkError; otherwise its name and what came instead.
template <class Call>
std::string not_refused(std::string_view name, Call&& call) {
    try {
        call();
    } catch (const ForkError&) {
        return {};
    } catch (const std::exception& error) {
        return fmt::format("{} threw \"{}\"; ", name, error.what());
    }
    return fmt::format("{} went through; ", name);
}

TEST_CASE("fork: every call on a started client throws ForkError in the child, also while other threads use it") {
    REQUIRE(backlite::detail::encode(Other{}, "other") ==
            "{\"number\":0}");  // what the children try to register is a task
    const TempFolder folder;
    const std::string file = folder.file("q.db");
    std::atomic<int> ran{0};
    std::atomic<int> added{0};
    std::atomic<bool> over{false};
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work&) { ++ran; });
    client.start();
    std::vector<std::thread> users;
    for (int i = 0; i < 2; ++i) {
        users.emplace_back([&] {
            while (!over) {
                client.add(Work{"a"}).save();
                ++added;
                (void)client.counts();
            }
        });
    }
    for (int round = 0; round < 20; ++round) {
        SQLite::Database host(file, SQLite::OPEN_READWRITE);
        auto earlier = client.add(Work{"made before the fork"});
        std::optional<backlite::Transaction> transaction;
        if (round % 2 == 0) transaction.emplace(client, host);
        const std::string complaints = in_child([&] {
            std::string all;
            all += not_refused("save", [&] { client.add(Work{"b"}).save(); });
            all += not_refused("save of an earlier add", [&] { earlier.save(); });
            all += not_refused("save with tx", [&] { client.add(Work{"b"}).tx(host).save(); });
            all += not_refused("start", [&] { client.start(); });
            all += not_refused("stop", [&] { client.stop(0ms); });
            all += not_refused("status", [&] { (void)client.status(TaskId{}); });
            all += not_refused("counts", [&] { (void)client.counts(); });
            all += not_refused("notify", [&] { client.notify(); });
            all += not_refused("cancel", [&] { (void)client.cancel(TaskId{}); });
            all += not_refused("pause", [&] { client.pause("work"); });
            all += not_refused("resume", [&] { client.resume("work"); });
            all += not_refused("wait_idle", [&] { (void)client.wait_idle(0ms); });
            all += not_refused("wait", [&] { (void)client.wait(TaskId{}, 0ms); });
            all += not_refused("result", [&] { (void)client.result<Other>(TaskId{}); });
            all += not_refused("on_finished", [&] { client.on_finished(TaskId{}, [](const auto&) {}); });
            all += not_refused("install", [&] { client.install(); });
            all += not_refused("register_queue", [&] { client.register_queue<Other>([](const Other&) {}); });
            all += not_refused("Transaction", [&] { backlite::Transaction(client, host); });
            if (transaction) {
                all += not_refused("commit", [&] { transaction->commit(); });
                transaction.reset();
            }
            return all;
        });
        CHECK(complaints == "");
        if (transaction) {
            client.add(Work{"a"}).tx(*transaction).save();
            transaction->commit();
            ++added;
        }
        if (!complaints.empty()) break;
    }
    over = true;
    for (std::thread& user : users) user.join();
    CHECK(eventually([&] { return ran == added; }));
    CHECK(client.stop(1h));
    Look look(file);
    CHECK(look.tasks() == 0);
    CHECK(look.completed("succeeded = 1") == added);
    CHECK(look.integrity() == "ok");
}

TEST_CASE("fork: a client that was never started refuses its calls in the child too") {
    const TempFolder folder;
    Client client{quick(folder.file("q.db"))};
    CHECK(in_child([&] {
              return not_refused("save", [&] { client.add(Work{"a"}).save(); }) +
                     not_refused("start", [&] { client.start(); }) + not_refused("stop", [&] { client.stop(0ms); }) +
                     not_refused("status", [&] { (void)client.status(TaskId{}); });
          }) == "");
    CHECK(client.counts().empty());
}

TEST_CASE_METHOD(Story,
                 "fork: the destructor in the child returns, and the parent's tasks, locks and file are unharmed") {
    Gate gate;
    auto client = std::make_unique<Client>(config);
    const OpensAtEnd opens(gate);
    client->register_queue<Work>([&](const Work& work) {
        journal.note(work.name);
        if (work.name == "long") gate.pass();
    });
    const TaskId id = client->add(Work{"long"}).save().front();
    client->start();
    REQUIRE(journal.await("long"));
    for (int i = 0; i < 3; ++i) {
        CHECK(in_child([&] {
                  client.reset();
                  return std::string{"returned"};
              }) == "returned");
    }
    // Whoever starts now would rescue the claims of the dead.
    {
        Client observer{config};
        observer.start();
        CHECK(observer.stop(1h));
    }
    CHECK(log->count({"rescued"}) == 0);
    CHECK(client->status(id) == TaskStatus::running);
    gate.open();
    client->add(Work{"next"}).save();
    CHECK(journal.await("next"));
    CHECK(client->stop(1h));
    CHECK(client->status(id) == TaskStatus::succeeded);
    CHECK(journal.count("long") == 1);
    CHECK(Look(file).integrity() == "ok");
}

TEST_CASE_METHOD(Story, "fork: a child that lives on does not keep its dead parent's claims") {
    Process worker([&](const Process::Inside& parent) {
        parent.wait();
        Client client{quick(file, 1)};
        client.register_queue<Work>([&](const Work&) {
            const pid_t child = ::fork();
            if (child == 0) {
                ::alarm(60);
                for (;;) ::pause();
            }
            parent.say(fmt::format("child {}", child));
            parent.say("inside");
            for (;;) ::pause();
        });
        client.start();
        for (;;) ::pause();
    });
    {
        Client client{quick(file)};
        client.add(Work{"a"}).save();
    }
    worker.next();
    REQUIRE(worker.await("inside"));
    const pid_t grandchild = static_cast<pid_t>(std::stol(worker.lines().front().substr(6)));
    worker.kill();
    REQUIRE(::kill(grandchild, 0) == 0);

    Client client{quick(file)};
    client.register_queue<Work>([&](const Work& work) { journal.note(work.name); });
    client.start();
    CHECK(journal.await("a"));
    CHECK(::kill(grandchild, SIGKILL) == 0);
    CHECK(client.stop(1h));
}

TEST_CASE_METHOD(Story, "fork: a child that comes back out of the processor ends, and the task is its parent's alone") {
    Client client{quick(file)};
    client.register_queue<Work>([&](const Work& work) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (work.name == "throws") throw std::runtime_error("in the child");
            return;
        }
        int status = 0;
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        journal.note(WIFEXITED(status) ? fmt::format("{} {}", work.name, WEXITSTATUS(status)) : "killed");
    });
    client.start();
    client.add(Work{"returns"}, Work{"throws"}).save();
    REQUIRE(journal.await_size(2));
    CHECK(client.stop(1h));
    CHECK(journal.count("returns 1") == 1);
    CHECK(journal.count("throws 1") == 1);
    CHECK(Look(file).completed("succeeded = 1 AND attempts = 1") == 2);
}

}  // namespace
