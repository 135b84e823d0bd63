// SPDX-License-Identifier: MIT
#include <array>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <signal.h>

#include <backlite/runtime/thread.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;
using runtime::current_engine;
using runtime::EngineScope;
using runtime::start_thread;

const int one_engine = 1;
const int other_engine = 2;

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
    start_thread(&one_engine, "backlite-w0", [&] { name = own_name(); }).join();
    CHECK(name == "backlite-w0");
}

TEST_CASE("start_thread: a name too long for the system is cut") {
    std::string name;
    start_thread(&one_engine, "backlite-worker-17", [&] { name = own_name(); }).join();
    CHECK(name == "backlite-worker");
}

TEST_CASE("start_thread: the thread hears no signal that is sent to the process") {
    std::vector<int> heard;
    start_thread(&one_engine, "x", [&] {
        for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE}) {
            if (!blocked(each)) heard.push_back(each);
        }
    }).join();
    CHECK(heard.empty());
}

TEST_CASE("start_thread: the thread hears what it causes itself, and what it is measured by") {
    std::vector<int> deaf;
    start_thread(&one_engine, "x", [&] {
        for (const int each : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) {
            if (blocked(each)) deaf.push_back(each);
        }
    }).join();
    CHECK(deaf.empty());
}

TEST_CASE("start_thread: whoever starts the thread hears what it heard before") {
    const bool before = blocked(SIGUSR1);
    start_thread(&one_engine, "x", [] {}).join();
    CHECK(blocked(SIGUSR1) == before);
    sigset_t usr2;
    sigset_t old;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, &old);
    start_thread(&one_engine, "x", [] {}).join();
    const bool still = blocked(SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    CHECK(still);
}

TEST_CASE("start_thread: the thread knows its engine, whoever starts it does not become one of it") {
    const void* seen = nullptr;
    start_thread(&one_engine, "x", [&] { seen = current_engine(); }).join();
    CHECK(seen == &one_engine);
    CHECK(current_engine() == nullptr);
}

TEST_CASE("EngineScope: marks its thread for its length, and may be nested") {
    CHECK(current_engine() == nullptr);
    {
        const EngineScope outer(&one_engine);
        CHECK(current_engine() == &one_engine);
        {
            const EngineScope inner(&other_engine);
            CHECK(current_engine() == &other_engine);
        }
        CHECK(current_engine() == &one_engine);
    }
    CHECK(current_engine() == nullptr);
}

TEST_CASE("EngineScope: other threads are not marked") {
    const EngineScope scope(&one_engine);
    const void* seen = &one_engine;
    std::jthread([&] { seen = current_engine(); }).join();
    CHECK(seen == nullptr);
}

}  // namespace
