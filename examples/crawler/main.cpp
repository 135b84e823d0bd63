// SPDX-License-Identifier: MIT
// A polite crawler: at most two requests at once and twenty a second to each host, and no page twice within a day.
//
//     crawler URL...    follows the links from there, on these hosts only; crawler.db keeps what is left for the next
//     run

#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <pthread.h>

#include <fmt/format.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>

using namespace std::chrono_literals;

struct Page {
    std::string url{};
    std::string host{};  // with its port, such as "127.0.0.1:8080"

    std::string unique_key() const { return url; }
    std::string partition() const { return host; }
    static backlite::QueueConfig config() {
        return {.name = "pages",
                .max_attempts = 4,
                .timeout = 20s,
                .backoff = backlite::Backoff::exponential({.initial = 500ms, .max = 10min}),
                .retention = backlite::Retention{.duration = 24h, .only_failed = true},
                .unique = {.conflict = backlite::Conflict::keep, .period = 24h},
                .limits = {.running_per_partition = 2, .rate_per_partition = {.count = 20, .period = 1s, .burst = 5}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Page, url, host)

// "http://host/path", without what is behind a '#'; nullopt: not such a URL.
std::optional<Page> page_at(const std::string& url) {
    static const std::regex parts{"http://([A-Za-z0-9.-]+(?::[0-9]+)?)(/[^#\\s]*)?(?:#.*)?"};
    std::smatch match;
    if (!std::regex_match(url, match, parts)) return std::nullopt;
    return Page{fmt::format("http://{}{}", match.str(1), match[2].matched ? match.str(2) : "/"), match.str(1)};
}

// The pages that a text of HTML links to: by whole URLs, and by paths that begin with '/'.
std::vector<Page> links_in(const std::string& html, const Page& from) {
    static const std::regex link{"href=\"([^\"]+)\""};
    std::vector<Page> found;
    for (std::sregex_iterator at{html.begin(), html.end(), link}, end; at != end; ++at) {
        const std::string to = at->str(1);
        if (const auto page = page_at(to.front() == '/' ? "http://" + from.host + to : to)) found.push_back(*page);
    }
    return found;
}

backlite::Outcome fetch(const backlite::Context& context, const Page& page, const std::set<std::string>& hosts) {
    httplib::Client site{"http://" + page.host};
    site.set_read_timeout(15s);
    const httplib::Result result = site.Get(page.url.substr(("http://" + page.host).size()));
    if (!result) throw std::runtime_error(page.url + ": " + httplib::to_string(result.error()));
    if (result->status == 429) return backlite::Outcome::rate_limited(1s);  // closes the host, and spends no attempt
    if (result->status >= 500) throw std::runtime_error(fmt::format("{}: status {}", page.url, result->status));
    if (result->status != 200) return backlite::Outcome::discard(fmt::format("status {}", result->status));

    std::vector<Page> next;
    for (Page& link : links_in(result->body, page)) {
        if (hosts.contains(link.host)) next.push_back(std::move(link));
    }
    std::size_t added = 0;
    for (const backlite::AddResult& add : context.client().add(next).save_results()) {
        if (add.as == backlite::AddedAs::inserted) ++added;
    }
    std::cout << fmt::format("{}: {} bytes, {} new links\n", page.url, result->body.size(), added) << std::flush;
    return backlite::Outcome::success();
}

int crawl(const std::vector<Page>& seeds) {
    sigset_t signals{};
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    std::set<std::string> hosts;
    for (const Page& seed : seeds) hosts.insert(seed.host);
    backlite::Client client{{.database = "crawler.db", .num_workers = 8}};
    client.register_queue<Page>(
        [&hosts](const backlite::Context& context, const Page& page) { return fetch(context, page, hosts); });
    client.add(seeds).save();  // a page of an earlier run that is too young is not there again
    client.start();
    const timespec pause{0, 100'000'000};
    while (!client.counts().empty()) {
        if (sigtimedwait(&signals, nullptr, &pause) > 0) break;  // what is left waits for the next run
    }
    return client.stop(20s) ? 0 : 1;
}

int main(int argc, char** argv) {
    std::vector<Page> seeds;
    for (int i = 1; i < argc; ++i) {
        const auto page = page_at(argv[i]);
        if (!page) {
            std::cerr << "crawler: not a URL of http: " << argv[i] << '\n';
            return 2;
        }
        seeds.push_back(*page);
    }
    if (seeds.empty()) {
        std::cerr << "usage: crawler URL...\n";
        return 2;
    }
    try {
        return crawl(seeds);
    } catch (const std::exception& error) {
        std::cerr << "crawler: " << error.what() << '\n';
        return 1;
    }
}
