// SPDX-License-Identifier: MIT
#pragma once
// Order: what a request wants done, as a form or a JSON object says it. Nothing is done here.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/admin_values.hpp>
#include <backlite/ui/request.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// What can be done: to tasks, to a queue, and the last three to a schedule.
enum class Act {
    retry,
    run_now,
    cancel,
    remove,
    set_priority,
    pause,
    resume,
    run_schedule,
    pause_schedule,
    resume_schedule
};

inline constexpr Act all_acts[] = {Act::retry,          Act::run_now,        Act::cancel, Act::remove,
                                   Act::set_priority,   Act::pause,          Act::resume, Act::run_schedule,
                                   Act::pause_schedule, Act::resume_schedule};

/// Its name in requests, such as "run_now".
[[nodiscard]] std::string_view to_string(Act act) noexcept;

/// What its button says.
[[nodiscard]] std::string_view button_text(Act act) noexcept;

[[nodiscard]] constexpr bool is_of_queue(Act act) noexcept { return act == Act::pause || act == Act::resume; }

[[nodiscard]] constexpr bool is_of_schedule(Act act) noexcept { return act >= Act::run_schedule; }

[[nodiscard]] constexpr bool is_of_tasks(Act act) noexcept { return !is_of_queue(act) && !is_of_schedule(act); }

/// What came of an order.
struct Done {
    Act act = Act::retry;
    Affected affected{};
    bool more = false;  ///< it has stopped at a bound: some may be left
};

/// "3 tasks were retried; 1 was skipped."
[[nodiscard]] std::string done_text(const Done& done);

using Fields = std::vector<std::pair<std::string, std::string>>;

/// The fields of a form (application/x-www-form-urlencoded). nullopt if it is none.
[[nodiscard]] std::optional<Fields> form_fields(std::string_view body);

/// The fields of a JSON object of strings, whole numbers, truth values (`yes` and `no`), and lists of strings, which
/// are several fields of one name. nullopt for all else.
[[nodiscard]] std::optional<Fields> json_fields(std::string_view body);

struct Order {
    static constexpr std::size_t most_ids = 1'000;

    Act act = Act::retry;
    std::string list{};  ///< the page that it was given on: what `all` means, and where the answer leads
    bool all = false;    ///< all tasks of that list instead of `ids`
    std::vector<std::string> ids{};
    int priority = 0;
    bool confirmed = false;
    std::string token{};
    std::string schedule{};
    Target where{};  ///< what narrows the list, by the names in its address

    /// Whether a page asks first.
    [[nodiscard]] bool needs_confirmation() const noexcept {
        return is_of_tasks(act) && (all || act == Act::cancel || act == Act::remove);
    }
};

/// Reads an order. Returns what is wrong with it; empty: nothing. A field that is not known is wrong, and one that
/// comes twice: whoever sent it meant something else than what would be done.
[[nodiscard]] std::string read_order(const Fields& fields, Order& order);

/// Whether a request comes from a page of this dashboard, as far as the browser says: by Sec-Fetch-Site, or else by
/// Origin. Programs and old browsers say nothing. `names`: as for host_is_allowed, what proxies call it.
[[nodiscard]] bool is_from_own_page(const Headers& headers, std::string_view host,
                                    const std::vector<std::string>& names);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/order.ipp>
#endif
