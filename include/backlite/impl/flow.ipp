// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/flow.hpp>.

#include <algorithm>
#include <array>
#include <exception>
#include <new>

#include <backlite/base/format.hpp>
#include <backlite/base/json.hpp>
#include <backlite/base/shown.hpp>
#include <backlite/core/child_results.hpp>
#include <backlite/core/flow_history.hpp>
#include <backlite/engine/engine.hpp>
#include <backlite/flow.hpp>
#include <backlite/platform/random.hpp>
#include <backlite/platform/thread.hpp>
#include <backlite/store/store.hpp>
#include <backlite/transaction.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL std::string Flow::key() const {
    return inside_ == nullptr ? context_.task_id().str() : context_.task_id().str() + '/' + inside_->key;
}

BACKLITE_DECL void Flow::demand_sound(const Place& place, const StepOptions& options) const {
    const int most = options.max_attempts.value_or(context_.max_attempts());
    const Duration timeout = options.timeout.value_or(queue_.timeout);
    if (most >= 1 && timeout >= Duration::zero()) return;
    throw ConfigError(detail::format("queue \"{}\": step \"{}\": max_attempts is {}, timeout {} ms",
                                     {context_.queue(), place.name, most, timeout.count()}));
}

BACKLITE_DECL void Flow::add_undo(Undo undo) {
    demand_sound(undo.place, undo.options);
    undos_.push_back(std::move(undo));
}

BACKLITE_DECL std::optional<std::string> Flow::perform(const Place& place, const StepOptions& options, const Work& work,
                                                       SQLite::Database* database) {
    demand_sound(place, options);
    int spent = 0;
    if (const std::string* const record = find(place)) {
        if (record->starts_with(core::record_done)) {
            return core::inside_of(*record);
        }
        if (record->starts_with(core::record_failed)) {
            throw StepFailed(place.name, place.occurrence, read<std::string>(place, core::inside_of(*record)));
        }
        const detail::Ms due = due_of(place, *record);
        spent = static_cast<int>((std::clamp)(core::number_in(*record, "n").value_or(0), std::int64_t{0},
                                              std::int64_t{(std::numeric_limits<int>::max)() - 1}));
        begin();
        if (due > now()) suspend(Suspension::until, due);
    }
    begin();
    std::string json;
    if (const auto thrown = attempt(place, options.timeout.value_or(queue_.timeout), work, json, database))
        fail_step(place, options, spent + 1, *thrown);
    if (database != nullptr) return std::nullopt;
    write(place, core::record_of_value(json));
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
            json = made_by(work);
        } else if (!attempt_within(place, work, json, *database)) {
            suspend(Suspension::lost);
        }
        return std::nullopt;
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (const Suspended&) {
        throw;
    } catch (const std::bad_alloc&) {
        if (!undoing_) throw;  // into an attempt of the queue; an undo has its own alone
        return "std::bad_alloc";
    } catch (...) {
        const StopReason reason = context_.stop_reason();
        if (reason == StopReason::stopping) suspend(Suspension::stop);
        if (reason == StopReason::claim_lost) suspend(Suspension::lost);
        if (reason == StopReason::cancelled) {
            if (undoing_) suspend(Suspension::stop);
            cancelled_ = true;
            suspend(Suspension::undo);
        }
        return detail::current_error();
    }
}

BACKLITE_DECL bool Flow::attempt_within(const Place& place, const Work& work, std::string& json,
                                        SQLite::Database& database) {
    const detail::ClaimKey claim{context_.task_id(), context_.attempt_.claim};
    std::optional<Transaction> transaction;
    try {
        transaction.emplace(context_.client(), database);
    } catch (const BusyError& error) {
        put_off(error);
    }
    json = made_by(work);
    const std::array<detail::SavedValue, 1> values{record_of(place, core::record_of_value(json))};
    try {
        if (!engine_->store().save_within({&database}, {claim, now(), values, true})) return false;
        transaction->commit();
    } catch (const StorageError& error) {
        // What may have landed must not be written over, and lack of room is nobody's fault.
        const bool refused = error.added() == Added::no && dynamic_cast<const BusyError*>(&error) == nullptr &&
                             dynamic_cast<const FullError*>(&error) == nullptr;
        if (refused) throw;
        put_off(error);
    }
    return true;
}

