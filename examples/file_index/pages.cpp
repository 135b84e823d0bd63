// SPDX-License-Identifier: MIT
#include "pages.hpp"

#include <stdexcept>

#ifdef FILE_INDEX_HAS_HTTPLIB

#include <thread>

#include <httplib.h>

#include <backlite/backlite.hpp>
#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/mount.hpp>

namespace file_index {

struct Pages::Impl {
    Impl(backlite::Client& client, int wanted)
        : dashboard(client),
          port((backlite::ui::prepare(server), backlite::ui::mount(server, dashboard), bind(wanted))),
          thread([this] { server.listen_after_bind(); }) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() {
        while (!server.is_running()) std::this_thread::yield();  // before that, a stop would be overlooked
        server.stop();
    }

    int bind(int wanted) { return backlite::ui::bind(server, dashboard, "127.0.0.1", wanted); }

    backlite::ui::Dashboard dashboard;
    httplib::Server server{};
    int port;
    std::jthread thread;
};

Pages::Pages(backlite::Client& client, int port) : impl_(std::make_unique<Impl>(client, port)) {}
std::string Pages::address() const {
    return "http://127.0.0.1:" + std::to_string(impl_->port) + impl_->dashboard.entrance();
}

}  // namespace file_index

#else

namespace file_index {

struct Pages::Impl {};
Pages::Pages(backlite::Client&, int) {
    throw std::runtime_error("--dashboard: this program was built without cpp-httplib");
}
std::string Pages::address() const { return {}; }

}  // namespace file_index

#endif

namespace file_index {

Pages::~Pages() = default;

}  // namespace file_index
