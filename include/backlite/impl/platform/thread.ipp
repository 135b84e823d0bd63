// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/platform/thread.hpp>.

#include <system_error>
#include <utility>

#include <pthread.h>
#include <signal.h>

#include <backlite/base/format.hpp>
#include <backlite/error.hpp>
#include <backlite/platform/thread.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace platform {

BACKLITE_DECL ThreadList::Scope::Scope(ThreadList& list) : list_(list) {
    const detail::LockGuard lock(list_.mutex_);
    next_ = list_.first_;
    if (next_ != nullptr) next_->previous_ = this;
    list_.first_ = this;
}

BACKLITE_DECL ThreadList::Scope::~Scope() {
    const detail::LockGuard lock(list_.mutex_);
    (previous_ != nullptr ? previous_->next_ : list_.first_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
}

BACKLITE_DECL bool ThreadList::has_this_thread() const noexcept {
    const detail::LockGuard lock(mutex_);
    const Scope* scope = first_;
    while (scope != nullptr && scope->thread_ != std::this_thread::get_id()) scope = scope->next_;
    return scope != nullptr;
}

BACKLITE_DECL void refuse_cancellation() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr); }

BACKLITE_DECL void ThreadBody::operator()() const {
    refuse_cancellation();
    name_this_thread(name);
    const ThreadList::Scope scope(*own);
    body();
}

BACKLITE_DECL std::jthread start_thread(std::shared_ptr<ThreadList> own, const std::string& name,
                                        std::function<void()> body) {
    // A new thread inherits the mask, so it is set before the thread exists: no signal can slip in.
    struct MaskScope {
        sigset_t before{};
        MaskScope() {
            sigset_t blocked;
            sigfillset(&blocked);
            for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) {
                sigdelset(&blocked, own);
            }
            pthread_sigmask(SIG_SETMASK, &blocked, &before);
        }
        ~MaskScope() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    } const mask;
    try {
        return std::jthread(ThreadBody{std::move(own), name, std::move(body)});
    } catch (const std::system_error& error) {
        throw Error(detail::format("the thread \"{}\" cannot be started: {}", {name, error.code().message()}));
    }
}

}  // namespace platform
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