BACKLITE_DECL std::string Flow::made_by(const Work& work) const {
    std::string json = work();
    if (json.size() <= engine_->max_payload()) return json;
    throw EncodeError(detail::format("its value has {} bytes, more than ClientConfig::max_payload allows ({})",
                                     {json.size(), engine_->max_payload()}),
                      context_.queue());
}

BACKLITE_DECL void Flow::fail_step(const Place& place, const StepOptions& options, int spent,
                                   const std::string& reason) {
    constexpr std::size_t longest = 4'096;
    const std::string text = detail::shown(reason, longest);
    const int most = options.max_attempts.value_or(context_.max_attempts());
    if (spent >= most) {
        write(place, std::string{core::record_failed} + detail::text_json(text) + '}');
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
                     ",\"e\":" + detail::text_json(text) + '}');
    suspend(Suspension::until, due);
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
        write(place, core::record_of_wait(due));
        if (due <= now()) return;
    }
    suspend(Suspension::until, due);
}

BACKLITE_DECL std::optional<std::string> Flow::receive(const Place& place, Duration timeout) {
    std::optional<detail::Ms> due;
    if (const std::string* const record = find(place)) {
        if (record->starts_with(core::record_done)) {
            return core::inside_of(*record);
        }
        due = due_of(place, *record);
        if (*due == detail::Ms::earliest()) return std::nullopt;  // nothing has come in time
    }
    begin();
    const std::string waits{detail::flow_waits};
    std::vector<detail::SavedValue> signals =
        saved(store::NameRange::with_prefix(detail::signal_values(place.name)), 1);
    if (!signals.empty()) {
        detail::SavedValue& signal = signals.front();
        if (!signal.json) {
            cannot_read(
                place, "a signal",
                detail::format("it has {} bytes, more than ClientConfig::max_payload allows", {signal.oversize}));
        }
        const std::array<detail::SavedValue, 3> values{
            {record_of(place, core::record_of_value(*signal.json)), {std::move(signal.name), {}}, {waits, {}}}};
        write(values);
        return std::move(signal.json);
    }
    const bool new_wait = !due;
    if (new_wait) due = due_after(place, timeout);
    if (*due <= now()) {
        const std::array<detail::SavedValue, 2> values{
            {record_of(place, core::record_of_wait(detail::Ms::earliest())), {waits, {}}}};
        write(values);
        return std::nullopt;
    }
    // Another version of the program may have waited for another signal meanwhile.
    if (new_wait || !history_.waits_for(place.name)) {
        const std::array<detail::SavedValue, 2> values{
            {record_of(place, core::record_of_wait(*due)), {waits, detail::write_json(place.name)}}};
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
        const auto known = core::number_in(*record, "n");
        if (known != static_cast<std::int64_t>(count)) {
            cannot_read(place, "so many tasks",
                        detail::format("there were {}, and now {}", {known.value_or(-1), count}));
        }
        const auto part = core::number_in(*record, "k");
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
        } catch (const StorageError& error) {
            put_off(error);
        }
        added = to;
        if (added < count) check_stop();
        if (added == count && first) suspend(Suspension::until, now());
    }
    if (!children({}, 1).empty()) {
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
    core::ChildResults results(prefix, count, take);
    for (bool more = true; more;) {
        const std::vector<detail::SavedValue> found = saved(names, page);
        more = found.size() == page;
        if (more) names.first = found.back().name + '\0';
        for (const detail::SavedValue& value : found) results.add(value);
    }
    std::vector<FailedChild> failed = results.end();
    if (!failed.empty()) throw ChildrenFailed(place.name, place.occurrence, std::move(failed));
}

BACKLITE_DECL void Flow::cancel_children() {
    constexpr int page = 500;
    std::string after;
    for (;;) {
        const std::vector<TaskId> found = children(after, page);
        if (found.empty()) return;
        for (const TaskId& child : found) {
            static_cast<void>(unless_busy([&] { return engine_->cancel(child); }));
        }
        after = found.back().str();
    }
}

