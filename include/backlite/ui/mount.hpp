// SPDX-License-Identifier: MIT
#pragma once
// A dashboard on a server of cpp-httplib's shape. No header of that library is included: any server with its functions
// will do. On servers of other shapes a handler fills a ui::Request, calls Dashboard::handle, and sends the
// ui::Response.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/base/guards.hpp>
#include <backlite/clock.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/socket.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Lets `server` answer everything at and below `base`: empty for the whole server, or such as "/tasks".
/// Each answer closes its connection, so that a page that is left open holds no thread of the server between its
/// questions. Nothing of the server itself is changed: see `prepare`.
/// REQUIRES: `dashboard` outlives the server's last request. The server has `Get`, `Post`, `Put`, `Patch`, `Delete` and
/// `Options`, each taking a regular expression and a function of a request (`method`, `target`, `headers`, `ranges`,
/// `remote_addr`, and `body` for actions), which is no constant object, and a response (`status`, `set_header`,
/// `set_content`), as cpp-httplib 0.11 and later have. If it has `HandlerWithContentReader` as they have, bodies are
/// read by that, and no more of them than the dashboard reads. Errors: ConfigError for a base path that cannot work.
template <class Server>
void mount(Server& server, Dashboard& dashboard, std::string base = {}) {
    Dashboard::check_path("the base path of a mounted dashboard", base);
    std::string pattern = "(?:https?://[^/]*)?";  // a proxy's form of a target (RFC 9112, 3.2.2)
    for (const char c : base) {
        if (c == '.') pattern += '\\';  // of what a base path may hold, the only sign with a meaning
        pattern += c;
    }
    pattern += base.empty() ? R"(/[\s\S]*)" : R"((/[\s\S]*)?)";
    const auto answer_with = [&dashboard, base = std::move(base)](const auto& from, auto& to, std::string body) {
        Request request;
        request.body = std::move(body);
        // The server leaves out the body of an answer to HEAD itself, and takes its length from the body.
        request.method = from.method == "HEAD" ? "GET" : from.method;
        request.target = from.target;
        request.remote_addr = from.remote_addr;
        for (const auto& [name, value] : from.headers) request.headers.emplace_back(name, value);
        // What comes after a handler goes by these: cpp-httplib cuts the body to a range, joins as many ranges as were
        // asked for (0.11 without a bound, and memory that runs out there ends the process), and compresses for minutes
        // what is large. It lends its own object, and needs neither any more.
        auto& rest = const_cast<std::remove_cvref_t<decltype(from)>&>(from);
        rest.ranges.clear();
        rest.headers.erase("Accept-Encoding");
        Response response = dashboard.handle(request, base);
        to.status = response.status;
        to.set_header("Connection", "close");
        std::string type = "text/plain";
        for (const auto& [name, value] : response.headers) {
            if (name == "Content-Type") {
                type = value;
            } else {
                to.set_header(name.c_str(), value);
            }
        }
        if (!response.body.empty()) to.set_content(std::move(response.body), type.c_str());
    };
    const auto answer = [answer_with](const auto& from, auto& to) { answer_with(from, to, {}); };
    server.Get(pattern, answer);
    if constexpr (requires { typename Server::HandlerWithContentReader; }) {
        // cpp-httplib takes forms of at most 8 kB otherwise, and other bodies of any size.
        typename Server::HandlerWithContentReader taker = [answer_with](const auto& from, auto& to,
                                                                        const auto& read_content) {
            std::string body;
            // What comes in parts is no order. cpp-httplib takes it apart itself, and throws if it is read like others.
            const bool in_parts = std::any_of(from.headers.begin(), from.headers.end(), [](const auto& header) {
                return same_name(header.first, "Content-Type") &&
                       same_name(std::string_view{header.second}.substr(0, 10), "multipart/");
            });
            const bool whole = in_parts || read_content([&body](const char* data, std::size_t size) {
                                   body.append(data, (std::min)(size, most_body + 1 - body.size()));
                                   return body.size() <= most_body;
                               });
            if (!whole && body.size() <= most_body) {
                // The rest did not come: an order without it may mean more than was ordered.
                to.status = 400;
                to.set_header("Connection", "close");
                to.set_content("The request is not whole.\n", "text/plain");
                return;
            }
            answer_with(from, to, std::move(body));
        };
        server.Post(pattern, std::move(taker));
    } else {
        server.Post(pattern, [answer_with](const auto& from, auto& to) {
            if constexpr (requires { std::string{from.body}; }) {
                answer_with(from, to, from.body);
            } else {
                answer_with(from, to, {});
            }
        });
    }
    server.Put(pattern, answer);
    server.Patch(pattern, answer);
    server.Delete(pattern, answer);
    server.Options(pattern, answer);
}

