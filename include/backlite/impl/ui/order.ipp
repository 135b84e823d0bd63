// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/ui/order.hpp>.

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <backlite/base/shown.hpp>
#include <backlite/config.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/order.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

BACKLITE_DECL std::string_view to_string(Act act) noexcept {
    switch (act) {
        case Act::retry: return "retry";
        case Act::run_now: return "run_now";
        case Act::cancel: return "cancel";
        case Act::remove: return "remove";
        case Act::set_priority: return "set_priority";
        case Act::pause: return "pause";
        case Act::resume: return "resume";
        case Act::run_schedule: return "run_schedule";
        case Act::pause_schedule: return "pause_schedule";
        case Act::resume_schedule: break;
    }
    return "resume_schedule";
}

BACKLITE_DECL std::string_view button_text(Act act) noexcept {
    switch (act) {
        case Act::retry: return "Retry";
        case Act::run_now: return "Run now";
        case Act::cancel: return "Cancel";
        case Act::remove: return "Remove";
        case Act::set_priority: return "Set priority";
        case Act::pause: return "Pause this queue";
        case Act::resume: return "Resume this queue";
        case Act::run_schedule: return "Run now";
        case Act::pause_schedule: return "Pause";
        case Act::resume_schedule: break;
    }
    return "Resume";
}

BACKLITE_DECL std::string done_text(const Done& done) {
    if (done.act == Act::pause) return "The queue is paused.";
    if (done.act == Act::resume) return "The queue goes on.";
    if (done.act == Act::run_schedule) {
        return done.affected.count == 1 ? "A task of the schedule was added."
                                        : "No task was added: the one before is unfinished.";
    }
    if (is_of_schedule(done.act)) {
        if (done.affected.count == 0) return "There is no such schedule.";
        return done.act == Act::pause_schedule ? "The schedule is paused." : "The schedule goes on.";
    }
    const std::size_t count = done.affected.count;
    const std::string_view verb = done.act == Act::retry     ? "to be tried again"
                                  : done.act == Act::run_now ? "due now"
                                  : done.act == Act::cancel  ? "cancelled, or asked to stop"
                                  : done.act == Act::remove  ? "removed"
                                                             : "given the priority";
    std::string text =
        count == 0 ? "No task was changed" : fmt::format("{} task{} {}", grouped(count), count == 1 ? "" : "s", verb);
    if (done.affected.skipped > 0) {
        text += fmt::format("; {} did not allow it", grouped(done.affected.skipped));
    }
    return text + (done.more ? ". Not all in one go: order it again for the rest." : ".");
}

BACKLITE_DECL std::optional<Fields> form_fields(std::string_view body) {
    Fields fields;
    while (!body.empty()) {
        const std::size_t end = body.find('&');
        const std::string_view pair = body.substr(0, end);
        body = end == std::string_view::npos ? std::string_view{} : body.substr(end + 1);
        if (pair.empty()) continue;
        std::string with_blanks{pair};
        std::replace(with_blanks.begin(), with_blanks.end(), '+', ' ');
        const std::size_t sign = with_blanks.find('=');
        std::optional<std::string> name = percent_decoded(std::string_view{with_blanks}.substr(0, sign));
        std::optional<std::string> value = percent_decoded(
            sign == std::string::npos ? std::string_view{} : std::string_view{with_blanks}.substr(sign + 1));
        if (!name || !value) return std::nullopt;
        fields.emplace_back(std::move(*name), std::move(*value));
    }
    return fields;
}

namespace detail {

/// Takes a flat object as it is read, without a tree of it.
class FieldReader {
public:
    using Value = nlohmann::json;

    bool null() { return false; }
    bool boolean(bool value) { return take(value ? "yes" : "no"); }
    bool number_integer(Value::number_integer_t value) { return take(fmt::to_string(value)); }
    bool number_unsigned(Value::number_unsigned_t value) { return take(fmt::to_string(value)); }
    bool number_float(Value::number_float_t, const std::string&) { return false; }
    bool string(std::string& value) { return take(std::move(value)); }
    bool binary(Value::binary_t&) { return false; }
    bool start_object(std::size_t) { return !std::exchange(begun_, true); }
    bool key(std::string& name) {
        key_ = std::move(name);
        return true;
    }
    bool end_object() { return true; }
    bool start_array(std::size_t) { return begun_ && !std::exchange(in_list_, true); }
    bool end_array() {
        in_list_ = false;
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const Value::exception&) { return false; }

    [[nodiscard]] Fields take_fields() && { return std::move(fields_); }

private:
    bool take(std::string value) {
        if (!begun_) return false;
        fields_.emplace_back(key_, std::move(value));
        return true;
    }

    Fields fields_{};
    std::string key_{};
    bool begun_ = false;
    bool in_list_ = false;
};

}  // namespace detail

BACKLITE_DECL std::optional<Fields> json_fields(std::string_view body) {
    detail::FieldReader reader;
    if (!nlohmann::json::sax_parse(body.begin(), body.end(), &reader)) return std::nullopt;
    return std::move(reader).take_fields();
}

BACKLITE_DECL std::string read_order(const Fields& fields, Order& order) {
    using backlite::detail::shown;
    constexpr std::string_view lists[] = {"overview", "running", "upcoming", "succeeded",
                                          "failed",   "search",  "task",     "schedules"};
    constexpr std::string_view of_lists[] = {"q",     "queue", "state", "period", "since",
                                             "until", "ended", "zone",  "order",  "part"};
    std::vector<std::string> seen;
    bool known_act = false;
    for (const auto& [name, value] : fields) {
        if (name != "id" && std::find(seen.begin(), seen.end(), name) != seen.end()) {
            return fmt::format("The field \"{}\" comes twice.", shown(name, 64));
        }
        if (name != "id") seen.push_back(name);
        if (name == "do") {
            for (const Act act : all_acts) {
                if (to_string(act) != value) continue;
                order.act = act;
                known_act = true;
            }
            if (!known_act) return fmt::format("There is no action \"{}\".", shown(value, 64));
        } else if (name == "list") {
            if (std::find(std::begin(lists), std::end(lists), value) == std::end(lists)) {
                return fmt::format("There is no list \"{}\".", shown(value, 64));
            }
            order.list = value;
        } else if (name == "which") {
            if (value != "all" && value != "picked") {
                return fmt::format("which is \"{}\", and must be all or picked.", shown(value, 64));
            }
            order.all = value == "all";
        } else if (name == "id") {
            if (order.ids.size() == Order::most_ids) {
                return fmt::format("More than {} tasks are picked: name a list instead.", grouped(Order::most_ids));
            }
            order.ids.push_back(value);
        } else if (name == "priority") {
            if (value.empty()) continue;
            const std::optional<std::int64_t> number = parse_integer(value);
            if (!number || *number < least_priority || *number > most_priority) {
                return fmt::format("priority is \"{}\", and must be {} to {}.", shown(value, 64), least_priority,
                                   most_priority);
            }
            order.priority = static_cast<int>(*number);
        } else if (name == "confirm") {
            order.confirmed = value == "yes";
        } else if (name == "schedule") {
            order.schedule = value;
        } else if (name == "token") {
            order.token = value;
        } else if (std::find(std::begin(of_lists), std::end(of_lists), name) != std::end(of_lists)) {
            if (!value.empty()) order.where.query.emplace_back(name, value);
        } else {
            return fmt::format("There is no field \"{}\".", shown(name, 64));
        }
    }
    const auto given = [&](std::string_view name) {
        return std::any_of(fields.begin(), fields.end(),
                           [&](const auto& field) { return field.first == name && !field.second.empty(); });
    };
    if (!known_act) return "The field \"do\" is missing: what is to be done?";
    if (is_of_schedule(order.act)) {
        if (order.schedule.empty()) return "No schedule is picked.";
        return order.all || !order.ids.empty() ? "This is for schedules, not for tasks." : "";
    }
    if (is_of_queue(order.act)) {
        if (order.where.get("queue").empty()) return "The field \"queue\" is missing.";
        return order.all || !order.ids.empty() ? "Pauses are of queues, not of tasks." : "";
    }
    if (order.act == Act::set_priority && !given("priority")) return "The field \"priority\" is missing.";
    if (order.all) {
        if (order.list.empty() || order.list == "overview" || order.list == "task" || order.list == "schedules") {
            return "The field \"list\" must say which list is meant.";
        }
        return "";
    }
    return order.ids.empty() ? "No task is picked." : "";
}

BACKLITE_DECL bool is_from_own_page(const Headers& headers, std::string_view host,
                                    const std::vector<std::string>& names) {
    const auto count = [&](std::string_view name) {
        return std::count_if(headers.begin(), headers.end(),
                             [&](const auto& header) { return same_name(header.first, name); });
    };
    if (count("Sec-Fetch-Site") > 0) return only_header(headers, "Sec-Fetch-Site") == "same-origin";
    if (count("Origin") == 0) return true;
    std::string_view origin = only_header(headers, "Origin").value_or("");
    const std::size_t scheme = origin.find("://");
    if (scheme == std::string_view::npos || !origin.starts_with("http")) return false;
    origin.remove_prefix(scheme + 3);
    if (same_name(origin, host)) return true;
    // A proxy may have changed Host; names of this machine do not count, since others listen on it too.
    const std::string name = detail::lower(origin.substr(0, origin.rfind(':')));
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
