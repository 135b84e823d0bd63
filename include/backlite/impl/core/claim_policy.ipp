// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/core/claim_policy.hpp>.

#include <backlite/core/claim_policy.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace core {

BACKLITE_DECL store::ClaimRequest ClaimPolicy::request(const PoolLoad& load, const store::QueueHead* head,
                                                       bool worker_wanted) const noexcept {
    store::ClaimRequest request;
    request.beside = load.neighbours();
    request.limit = request.beside.free_workers;
    // Room for three eighths is enough: then the next batch comes before workers have run out of this one. With
    // less, there are more commits; with more, workers wait.
    if (suspended_ || worker_wanted || load.ready * 8 > ahead_ * 5) return request;
    const detail::Us left = budget_ - load.ready_work;
    if (head == nullptr || head->only_for_free_workers() || head->cost > left) return request;
    const std::size_t left_bytes = most_ahead_bytes - (std::min)(load.ready_bytes, most_ahead_bytes);
    if (left_bytes == 0 || left_bytes < left_bytes_) return request;
    request.ahead = left;
    request.ahead_bytes = left_bytes;
    request.limit += ahead_ - load.ready;
    return request;
}

BACKLITE_DECL void ClaimPolicy::claimed(const store::ClaimRequest& request, const store::ClaimResult& result) noexcept {
    left_bytes_ = result.left_bytes;
    const bool ahead = request.limit > request.beside.free_workers;
    const bool dry = request.beside.free_workers > 0 && result.tasks.size() == request.limit;
    if (ahead && dry) ahead_ = (std::min)(ahead_ * 2, most_ahead);
}

}  // namespace core
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
