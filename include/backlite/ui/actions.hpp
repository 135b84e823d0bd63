// SPDX-License-Identifier: MIT
#pragma once
// Actions: carries out orders through Admin, tells of them, and signs what only this file's dashboards hand out.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/admin.hpp>
#include <backlite/admin_values.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/schedule.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/action_record.hpp>
#include <backlite/ui/order.hpp>
#include <backlite/ui/signature.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// Threads: any, at once.
class Actions {
public:
    static constexpr std::size_t most_changed = 10'000;  ///< tasks at one order, and some hundred more
    static constexpr std::chrono::seconds act_time{5};   ///< and about so long

    /// Errors: StorageError if the file has no secret and takes none.
    Actions(std::optional<Admin> admin, Audit audit, std::shared_ptr<Clock> clock, backlite::detail::SafeLogger log)
        : admin_(std::move(admin)),
          audit_(std::move(audit)),
          clock_(std::move(clock)),
          log_(std::move(log)),
          secret_(admin_ ? admin_->secret() : std::string{}) {}

    [[nodiscard]] explicit operator bool() const noexcept { return admin_.has_value(); }

    /// The file that they are on. REQUIRES: there are any.
    [[nodiscard]] const std::string& file() const { return admin_->client().config().database; }

    /// The schedules of the file, by name. REQUIRES: there are any actions. Errors: StorageError.
    [[nodiscard]] std::vector<ScheduleInfo> schedules() const { return admin_->client().schedules(); }

    /// What a form must bring: each day and each person have their own. All processes on the file make the same.
    [[nodiscard]] std::string form_token(std::string_view who, Ms now) const { return token_of(who, day_of(now)); }

    /// Whether a form brings that of today or of yesterday.
    [[nodiscard]] bool knows(std::string_view token, std::string_view who, Ms now) const {
        return same_secret(token, token_of(who, day_of(now))) || same_secret(token, token_of(who, day_of(now) - 1));
    }

    /// A text for an address that nobody else can make up.
    [[nodiscard]] std::string with_signature(const std::string& text) const { return text + '.' + sign("did " + text); }

    /// The text of `with_signature`; empty for all others.
    [[nodiscard]] std::string signed_text(std::string_view given) const;

    /// Does what is ordered, in bounded transactions and no more than the bounds above, and tells of it, also if it
    /// fails. `words`: which tasks. Errors: as Admin's; what is done by then stays done.
    [[nodiscard]] Done carry_out(const Order& order, const std::vector<TaskFilter>& filters, const std::string& words,
                                 const std::string& who) const;

private:
    [[nodiscard]] std::string sign(std::string_view text) const { return signature(secret_, text).substr(0, 32); }

    static std::int64_t day_of(Ms now) noexcept { return now.count() / 86'400'000; }

    [[nodiscard]] std::string token_of(std::string_view who, std::int64_t day) const {
        return sign(fmt::format("form {} {}", day, who));
    }

    /// Adds what it did to `done`, also where it throws.
    void act(const Order& order, const std::vector<TaskFilter>& filters, Done& done) const;

    [[nodiscard]] Affected act_on(const Order& order, const TaskId& id) const;
    [[nodiscard]] Affected act_on(const Order& order, const TaskFilter& filter, const Bulk& bulk) const;

    void tell(const Done& done, const std::string& words, const std::string& who, const std::string& failure) const;

    // constant after construction
    const std::optional<Admin> admin_;
    const Audit audit_;
    const std::shared_ptr<Clock> clock_;
    const backlite::detail::SafeLogger log_;
    const std::string secret_;  // of the file; empty if there are none
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/actions.ipp>
#endif
