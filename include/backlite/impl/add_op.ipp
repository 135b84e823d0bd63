// SPDX-License-Identifier: MIT
#pragma once
// The bodies of <backlite/add_op.hpp>.

#include <algorithm>

#include <backlite/add_op.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

BACKLITE_DECL std::vector<TaskId> AddOp::save() {
    const Times times = prepare();
    std::vector<TaskId> ids;
    ids.reserve(tasks_.size());  // now: once they are added, nothing may fail
    write(times);
    for (detail::NewTask& task : tasks_) ids.push_back(std::move(task.inserted() ? task.id : task.unique->existing));
    return ids;
}

BACKLITE_DECL std::vector<AddResult> AddOp::save_results() {
    const Times times = prepare();
    std::vector<AddResult> results;
    results.reserve(tasks_.size());
    write(times);
    for (detail::NewTask& task : tasks_) {
        if (task.inserted()) {
            results.push_back({std::move(task.id), AddedAs::inserted});
        } else {
            results.push_back({std::move(task.unique->existing), task.unique->as});
        }
    }
    return results;
}

BACKLITE_DECL auto AddOp::prepare() -> Times {
    target_->check_call("AddOp::save");
    if (std::exchange(saved_, true))
        throw UsageError("AddOp::save: called a second time; each call needs its own add()");
    if (error_) std::rethrow_exception(error_);
    const TimePoint called = target_->clock().now();
    const Times times{detail::to_ms(called), due_time(called)};
    set_priority();
    set_key();
    if (!times.wait_until) set_debounce(called);
    if (expires_ || expires_after_ || expires_at_) {
        const detail::Ms soonest = detail::to_due_ms(called);
        set_expiry(times.wait_until ? (std::max)(*times.wait_until, soonest) : soonest);
    }
    set_parents();
    if (!tags_.empty() || !metadata_.empty()) set_labels();
    if (bounded_) check_bounds();
    set_partitions();
    if (stop_.stop_requested()) throw Cancelled("cancelled by the caller's stop token before the write began");
    return times;
}

BACKLITE_DECL void AddOp::write(const Times& times) {
    if (tasks_.empty()) return;
    try {
        if (database_ != nullptr) {
            target_->add_within(*database_, tasks_, times.wait_until, times.now);
        } else {
            target_->add(tasks_, times.wait_until, times.now, stop_);
        }
    } catch (Error& error) {
        if (error.queue().empty()) name_queue(error);
        throw;
    }
}

BACKLITE_DECL std::optional<detail::Ms> AddOp::due_time(TimePoint now) const {
    if (wait_) {
        const detail::Ms due = detail::due_after(now, *wait_);
        if (*wait_ < Duration::zero() || due == detail::Ms::latest()) {
            throw ConfigError(detail::format("AddOp::wait: {} ms is negative or too long", {wait_->count()}));
        }
        return due;
    }
    if (at_ && (*at_ < detail::Ms{} || *at_ == detail::Ms::latest())) {
        throw ConfigError(
            detail::format("AddOp::at: {} ms after 1970 is before 1970 or too far off; sums of "
                           "system_clock::time_point wrap round beyond the year 2262",
                           {at_->count()}));
    }
    return at_;
}

BACKLITE_DECL void AddOp::set_priority() {
    if (!priority_) return;
    if (*priority_ < least_priority || *priority_ > most_priority) {
        throw ConfigError(detail::format(
            "queue \"{}\": AddOp::priority is {}, must be {} to {}",
            {tasks_.empty() ? std::string_view{} : tasks_.front().queue, *priority_, least_priority, most_priority}));
    }
    for (detail::NewTask& task : tasks_) task.priority = *priority_;
}

BACKLITE_DECL void AddOp::set_expiry(detail::Ms due) {
    if (expires_at_ && (*expires_at_ < detail::Ms{} || *expires_at_ == detail::Ms::latest())) {
        throw ConfigError(
            detail::format("queue \"{}\": AddOp::expires_at: {} ms after 1970 is before 1970 or too far off",
                           {tasks_.empty() ? std::string_view{} : tasks_.front().queue, expires_at_->count()}));
    }
    for (detail::NewTask& task : tasks_) {
        const Duration after = expires_after_.value_or(task.expires_after);
        const detail::Ms first = task.unique ? task.unique->debounced.value_or(due) : due;
        if (after < Duration::zero() || first + after == detail::Ms::latest()) {
            throw ConfigError(detail::format("queue \"{}\": expires_after: {} ms is negative or too long",
                                             {task.queue, after.count()}));
        }
        task.expires_at = expires_at_;
        if (!expires_at_ && after != Duration::zero()) task.expires_at = first + after;
    }
}

BACKLITE_DECL void AddOp::set_key() {
    if (!key_ || tasks_.empty()) return;
    if (tasks_.size() > 1) {
        throw UsageError(detail::format("AddOp::unique: one key for {} tasks, of which only the first could be added",
                                        {tasks_.size()}));
    }
    detail::NewTask& task = tasks_.front();
    detail::check_unique_key(*key_, task.queue);
    if (!task.unique) task.unique = rule_of(*config_);
    task.unique->key = std::move(*key_);
}

BACKLITE_DECL void AddOp::set_partition(detail::NewTask& task, const QueueConfig& config, std::string partition) {
    if (partition.empty() && !config.limits.by_partition()) return;
    task.partition = std::make_shared<detail::PartitionAdd>();
    task.partition->name = std::move(partition);
    task.partition->turns = config.limits.turns();
    task.partition->in_order = config.limits.in_order;
    task.partition->rate = config.limits.rate_per_partition.any();
}

