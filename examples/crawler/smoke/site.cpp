// SPDX-License-Identifier: MIT
// crawler_site CRAWLER WORK: serves three hosts, lets CRAWLER crawl them in the folder WORK, interrupts it once, and
// looks at what they were asked for. Each has pages that link to each other and to the next host, and to one that is
// missing.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <httplib.h>

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr int pages = 40;

/// One host, and what it was asked for.
struct Site {
    httplib::Server server{};
    int port = 0;
    std::atomic<int> at_once{0};
    std::atomic<int> most_at_once{0};
    std::mutex mutex{};
    std::map<std::string, int> asked{};
    std::vector<Steady::time_point> times{};

    /// The most requests in any second.
    int most_in_a_second() const {
        std::size_t most = 0;
        for (std::size_t first = 0, last = 0; last < times.size(); ++last) {
            while (times[last] - times[first] >= 1s) ++first;
            most = (std::max)(most, last - first + 1);
        }
        return static_cast<int>(most);
    }
};

void serve(Site& site, const Site& next) {
    site.server.Get("/(\\d*)", [&](const httplib::Request& request, httplib::Response& response) {
        const int now = ++site.at_once;
        int most = site.most_at_once;
        while (most < now && !site.most_at_once.compare_exchange_weak(most, now)) {
        }
        bool first = false;
        {
            const std::lock_guard lock(site.mutex);
            site.times.push_back(Steady::now());
            first = ++site.asked[request.path] == 1;
        }
        std::this_thread::sleep_for(5ms);
        const int page = request.path == "/" ? 0 : std::stoi(request.path.substr(1));
        if (page >= pages) {
            response.status = 404;
        } else if (page == 7 && first) {
            response.status = 503;  // asked again, it answers
        } else if (page == 9 && first) {
            response.status = 429;
        } else {
            response.set_content(
                fmt::format("<a href=\"/{}\"></a><a href=\"/{}#part\"></a><a href=\"http://127.0.0.1:{}/\"></a>"
                            "<a href=\"http://elsewhere.invalid/\"></a><a href=\"mailto:somebody\"></a>",
                            (page + 1) % pages, page == 3 ? pages : (2 * page) % pages, next.port),
                "text/html");
        }
        --site.at_once;
    });
}

/// Starts `crawler` for the first page of each; its number.
pid_t start(const std::string& crawler, const std::array<Site, 3>& sites) {
    std::vector<std::string> words{crawler};
    for (const Site& site : sites) words.push_back(fmt::format("http://127.0.0.1:{}/", site.port));
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = -1;
    return posix_spawn(&child, crawler.c_str(), nullptr, nullptr, arguments.data(), environ) == 0 ? child : -1;
}

bool ends_well(pid_t child) {
    int status = -1;
    return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const std::string crawler = std::filesystem::absolute(argv[1]).string();
    std::filesystem::remove_all(argv[2]);
    std::filesystem::create_directories(argv[2]);
    std::filesystem::current_path(argv[2]);

    std::array<Site, 3> sites;
    std::vector<std::thread> threads;
    for (Site& site : sites) site.port = site.server.bind_to_any_port("127.0.0.1");
    for (std::size_t i = 0; i < sites.size(); ++i) {
        serve(sites[i], sites[(i + 1) % sites.size()]);
        threads.emplace_back([&site = sites[i]] { site.server.listen_after_bind(); });
    }
    for (Site& site : sites) {
        while (!site.server.is_running()) std::this_thread::sleep_for(1ms);
    }

    const pid_t first = start(crawler, sites);
    std::this_thread::sleep_for(700ms);
    if (first > 0) ::kill(first, SIGTERM);
    bool good = ends_well(first);
    good = ends_well(start(crawler, sites)) && good;  // goes on where the first one stopped
    for (Site& site : sites) site.server.stop();
    for (std::thread& thread : threads) thread.join();

    for (const Site& site : sites) {
        int twice = 0;
        for (const auto& [path, times] : site.asked) twice += path != "/7" && path != "/9" && times > 1 ? 1 : 0;
        fmt::print("{} pages, {} of them twice, at most {} at once and {} in a second\n", site.asked.size(), twice,
                   site.most_at_once.load(), site.most_in_a_second());
        good = good && site.asked.size() == pages + 2 && twice == 0 && site.most_at_once <= 2 &&
               site.most_in_a_second() <= 40;  // 25 start; without the limit they would be hundreds
    }
    return good ? 0 : 1;
}
