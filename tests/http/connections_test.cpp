// SPDX-License-Identifier: MIT
// Many connections to the dashboard behind the real cpp-httplib: open pages, slow ones, and all at once. Each test
// takes some seconds; BACKLITE_SECONDS makes it longer. What was measured is printed.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/mount.hpp>

#include <backlite_catch.hpp>
#include <dashboard_rig.hpp>

namespace {

using namespace backlite::ui;
using namespace std::chrono_literals;
using backlite_test::Rig;
using Steady = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

std::chrono::seconds duration() {
    const char* text = std::getenv("BACKLITE_SECONDS");
    return std::chrono::seconds{text != nullptr ? std::max(1, std::atoi(text)) : 5};
}

/// A server, as a host that has pages of its own beside the dashboard makes it.
struct Host {
    explicit Host(Dashboard& dashboard, bool prepared) {
        if (prepared) prepare(server);
        server.Get("/own", [](const httplib::Request&, httplib::Response& response) {
            response.set_content("of the host", "text/plain");
        });
        mount(server, dashboard, "/tasks");
        port = backlite::ui::bind(server, dashboard, "127.0.0.1", 0);
        thread = std::thread([this] { server.listen_after_bind(); });
        while (!server.is_running()) std::this_thread::sleep_for(1ms);
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    ~Host() {
        server.stop();
        thread.join();
    }

    httplib::Server server{};
    int port = 0;
    std::thread thread{};
};

/// One connection. What does not come within twenty seconds fails.
class Connection {
public:
    explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const timeval patience{20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        open_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { ::close(fd_); }

    bool send(std::string_view text) {
        open_ = open_ && ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
        return open_;
    }

    /// The status of an answer, read to its end; 0 if none came.
    int answer() {
        std::string text;
        std::size_t whole = std::string::npos;
        while (text.size() < whole) {
            char buffer[65'536];
            const ssize_t size = ::recv(fd_, buffer, sizeof buffer, 0);
            if (size <= 0) {
                open_ = false;
                return 0;
            }
            text.append(buffer, static_cast<std::size_t>(size));
            const std::size_t head = text.find("\r\n\r\n");
            if (whole != std::string::npos || head == std::string::npos) continue;
            const std::size_t length = text.find("Content-Length: ");
            whole = head + 4 + (length < head ? std::strtoul(text.c_str() + length + 16, nullptr, 10) : 0);
            if (text.find("Connection: close") < head) closing_ = true;
        }
        return std::atoi(text.c_str() + text.find(' '));
    }

    [[nodiscard]] bool open() const noexcept { return open_; }
    [[nodiscard]] bool closing() const noexcept { return closing_; }  ///< the server has said so

private:
    int fd_;
    bool open_ = false;
    bool closing_ = false;
};

std::string get(std::string_view path) { return fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path); }

/// What many clients saw.
struct Seen {
    void add(Seconds time, int status) {
        const std::lock_guard lock(mutex);
        if (status == 200) {
            times.push_back(time.count());
        } else {
            ++failed;
        }
    }

    double worst() { return times.empty() ? 1e9 : *std::max_element(times.begin(), times.end()); }

    void print(std::string_view what) {
        std::sort(times.begin(), times.end());
        REQUIRE_FALSE(times.empty());
        fmt::print("{}: {} answers, {} failed, median {:.0f} ms, p90 {:.0f} ms, worst {:.0f} ms\n", what, times.size(),
                   failed, times[times.size() / 2] * 1e3, times[times.size() * 9 / 10] * 1e3, worst() * 1e3);
    }