BACKLITE_DECL void AddOp::set_partitions() {
    if (!partition_) return;
    for (detail::NewTask& task : tasks_) {
        detail::check_partition(*partition_, task.queue);
        if (!task.partition) {
            if (partition_->empty()) continue;
            task.partition = std::make_shared<detail::PartitionAdd>();
        }
        task.partition->name = *partition_;
    }
}

BACKLITE_DECL void AddOp::join(detail::Parents::Join join) {
    const auto parents = std::make_shared<const detail::Parents>(detail::Parents{.join = std::move(join)});
    for (detail::NewTask& task : tasks_) {
        task.unique.reset();
        task.parents = parents;
    }
}

BACKLITE_DECL void AddOp::add_stage() noexcept {
    if (error_) return;
    try {
        stages_.push_back(tasks_.size());
    } catch (...) {
        error_ = std::current_exception();
    }
}

BACKLITE_DECL void AddOp::set_parents() {
    for (const detail::Parents::Parent& parent : after_) {
        if (!parent.id.str().empty()) continue;
        throw UsageError(detail::format("queue \"{}\": AddOp::after: an id has no text",
                                        {tasks_.empty() ? std::string_view{} : tasks_.front().queue}));
    }
    const auto give = [&](std::size_t from, std::size_t to, detail::Parents parents) {
        const auto shared = std::make_shared<const detail::Parents>(std::move(parents));
        for (std::size_t i = from; i < to; ++i) tasks_[i].parents = shared;
    };
    if (!after_.empty()) give(0, stages_.empty() ? tasks_.size() : stages_.front(), {.known = std::move(after_)});
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        const std::size_t first = i == 0 ? 0 : stages_[i - 1];
        const std::size_t next = i + 1 < stages_.size() ? stages_[i + 1] : tasks_.size();
        give(stages_[i], next, {.first = first, .count = stages_[i] - first});
    }
}

BACKLITE_DECL std::shared_ptr<detail::UniqueAdd> AddOp::rule_of(const QueueConfig& config) {
    auto rule = std::make_shared<detail::UniqueAdd>();
    const Unique& unique = config.unique;
    if (unique.conflict != Conflict::none) rule->conflict = unique.conflict;
    rule->until_started = unique.until == UniqueUntil::started;
    rule->period = unique.period;
    rule->debounce = unique.debounce;
    rule->max_delay = unique.max_delay;
    if (config.retention) {
        rule->keep_row = true;
        rule->keep_payload = config.retention->data.has_value();
        rule->keep_time = config.retention->duration;
    }
    return rule;
}

BACKLITE_DECL void AddOp::set_debounce(TimePoint now) {
    for (const detail::NewTask& task : tasks_) {
        if (!task.unique || task.unique->debounce == Duration::zero()) continue;
        const detail::Ms due = detail::due_after(now, task.unique->debounce);
        if (due == detail::Ms::latest()) {
            throw ConfigError(detail::format("queue \"{}\": unique.debounce: {} ms is too long",
                                             {task.queue, task.unique->debounce.count()}));
        }
        task.unique->debounced = due;
    }
}

BACKLITE_DECL void AddOp::set_labels() {
    constexpr std::size_t longest = 1024;
    const std::string queue{tasks_.empty() ? std::string_view{} : tasks_.front().queue};
    auto labels = std::make_shared<detail::TaskLabels>();
    for (const std::string& tag : tags_) {
        const auto refuse = [&](std::string_view why) {
            throw UsageError(detail::format("queue \"{}\": AddOp::tag: a tag {}", {queue, why}));
        };
        if (tag.empty()) refuse("is empty");
        if (tag.size() > longest) refuse(detail::format("has {} bytes, more than {}", {tag.size(), longest}));
        if (tag.find('\0') != std::string::npos) refuse("holds a NUL character");
        if (!detail::is_utf8(tag)) refuse("is not UTF-8");
    }
    if (!metadata_.empty()) {
        labels->metadata = detail::encode_value(metadata_, [&](const std::string& why) {
            throw EncodeError(detail::format("queue \"{}\": the metadata cannot be written as JSON: {}", {queue, why}),
                              queue);
        });
    }
    if (labels->metadata.size() > target_->max_payload()) {
        throw EncodeError(detail::format("queue \"{}\": the metadata has {} bytes of JSON, more than "
                                         "ClientConfig::max_payload ({})",
                                         {queue, labels->metadata.size(), target_->max_payload()}),
                          queue);
    }
    labels->tags = std::move(tags_);
    for (detail::NewTask& task : tasks_) task.labels = labels;
}

BACKLITE_DECL void AddOp::check_bounds() const {
    std::vector<std::pair<const QueueConfig*, std::size_t>> counts;
    for (const detail::NewTask& task : tasks_) {
        // Those with a unique key may be there already.
        if (task.bounded == nullptr || task.unique) continue;
        auto count =
            std::find_if(counts.begin(), counts.end(), [&](const auto& each) { return each.first == task.bounded; });
        if (count == counts.end()) count = counts.insert(count, {task.bounded, 0});
        if (++count->second <= task.bounded->max_waiting) continue;
        throw QueueFullError(detail::format("queue \"{}\" has no room for so many tasks of one call: max_waiting is {}",
                                            {task.queue, task.bounded->max_waiting}),
                             task.bounded->name, task.bounded->max_waiting);
    }
}

BACKLITE_DECL void AddOp::name_queue(Error& error) const noexcept {
    try {
        error.set_subject(std::string{tasks_.front().queue}, {});
    } catch (const std::bad_alloc&) {
    }
}

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite
