// SPDX-License-Identifier: MIT
#include <array>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <signal.h>

#include <backlite/platform/thread.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using platform::start_thread;
using platform::ThreadList;

const auto own = std::make_shared<ThreadList>();

std::string own_name() {
    std::array<char, 32> name{};
    pthread_getname_np(pthread_self(), name.data(), name.size());
    return name.data();
}

bool blocked(int signal) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, signal) == 1;
}

TEST_CASE("start_thread: the thread has its name") {
    std::string name;
    start_thread(own, "backlite-w0", [&] { name = own_name(); }).join();
    CHECK(name == "backlite-w0");
}

TEST_CASE("start_thread: a name too long for the system is cut") {
    std::string name;
    start_thread(own, "backlite-worker-17", [&] { name = own_name(); }).join();
    CHECK(name == "backlite-worker");
}

TEST_CASE("start_thread: the thread hears no signal that is sent to the process") {
    std::vector<int> heard;
    start_thread(own, "x", [&] {
        for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE}) {
            if (!blocked(each)) heard.push_back(each);
        }
    }).join();
    CHECK(heard.empty());
}

TEST_CASE("start_thread: the thread hears what it causes itself, and what it is measured by") {
    std::vector<int> deaf;
    start_thread(own, "x", [&] {
        for (const int each : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) {
            if (blocked(each)) deaf.push_back(each);
        }
    }).join();
    CHECK(deaf.empty());
}

TEST_CASE("start_thread: whoever starts the thread hears what it heard before") {
    const bool before = blocked(SIGUSR1);
    start_thread(own, "x", [] {}).join();
    CHECK(blocked(SIGUSR1) == before);
    sigset_t usr2;
    sigset_t old;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, &old);
    start_thread(own, "x", [] {}).join();
    const bool still = blocked(SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    CHECK(still);
}

TEST_CASE("start_thread: the thread is listed, whoever starts it is not") {
    bool listed = false;
    start_thread(own, "x", [&] { listed = own->has_this_thread(); }).join();
    CHECK(listed);
    CHECK_FALSE(own->has_this_thread());
}

TEST_CASE("start_thread: the list lives as long as the thread") {
    auto list = std::make_shared<ThreadList>();
    std::promise<void> dropped;
    std::jthread thread = start_thread(list, "x", [&] { dropped.get_future().wait(); });
    const std::weak_ptr<ThreadList> seen = list;
    list.reset();
    CHECK_FALSE(seen.expired());
    dropped.set_value();
    thread.join();
    CHECK(seen.expired());
}

TEST_CASE("ThreadList: a scope lists its thread for its length, in each list that it is in") {
    ThreadList one;
    ThreadList other;
    CHECK_FALSE(one.has_this_thread());
    {
        const ThreadList::Scope outer(one);
        {
            const ThreadList::Scope inner(other);
            CHECK(one.has_this_thread());
            CHECK(other.has_this_thread());
            const ThreadList::Scope again(one);
            CHECK(one.has_this_thread());
        }
        CHECK(one.has_this_thread());
        CHECK_FALSE(other.has_this_thread());
    }
    CHECK_FALSE(one.has_this_thread());
}

TEST_CASE("ThreadList: scopes of several threads end in any order") {
    ThreadList list;
    std::optional<ThreadList::Scope> first(std::in_place, list);
    bool before = true;
    bool listed = false;
    bool after = true;
    std::jthread([&] {
        before = list.has_this_thread();
        {
            const ThreadList::Scope second(list);
            first.reset();
            listed = list.has_this_thread();
        }
        after = list.has_this_thread();
    }).join();
    CHECK_FALSE(before);
    CHECK(listed);
    CHECK_FALSE(after);
    CHECK_FALSE(list.has_this_thread());
}

TEST_CASE("ThreadList: a thread stays listed while others are listed after it, and before") {
    ThreadList list;
    const ThreadList::Scope first(list);
    bool listed = false;
    bool still = false;
    std::jthread([&] {
        const ThreadList::Scope second(list);
        std::jthread([&] {
            const ThreadList::Scope third(list);
            listed = list.has_this_thread();
        }).join();
        std::promise<void> seen;
        std::promise<void> listed_too;
        std::jthread later([&] {
            const ThreadList::Scope third(list);
            listed_too.set_value();
            seen.get_future().wait();
        });
        listed_too.get_future().wait();
        still = list.has_this_thread();
        seen.set_value();
    }).join();
    CHECK(listed);
    CHECK(still);
    CHECK(list.has_this_thread());
}

}  // namespace
