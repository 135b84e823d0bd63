// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/flow.hpp>.

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <new>

#include <backlite/base/format.hpp>
#include <backlite/base/names.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/flow.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/store.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

namespace detail {

/// A record of a step that has returned, of one that failed for good, and of one that waits: its JSON begins so.
inline constexpr std::string_view record_done = "{\"v\":";
inline constexpr std::string_view record_failed = "{\"f\":";

[[nodiscard]] inline std::string record_of_value(const std::string& json) {
    return std::string{record_done} + json + '}';
}
[[nodiscard]] inline std::string record_of_wait(Ms due) { return "{\"d\":" + std::to_string(due.count()) + '}'; }

/// What a record of one of the first two kinds holds.
[[nodiscard]] inline std::string inside_of(const std::string& record) {
    return record.size() <= record_done.size()
               ? std::string{}
               : record.substr(record_done.size(), record.size() - record_done.size() - 1);
}
static_assert(record_done.size() == record_failed.size());

/// Errors: UsageError without a client.
[[nodiscard]] inline const QueueConfig& queue_of(const engine::Engine* engine, const Context& context) {
    if (engine == nullptr || !context.has_claim()) throw UsageError("Flow: this context belongs to no client");
    return engine->queues()[engine->queues().find(context.queue())].config();
}

/// A number of a record; nullopt if it has none of that name.
[[nodiscard]] inline std::optional<std::int64_t> number_in(const std::string& record, const char* name) {
    try {
        const auto json = parse_payload<nlohmann::json>(record);
        const auto found = json.find(name);
        if (found != json.end() && found->is_number_integer()) return found->get<std::int64_t>();
    } catch (const nlohmann::json::exception&) {
    } catch (const std::runtime_error&) {
    }
    return std::nullopt;
}

}  // namespace detail

BACKLITE_DECL StepFailed::StepFailed(std::string step, int occurrence, const std::string& reason)
    : Error(detail::format("step \"{}\" (occurrence {}) has failed: {}", {step, occurrence, reason})),
      step_(std::move(step)),
      occurrence_(occurrence) {}

BACKLITE_DECL ChildrenFailed::ChildrenFailed(std::string step, int occurrence, std::vector<FailedChild> children)
    : StepFailed(std::move(step), occurrence,
                 detail::format("{} of its tasks did not succeed; the first one: {}",
                                {children.size(), children.empty() ? std::string{} : children.front().error})),
      children_(std::move(children)) {}

BACKLITE_DECL Flow::Flow(Context& context)
    : context_(context), engine_(context.attempt_.engine.lock()), queue_(detail::queue_of(engine_.get(), context)) {}

BACKLITE_DECL detail::Ms Flow::now() const { return detail::to_ms(engine_->clock().now()); }

BACKLITE_DECL std::string Flow::key() const {
    return inside_ == nullptr ? context_.task_id().str() : context_.task_id().str() + '/' + inside_->key;
}

BACKLITE_DECL void Flow::load() {
    constexpr std::size_t page = 1'000;
    store::NameRange names = store::NameRange::with_prefix(detail::flow_values);
    for (;;) {
        std::vector<detail::SavedValue> found = engine_->store().saved(context_.task_id(), names, page);
        const bool last = found.size() < page;
        if (!last) names.first = found.back().name + '\0';
        for (detail::SavedValue& value : found) {
            records_.emplace(value.name.substr(detail::flow_values.size()), std::move(value.json).value_or(""));
        }
        if (last) break;
    }
    const auto take = [&](std::string_view name) {
        const auto found = records_.find(std::string{name.substr(detail::flow_values.size())});
        if (found == records_.end()) return std::optional<std::string>{};
        std::optional<std::string> record = std::move(found->second);
        records_.erase(found);
        return record;
    };
    cancelled_ = take(detail::flow_cancelled).has_value() || context_.stop_reason() == StopReason::cancelled;
    if (const auto why = take(detail::flow_failed)) {
        try {
            failed_ = detail::read_json<std::string>(*why);
        } catch (const std::exception&) {
            failed_ = *why;
        }
    }
    static_cast<void>(take(detail::flow_waits));
    static_cast<void>(take(detail::flow_joins));
}

BACKLITE_DECL auto Flow::enter(std::string_view kind, std::string_view name) -> Place {
    const auto misused = [&](std::string_view why) {
        UsageError refusal(detail::format("queue \"{}\": Flow::{} \"{}\": {}",
                                          {context_.queue(), kind, detail::shown(name, detail::longest_name), why}));
        refusal.set_subject(context_.queue(), context_.task_id().str());
        throw refusal;
    };
    if (std::this_thread::get_id() != thread_) misused("called on another thread than the flow's");
    if (suspension_ != Suspension::none) throw Suspended{};
    if (inside_ != nullptr) misused(detail::format("called inside of step \"{}\"", {inside_->name}));
    if (const auto why = detail::why_no_name(name)) misused(detail::format("the name {}", {*why}));
    Place place{std::string{name}, 1, {}};
    place.occurrence = ++met_[{std::string{kind}, place.name}];
    place.key = detail::format("{}:{}#{}", {kind, name, place.occurrence});
    return place;
}

BACKLITE_DECL const std::string* Flow::find(const Place& place) {
    const auto found = records_.find(place.key);
    if (found == records_.end()) return nullptr;
    ++reached_;
    return &found->second;
}

BACKLITE_DECL void Flow::begin() {
    check_stop();
    if ((cancelled_ || failed_) && !undoing_) suspend(Suspension::undo);
}

BACKLITE_DECL void Flow::check_stop() {
    switch (context_.stop_reason()) {
        case StopReason::stopping: suspend(Suspension::stop);
        case StopReason::claim_lost: suspend(Suspension::lost);
        case StopReason::cancelled: cancelled_ = true; return;
        case StopReason::timeout: suspend(Suspension::until, now());  // of an earlier step: the token is used up
        case StopReason::none: break;
    }
}

BACKLITE_DECL void Flow::suspend(Suspension why, detail::Ms until, std::string_view signal) {
    suspension_ = why;
    until_ = until;
    signal_ = signal;
    throw Suspended{};
}

BACKLITE_DECL Outcome Flow::suspended() const {
    switch (suspension_) {
        case Suspension::until: {
            Outcome outcome = Outcome::snooze_until(detail::from_ms(until_));
            outcome.reason_ = signal_;
            return outcome;
        }
        case Suspension::stop:
        case Suspension::lost:
        case Suspension::undo:
        case Suspension::none: break;
    }
    return Outcome::retry("the flow was interrupted");
}

BACKLITE_DECL detail::SavedValue Flow::record_of(const Place& place, std::string record) const {
    return {std::string{detail::flow_values} + place.key, std::move(record)};
}

BACKLITE_DECL void Flow::write(const Place& place, std::string record) {
    const std::array<detail::SavedValue, 1> values{record_of(place, std::move(record))};
    write(values);
}

BACKLITE_DECL void Flow::write(std::span<const detail::SavedValue> values) {
    const detail::ClaimKey claim{context_.task_id(), context_.attempt_.claim};
    bool held = false;
    try {
        held = engine_->store().save({claim, now(), values, true}, {engine_->config().busy_timeout, {}});
    } catch (const StorageError& error) {
        // The step may run again, which is the store's fault and spends no attempt.
        detail::SafeLogger(engine_->config().logger)(
            LogLevel::warning, "a flow's step could not be kept: it is tried again",
            {{"id", context_.task_id().str()}, {"queue", context_.queue()}, {"error", error.what()}});
        suspend(Suspension::until, now() + Duration{std::chrono::seconds{1}});
    }
    if (!held) suspend(Suspension::lost);
}

BACKLITE_DECL std::optional<std::string> Flow::perform(const Place& place, const StepOptions& options, const Work& work,
                                                       SQLite::Database* database) {
    const int most = options.max_attempts.value_or(context_.max_attempts());
    const Duration timeout = options.timeout.value_or(queue_.timeout);
    if (most < 1 || timeout < Duration::zero()) {
        throw ConfigError(detail::format("queue \"{}\": step \"{}\": max_attempts is {}, timeout {} ms",
                                         {context_.queue(), place.name, most, timeout.count()}));
    }
    int spent = 0;
    if (const std::string* const record = find(place)) {
        if (record->starts_with(detail::record_done)) {
            return detail::inside_of(*record);
        }
        if (record->starts_with(detail::record_failed)) {
            throw StepFailed(place.name, place.occurrence, read<std::string>(place, detail::inside_of(*record)));
        }
        const detail::Ms due = due_of(place, *record);
        spent = static_cast<int>((std::clamp)(detail::number_in(*record, "n").value_or(0), std::int64_t{0},
                                              std::int64_t{(std::numeric_limits<int>::max)() - 1}));
        begin();
        if (due > now()) suspend(Suspension::until, due);
    }
    begin();
    std::string json;
    if (const auto thrown = attempt(place, timeout, work, json, database))
        fail_step(place, options, spent + 1, *thrown);
    if (database != nullptr) return std::nullopt;
    write(place, detail::record_of_value(json));
    return std::nullopt;
}