BACKLITE_DECL std::vector<TaskId> Flow::children(const std::string& after, int limit) {
    const store::Patience patience{engine_->config().busy_timeout, {}};
    return unless_busy([&] { return engine_->store().parents_of(context_.task_id(), after, limit, patience); });
}

BACKLITE_DECL Outcome Flow::run(const std::function<Outcome()>& body) {
    context_.arm({});  // the queue's timeout is each step's
    try {
        load();
    } catch (const Suspended&) {
        return suspended();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    }
    using Kind = Outcome::Kind;
    std::optional<Outcome> outcome;
    std::exception_ptr thrown;
    std::optional<std::string> why;  // it has failed
    bool for_good = false;
    try {
        outcome.emplace(body());
        const Kind kind = outcome->kind();
        for_good = kind == Kind::discard;
        if (for_good || kind == Kind::retry || kind == Kind::retry_in) why = outcome->reason();
    } catch (platform::ForcedUnwind&) {
        throw;
    } catch (const Suspended&) {
    } catch (const StepFailed& error) {
        why = error.what();
        for_good = true;
    } catch (const std::bad_alloc&) {
        thrown = std::current_exception();
        why = "std::bad_alloc";
    } catch (...) {
        thrown = std::current_exception();
        why = detail::current_error();
    }
    // From here on only what was noted counts, whatever the function made of it.
    if (suspension_ == Suspension::until || suspension_ == Suspension::stop || suspension_ == Suspension::lost) {
        return suspended();
    }
    const bool asked = context_.stop_reason() == StopReason::cancelled;
    const bool last = context_.attempt() >= context_.max_attempts() && context_.stop_reason() == StopReason::none;
    const bool strayed = why && !for_good && !last && suspension_ == Suspension::none;
    if (strayed && (failed_ || cancelled_ || asked)) {
        // It may not have come to where it was: what is registered between here and there is to be undone first.
        try {
            if (asked && !undos_.empty()) note_cancel();
        } catch (const Suspended&) {
            return suspended();
        }
        if (thrown) std::rethrow_exception(thrown);
        return std::move(*outcome);
    }
    if (failed_) return undo_all(failed_);
    // A cancel that the history holds may have undone something already.
    const bool succeeded =
        suspension_ == Suspension::none && outcome && outcome->kind() == Kind::success && !history_.cancelled();
    if ((cancelled_ || asked) && !succeeded) return undo_all(std::nullopt);
    if (why && (for_good || last)) return undo_all(why);
    if (thrown) std::rethrow_exception(thrown);
    tell_unreached();
    return std::move(*outcome);
}

BACKLITE_DECL Outcome Flow::undo_all(const std::optional<std::string>& why) {
    suspension_ = Suspension::none;
    undoing_ = true;
    std::string text = why.value_or("cancelled");
    try {
        if (!failed_ && why && !undos_.empty()) {
            const std::array<detail::SavedValue, 1> values{
                {{std::string{detail::flow_failed}, detail::text_json(*why)}}};
            write(values);
        } else if (context_.stop_reason() == StopReason::cancelled && !undos_.empty()) {
            note_cancel();
        }
        for (auto undo = undos_.rbegin(); undo != undos_.rend(); ++undo) {
            try {
                static_cast<void>(perform(undo->place, undo->options, [&] {
                    undo->call();
                    return std::string{"null"};
                }));
            } catch (platform::ForcedUnwind&) {
                throw;
            } catch (const Suspended&) {
                throw;
            } catch (const std::bad_alloc&) {
                throw;
            } catch (...) {
                text += detail::format("; undo \"{}\" failed too: {}", {undo->place.name, detail::current_error()});
            }
        }
    } catch (const Suspended&) {
        return suspended();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    }
    return Outcome::discard(text);
}

BACKLITE_DECL void Flow::note_cancel() {
    const std::array<detail::SavedValue, 1> values{{{std::string{detail::flow_cancelled}, "true"}}};
    write(values);
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