namespace detail {

/// Threads for connections, of which each has one to itself while it is served: `Queue` is the server's interface of
/// that. There are as many threads as were ever needed at once, up to a bound; at the bound no connection is taken up
/// until another one is done.
template <class Queue>
class ConnectionThreads final : public Queue {
    using Job = std::function<void()>;
    using Taken = decltype(std::declval<Queue&>().enqueue(std::declval<Job>()));  // nothing, or whether it was taken

public:
    /// At most `most` threads.
    explicit ConnectionThreads(std::size_t most) : most_(most) {}

    /// Called by the server's thread only, as is `shutdown`, which serves what is left.
    Taken enqueue(Job job) override {
        run(std::move(job));
        if constexpr (!std::is_void_v<Taken>) return true;
    }

    /// Ends the threads.
    void shutdown() override {
        {
            const backlite::detail::LockGuard lock(mutex_);
            ends_ = true;
        }
        work_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

private:
    void run(Job job) {
        backlite::detail::UniqueLock lock(mutex_);
        while (idle_ <= jobs_.size() && threads_.size() == most_)
            room_.wait_for(lock.native(), backlite::detail::longest_wait());
        if (idle_ <= jobs_.size()) {
            try {
                threads_.emplace_back([this] { work(); });
            } catch (const std::system_error&) {
                if (threads_.empty()) {  // the caller's thread is the only one there is
                    lock.unlock();
                    serve(job);
                    return;
                }
            }
        }
        jobs_.push_back(std::move(job));
        work_.notify_one();
    }

    void work() {
        backlite::detail::UniqueLock lock(mutex_);
        for (;;) {
            ++idle_;
            room_.notify_one();
            while (jobs_.empty() && !ends_) work_.wait_for(lock.native(), backlite::detail::longest_wait());
            --idle_;
            if (jobs_.empty()) return;
            const Job job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            serve(job);
            lock.lock();
        }
    }

    /// What escapes a server while it writes an answer, such as std::bad_alloc, ends that connection, not the process.
    static void serve(const Job& job) noexcept {
        try {
            job();
        } catch (...) {  // NOLINT(bugprone-empty-catch)
        }
    }

    const std::size_t most_;  // constant after construction

    backlite::detail::Mutex mutex_{};
    std::condition_variable work_{};
    std::condition_variable room_{};
    std::deque<Job> jobs_ BACKLITE_GUARDED_BY(mutex_){};
    std::size_t idle_ BACKLITE_GUARDED_BY(mutex_) = 0;
    bool ends_ BACKLITE_GUARDED_BY(mutex_) = false;

    std::vector<std::thread> threads_{};  // the server's thread only
};

}  // namespace detail

/// Prepares `server` for many connections at once, also idle and slow ones. cpp-httplib serves eight connections, and
/// gives each five idle seconds: the ninth page that somebody leaves open makes all others wait. With this each
/// connection has a thread of its own, up to 256; one that idles for a second, or stops for two within a request, is
/// closed.
/// REQUIRES: the server does not listen yet. The server has `new_task_queue`, `set_keep_alive_timeout` and
/// `set_read_timeout` as cpp-httplib has; what was set there is replaced.
template <class Server>
void prepare(Server& server) {
    using Queue = std::remove_pointer_t<decltype(server.new_task_queue())>;
    server.new_task_queue = [] { return new detail::ConnectionThreads<Queue>(256); };
    server.set_keep_alive_timeout(1);
    server.set_read_timeout(2);
}

/// Binds `server` to an address of this machine; port 0 takes a free one. Returns the port;
/// `server.listen_after_bind()` serves it. The port is not shared: cpp-httplib sets SO_REUSEPORT, with which two
/// programs on one port both seem to work and get half of the requests each; this replaces the server's socket options.
/// Errors: ConfigError naming address and port if they cannot be had, and if the address is reached from other machines
/// while the dashboard has no authorization.
template <class Server>
int bind(Server& server, const Dashboard& dashboard, const std::string& host, int port) {
    if (port < 0 || port > 65'535) throw ConfigError(fmt::format("port {} is not between 0 and 65535", port));
    if (host != "localhost" && !is_loopback(host) && !dashboard.authorizes()) {
        throw ConfigError(
            fmt::format("address {} can be reached from other machines, but the dashboard has no "
                        "authorization: set DashboardConfig::authorization, or use 127.0.0.1",
                        host));
    }
    const auto listening = std::make_shared<int>(-1);
    server.set_socket_options([listening](auto socket) {
        *listening = static_cast<int>(socket);
        platform::reuse_address(*listening);
    });
    int bound = port;
    if (port == 0) {
        bound = server.bind_to_any_port(host.c_str());
    } else if (!server.bind_to_port(host.c_str(), port)) {
        bound = -1;
    }
    if (bound > 0) {
        // cpp-httplib 0.11 lets five connections wait; the kernel drops the others, and they try again after a second,
        // then three, seven, fifteen. Whether this helps or not, the server listens.
        platform::wait_for_many(*listening);
        return bound;
    }
    const std::string why = platform::why_not_bound(host, port);
    throw ConfigError(
        fmt::format("cannot listen on {} port {}: {}", host, port, why.empty() ? "the server refused" : why));
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
