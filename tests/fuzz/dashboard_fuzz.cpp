// SPDX-License-Identifier: MIT
// Any bytes as a request to the dashboard, and as what its file holds. Every answer must be whole.
//     tests/fuzz/run 600 dashboard          ten minutes, once the targets are built as payload_fuzz.cpp says

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dashboard_rig.hpp>

namespace {

using namespace backlite::ui;
using backlite_test::FinishedRow;
using backlite_test::header_of;
using backlite_test::Markup;
using backlite_test::parse_markup;
using backlite_test::Rig;

void demand(bool holds, const char* what, const Response& response) {
    if (holds) return;
    fmt::print(stderr, "{}\n{} {}\n", what, response.status, response.body);
    std::abort();
}

void check(const Response& response) {
    demand(response.status != 500, "a status that nothing gives", response);
    for (const auto& [name, value] : response.headers) {
        demand(value.find_first_of(std::string_view{"\r\n\0", 3}) == std::string::npos, "a header is split", response);
    }
    const std::string type = header_of(response, "Content-Type");
    if (type == "application/json") demand(nlohmann::json::accept(response.body), "no JSON", response);
    if (!type.starts_with("text/html")) return;
    const Markup markup = parse_markup(response.body);
    demand(markup.fault.empty(), markup.fault.c_str(), response);
    demand(!markup.elements.contains("img") && !markup.elements.contains("iframe"), "a foreign element", response);
    demand(markup.elements.at("script") == 1, "a foreign script", response);
}

/// Takes pieces off the front of the input.
struct Input {
    std::string_view rest;
    std::string piece() {
        const std::size_t end = rest.find('\n');
        const std::string text{rest.substr(0, end)};
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        return text;
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Rig& rig = *new Rig;
    Input input{{reinterpret_cast<const char*>(data), size}};
    Request request;
    request.method = "GET";
    request.target = "/" + input.piece();
    request.remote_addr = "127.0.0.1";
    request.headers = {{"Host", "localhost"}, {"Accept", input.piece()}, {"If-None-Match", input.piece()}};
    check(rig.dashboard->handle(request));

    const std::string text = input.piece();
    rig.database.execute("DELETE FROM backlite_tasks; DELETE FROM backlite_tasks_completed");
    rig.add({.id = text, .queue = input.piece(), .created_at = Rig::now - 5, .payload = std::string{input.rest}});
    rig.finish(FinishedRow{
        .id = text, .queue = text, .executed_at = Rig::now - 5, .payload = std::string{input.rest}, .error = text});
    for (const char* path : {"/", "/upcoming", "/failed", "/search?q=a"}) check(rig.ask(path));
    check(rig.ask(Link("", "/task/").part(text).str()));
    check(rig.ask(Link("", "/task/").part(text).str(), {{"Accept", "application/json"}}));
    check(rig.dashboard->handle({input.piece(), text, {{"Host", text}}, text}));
    return 0;
}