BACKLITE_DECL std::optional<std::string> Flow::attempt(const Place& place, Duration timeout, const Work& work,
                                                       std::string& json, SQLite::Database* database) {
    struct Inside {
        Flow& flow;
        ~Inside() {
            flow.inside_ = nullptr;
            flow.context_.arm({});
        }
    };
    inside_ = &place;
    const Inside inside{*this};
    context_.arm(timeout);
    try {
        if (database == nullptr) {
            json = work();
        } else if (!attempt_within(place, work, json, *database)) {
            suspend(Suspension::lost);
        }
        if (json.size() > engine_->max_payload()) {
            return detail::format("its value has {} bytes, more than ClientConfig::max_payload allows ({})",
                                  {json.size(), engine_->max_payload()});
        }
        return std::nullopt;
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (const Suspended&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (...) {
        const StopReason reason = context_.stop_reason();
        if (reason == StopReason::stopping) suspend(Suspension::stop);
        if (reason == StopReason::claim_lost) suspend(Suspension::lost);
        if (reason == StopReason::cancelled && !undoing_) {
            cancelled_ = true;
            suspend(Suspension::undo);
        }
        return detail::current_error();
    }
}

BACKLITE_DECL bool Flow::attempt_within(const Place& place, const Work& work, std::string& json,
                                        SQLite::Database& database) {
    const detail::ClaimKey claim{context_.task_id(), context_.attempt_.claim};
    Transaction transaction(context_.client(), database);
    json = work();
    const std::array<detail::SavedValue, 1> values{record_of(place, detail::record_of_value(json))};
    if (!engine_->store().save_within({&database}, {claim, now(), values, true})) return false;
    transaction.commit();
    return true;
}

BACKLITE_DECL void Flow::fail_step(const Place& place, const StepOptions& options, int spent,
                                   const std::string& reason) {
    constexpr std::size_t longest = 4'096;
    const std::string text = detail::shown(reason, longest);
    const int most = options.max_attempts.value_or(context_.max_attempts());
    if (spent >= most) {
        write(place, std::string{detail::record_failed} + detail::write_json(text) + '}');
        throw StepFailed(place.name, place.occurrence, text);
    }
    Duration wait{std::chrono::seconds{1}};
    try {
        const Backoff& backoff = options.backoff ? *options.backoff : queue_.backoff;
        wait = (std::max)(backoff.delay(spent, platform::random_seed()), Duration::zero());
    } catch (const std::exception&) {  // a host's own function: a second it is
    }
    const detail::Ms due = detail::due_after(engine_->clock().now(), wait);
    write(place, "{\"d\":" + std::to_string(due.count()) + ",\"n\":" + std::to_string(spent) +
                     ",\"e\":" + detail::write_json(text) + '}');
    suspend(Suspension::until, due);
}

BACKLITE_DECL detail::Ms Flow::due_of(const Place& place, const std::string& record) const {
    const std::optional<std::int64_t> due = detail::number_in(record, "d");
    if (!due) cannot_read(place, "a time", "the record is damaged");
    return detail::Ms{*due};
}

BACKLITE_DECL detail::Ms Flow::due_after(const Place& place, Duration time) const {
    const detail::Ms due = detail::due_after(engine_->clock().now(), time);
    if (time < Duration::zero() || due == detail::Ms::latest()) {
        throw ConfigError(detail::format("queue \"{}\": Flow, \"{}\": {} ms is negative or too long",
                                         {context_.queue(), place.name, time.count()}));
    }
    return due;
}

BACKLITE_DECL void Flow::sleep_for(const Place& place, Duration time) {
    detail::Ms due{};
    if (const std::string* const record = find(place)) {
        due = due_of(place, *record);
        if (due <= now()) return;
        begin();
    } else {
        begin();
        due = due_after(place, time);
        write(place, detail::record_of_wait(due));
        if (due <= now()) return;
    }
    suspend(Suspension::until, due);
}

BACKLITE_DECL std::optional<std::string> Flow::receive(const Place& place, Duration timeout) {
    std::optional<detail::Ms> due;
    if (const std::string* const record = find(place)) {
        if (record->starts_with(detail::record_done)) {
            return detail::inside_of(*record);
        }
        due = due_of(place, *record);
        if (*due == detail::Ms::earliest()) return std::nullopt;  // nothing has come in time
    }
    begin();
    const std::string waits{detail::flow_waits};
    std::vector<detail::SavedValue> signals =
        engine_->store().saved(context_.task_id(), store::NameRange::with_prefix(detail::signal_values(place.name)), 1);
    if (!signals.empty()) {
        detail::SavedValue& signal = signals.front();
        if (!signal.json) {
            cannot_read(
                place, "a signal",
                detail::format("it has {} bytes, more than ClientConfig::max_payload allows", {signal.oversize}));
        }
        const std::array<detail::SavedValue, 3> values{
            {record_of(place, detail::record_of_value(*signal.json)), {std::move(signal.name), {}}, {waits, {}}}};
        write(values);
        return std::move(signal.json);
    }
    const bool new_wait = !due;
    if (new_wait) due = due_after(place, timeout);
    if (*due <= now()) {
        const std::array<detail::SavedValue, 2> values{
            {record_of(place, detail::record_of_wait(detail::Ms::earliest())), {waits, {}}}};
        write(values);
        return std::nullopt;
    }
    if (new_wait) {
        const std::array<detail::SavedValue, 2> values{
            {record_of(place, detail::record_of_wait(*due)), {waits, detail::write_json(place.name)}}};
        write(values);
    }
    suspend(Suspension::until, *due, place.name);
}

BACKLITE_DECL void Flow::join(const Place& place, std::size_t count,
                              const std::function<void(AddOp& op, std::size_t from, std::size_t to)>& push) {
    constexpr std::size_t chunk = 5'000;
    const std::string joins{detail::flow_joins};
    const auto number = [](std::size_t n) { return std::to_string(n); };
    std::size_t added = 0;
    bool begun = false;
    if (const std::string* const record = find(place)) {
        const auto known = detail::number_in(*record, "n");
        if (known != static_cast<std::int64_t>(count)) {
            cannot_read(place, "so many tasks",
                        detail::format("there were {}, and now {}", {known.value_or(-1), count}));
        }
        const auto part = detail::number_in(*record, "k");
        if (!part) return;  // all have ended
        added = static_cast<std::size_t>((std::clamp)(*part, std::int64_t{0}, *known));
        begun = true;
    }
    check_stop();
    if (begun && (cancelled_ || failed_)) cancel_children();
    begin();
    for (bool first = added < count; added < count;) {
        const std::size_t to = (std::min)(count, added + chunk);
        AddOp op(*engine_);
        push(op, added, to);
        op.join({{context_.task_id(), context_.attempt_.claim},
                 {record_of(place, "{\"n\":" + number(count) + ",\"k\":" + number(to) + '}'), {joins, place.key}},
                 added});
        try {
            static_cast<void>(op.save());
        } catch (const ClaimLost&) {
            suspend(Suspension::lost);
        } catch (const StorageError&) {
            suspend(Suspension::until, now() + Duration{std::chrono::seconds{1}});
        }
        added = to;
        if (added < count) check_stop();
        if (added == count && first) suspend(Suspension::until, now());
    }
    const store::Patience patience{engine_->config().busy_timeout, {}};
    if (!engine_->store().parents_of(context_.task_id(), {}, 1, patience).empty()) {
        suspend(Suspension::until, now() + Duration{std::chrono::seconds{1}});  // somebody has woken it by hand
    }
    const std::array<detail::SavedValue, 2> values{{record_of(place, "{\"n\":" + number(count) + '}'), {joins, {}}}};
    write(values);
}

BACKLITE_DECL void Flow::collect(const Place& place, std::size_t count,
                                 const std::function<void(const std::string& json)>& take) {
    constexpr std::size_t page = 1'000;
    const std::string prefix = detail::result_values(place.key);
    store::NameRange names = store::NameRange::with_prefix(prefix);
    std::vector<FailedChild> failed;
    std::size_t next = 0;
    const auto missing = [&](std::size_t until) {
        for (; next < until; ++next) failed.push_back({{}, detail::format("what task {} returned is gone", {next})});
    };
    for (bool more = true; more;) {
        std::vector<detail::SavedValue> found = engine_->store().saved(context_.task_id(), names, page);
        more = found.size() == page;
        if (more) names.first = found.back().name + '\0';
        for (const detail::SavedValue& value : found) {
            const std::string digits = value.name.substr(prefix.size());
            std::size_t number = 0;
            std::from_chars(digits.data(), digits.data() + digits.size(), number);
            if (count > 0) missing((std::min)(number, count));
            next = number + 1;
            const std::string record = value.json.value_or("");
            if (record.starts_with(detail::record_done)) {
                if (count > 0 && failed.empty()) take(detail::inside_of(record));
                continue;
            }
            FailedChild child{{}, "its result cannot be read"};
            try {
                const auto json = detail::parse_payload<nlohmann::json>(record);
                child = {TaskId::from_text(json.at("i").get<std::string>()), json.at("e").get<std::string>()};
            } catch (const std::bad_alloc&) {
                throw;
            } catch (const std::exception&) {  // it is as it was
            }
            failed.push_back(std::move(child));
        }
    }
    if (count > 0) missing(count);
    if (!failed.empty()) throw ChildrenFailed(place.name, place.occurrence, std::move(failed));
}

BACKLITE_DECL void Flow::cancel_children() {
    constexpr int page = 500;
    std::string after;
    for (;;) {
        const std::vector<TaskId> children =
            engine_->store().parents_of(context_.task_id(), after, page, {engine_->config().busy_timeout, {}});
        if (children.empty()) return;
        for (const TaskId& child : children) static_cast<void>(engine_->cancel(child));
        after = children.back().str();
    }
}

BACKLITE_DECL Outcome Flow::run(const std::function<Outcome()>& body) {
    context_.arm({});  // the queue's timeout is each step's
    try {
        load();
    } catch (const StorageError&) {
        return Outcome::snooze(std::chrono::seconds{1});
    }
    std::optional<Outcome> outcome;
    std::optional<std::string> failed;
    std::exception_ptr thrown;
    std::string text;
    try {
        outcome.emplace(body());
        if (outcome->kind() == Outcome::Kind::discard) failed = outcome->reason();
        if (outcome->kind() == Outcome::Kind::retry || outcome->kind() == Outcome::Kind::retry_in) {
            text = outcome->reason();
        }
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (const Suspended&) {
    } catch (const StepFailed& error) {
        failed = error.what();
    } catch (const std::bad_alloc&) {
        thrown = std::current_exception();
    } catch (...) {
        thrown = std::current_exception();
        text = detail::current_error();
    }
    // From here on only what was noted counts, whatever the function made of it.
    if (suspension_ == Suspension::until || suspension_ == Suspension::stop || suspension_ == Suspension::lost) {
        return suspended();
    }
    if (failed_) return undo_all(*failed_);
    const bool succeeded = suspension_ == Suspension::none && outcome && outcome->kind() == Outcome::Kind::success;
    if ((cancelled_ || context_.stop_reason() == StopReason::cancelled) && !succeeded) return undo_all({});
    const bool last = context_.attempt() >= context_.max_attempts() && context_.stop_reason() == StopReason::none;
    if (!failed && last && !text.empty()) failed = text;
    if (failed) return undo_all(*failed);
    if (thrown) std::rethrow_exception(thrown);
    tell_unreached();
    return std::move(*outcome);
}

BACKLITE_DECL Outcome Flow::undo_all(const std::string& why) {
    suspension_ = Suspension::none;
    undoing_ = true;
    std::string text = why.empty() ? "cancelled" : why;
    try {
        if (!failed_ && !why.empty() && !undos_.empty()) {
            const std::array<detail::SavedValue, 1> values{
                {{std::string{detail::flow_failed}, detail::write_json(why)}}};
            write(values);
        }
        for (auto undo = undos_.rbegin(); undo != undos_.rend(); ++undo) {
            try {
                static_cast<void>(perform(undo->place, undo->options, [&] {
                    undo->call();
                    return std::string{"null"};
                }));
            } catch (const StepFailed& error) {
                text += detail::format("; undo \"{}\" failed too: {}", {undo->place.name, error.what()});
            }
        }
    } catch (const Suspended&) {
        return suspended();
    }
    return Outcome::discard(text);
}

BACKLITE_DECL void Flow::tell_unreached() const {
    if (records_.size() <= reached_) return;
    detail::SafeLogger(engine_->config().logger)(
        LogLevel::warning, "a flow has ended without reaching steps that it has recorded",
        {{"id", context_.task_id().str()}, {"queue", context_.queue()}, {"steps", records_.size() - reached_}});
}

BACKLITE_DECL void Flow::cannot_read(const Place& place, std::string_view type, const std::string& why) const {
    Error refusal(
        detail::format("queue \"{}\": step \"{}\" (occurrence {}): what is kept of it cannot be read as {}: {}",
                       {context_.queue(), place.name, place.occurrence, type, why}));
    refusal.set_subject(context_.queue(), context_.task_id().str());
    throw refusal;
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