    std::mutex mutex{};
    std::vector<double> times{};
    int failed = 0;
};

/// Threads that go on for the duration of the test; `look` is called again and again with each one's number.
template <class Look>
void crowd(int size, Look look) {
    const auto end = Steady::now() + duration();
    std::vector<std::thread> threads;
    for (int i = 0; i < size; ++i) {
        threads.emplace_back([&, i] { look(i, end); });
    }
    for (std::thread& thread : threads) thread.join();
}

void pause_until(Steady::time_point next, Steady::time_point end) {
    std::this_thread::sleep_until(std::min(next, end));
}

/// An open page: it asks each two seconds, and keeps its connection unless it is told that it closes.
void view(int port, std::string_view path, int number, Steady::time_point end, bool stubborn, Seen& seen) {
    std::unique_ptr<Connection> connection;
    pause_until(Steady::now() + number * 100ms % 2'000ms, end);
    for (; Steady::now() < end; pause_until(Steady::now() + 2s, end)) {
        const auto start = Steady::now();
        if (!connection || !connection->open() || (connection->closing() && !stubborn)) {
            connection = std::make_unique<Connection>(port);
        }
        // A kept connection may be closed just then: a browser asks once more.
        int status = connection->send(get(path)) ? connection->answer() : 0;
        if (status == 0) {
            connection = std::make_unique<Connection>(port);
            status = connection->send(get(path)) ? connection->answer() : 0;
        }
        seen.add(Steady::now() - start, status);
        if (connection->closing() && !stubborn) connection.reset();
    }
}

/// Asks ten times a second, as a monitor would seldom do, on a connection of its own each time.
void monitor(int port, std::string_view path, Steady::time_point end, Seen& seen) {
    for (; Steady::now() < end; pause_until(Steady::now() + 100ms, end)) {
        const auto start = Steady::now();
        Connection connection(port);
        const int status = connection.send(get(path)) ? connection.answer() : 0;
        seen.add(Steady::now() - start, status);
    }
}

void fill(Rig& rig) {
    for (int i = 0; i < 200; ++i) rig.add({.id = fmt::to_string(i), .queue = "mail", .created_at = Rig::now - i});
}

TEST_CASE("connections: pages that are left open hold up nobody (alone)") {
    Rig rig;
    fill(rig);
    for (const int viewers : {9, 20, 200}) {
        CAPTURE(viewers);
        Host host(*rig.dashboard, true);
        Seen pages;
        Seen health;
        crowd(viewers + 1, [&](int i, Steady::time_point end) {
            if (i == viewers) return monitor(host.port, "/tasks/health", end, health);
            view(host.port, i % 2 == 0 ? "/tasks/" : "/tasks/upcoming", i, end, false, pages);
        });
        pages.print(fmt::format("{} pages left open", viewers));
        health.print("    and /health");
        CHECK(pages.failed == 0);
        CHECK(health.failed == 0);
        CHECK(health.worst() < 1.0);
    }
}

TEST_CASE("connections: pages that are left open hold no thread of a host's own server (alone)") {
    Rig rig;
    fill(rig);
    Host host(*rig.dashboard, false);
    Seen pages;
    Seen own;
    crowd(21, [&](int i, Steady::time_point end) {
        if (i == 20) return monitor(host.port, "/own", end, own);
        view(host.port, "/tasks/", i, end, false, pages);
    });
    pages.print("20 pages on a server as it comes");
    own.print("    and a page of the host");
    CHECK(pages.failed == 0);
    CHECK(own.failed == 0);
    CHECK(own.worst() < 1.0);
}

TEST_CASE("connections: clients that keep what they are told closes hold up nobody (alone)") {
    Rig rig;
    Host host(*rig.dashboard, true);
    Seen pages;
    Seen health;
    crowd(201, [&](int i, Steady::time_point end) {
        if (i == 200) return monitor(host.port, "/tasks/health", end, health);
        view(host.port, "/tasks/health", i, end, true, pages);
    });
    pages.print("200 clients that do not close");
    health.print("    and /health");
    CHECK(health.failed == 0);
    CHECK(health.worst() < 1.0);
}

TEST_CASE("connections: requests that come byte by byte hold up nobody (alone)") {
    Rig rig;
    Host host(*rig.dashboard, true);
    Seen health;
    std::vector<std::unique_ptr<Connection>> slow;
    const auto begin = [&](std::unique_ptr<Connection>& connection) {
        connection = std::make_unique<Connection>(host.port);
        connection->send("GET /tasks/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX");
    };
    slow.resize(200);
    for (auto& connection : slow) begin(connection);
    crowd(2, [&](int i, Steady::time_point end) {
        if (i == 1) return monitor(host.port, "/tasks/health", end, health);
        for (; Steady::now() < end; pause_until(Steady::now() + 2s, end)) {
            for (auto& connection : slow) {
                if (!connection->send("a")) begin(connection);
            }
        }
    });
    health.print("/health beside 200 slow requests");
    CHECK(health.failed == 0);
    CHECK(health.worst() < 1.0);
}

TEST_CASE("connections: two hundred clients at once are all answered, and health at once (alone)") {
    Rig rig;
    fill(rig);
    Host host(*rig.dashboard, true);
    const auto look = [&](Seconds& took) {
        const auto start = Steady::now();
        Connection connection(host.port);
        const int status = connection.send(get("/tasks/")) ? connection.answer() : 0;
        took = Steady::now() - start;
        return status;
    };
    // Who waits too long for a turn is told so: right where two hundred pages take seconds, as under a sanitizer.
    Seconds one{};
    for (int i = 0; i < 5; ++i) REQUIRE(look(one) == 200);
    const bool slow = 200 * one > 1s;
    Seen pages;
    Seen health;
    crowd(201, [&](int i, Steady::time_point end) {
        if (i == 200) return monitor(host.port, "/tasks/health", end, health);
        while (Steady::now() < end) {
            Seconds took{};
            const int status = look(took);
            pages.add(took, slow && status == 503 && took > 1s ? 200 : status);
        }
    });
    pages.print("200 clients at once");
    health.print("    and /health");
    CHECK(pages.failed == 0);
    CHECK(pages.worst() < 15.0);
    CHECK(health.failed == 0);
    CHECK(health.worst() < 5.0);
}

}  // namespace
