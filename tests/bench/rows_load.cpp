// SPDX-License-Identifier: MIT
// Four producers beside a client that runs what they add: whether starts, outcomes and retries get their turn, and the
// oldest task is not left behind.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <backlite/backlite.hpp>

#include "raw.hpp"
#include "rows.hpp"
#include "statistics.hpp"
#include "stopwatch.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t producers = 4;
constexpr std::size_t most_each = 3'000'000;  // more than a producer adds in a row's time
constexpr std::size_t retried_every = 50;     // so many tasks have a first attempt that fails
constexpr std::chrono::milliseconds backoff{100};

/// A task whose first attempt fails.
struct Retried : Upload {
    static backlite::QueueConfig config() { return {.name = "retried", .max_attempts = 2, .backoff = backoff}; }
};

/// What could be seen at the end of a span of time.
struct Sample {
    double added = 0;     ///< tasks a second, in the span
    double started = 0;   ///< tasks a second, in the span
    double finished = 0;  ///< tasks a second whose outcomes are in the file, in the span
    double waiting = 0;   ///< tasks
    double age = 0;       ///< seconds since the oldest waiting task was due
};

/// A client with two workers, and producers that add to it.
class Load {
public:
    explicit Load(const std::string& file)
        : client_{{.database = file, .num_workers = 2, .durability = backlite::Durability::process}} {
        client_.register_queue<Upload>([this](const Upload& task) { ran(task); });
        client_.register_queue<Retried>([this](const backlite::Context& context, const Retried& task) {
            if (context.attempt() == 1) {
                failed_[static_cast<std::size_t>(task.number) / retried_every] = now_ms();
                throw std::runtime_error("the first attempt fails");
            }
            const std::int64_t due = failed_[static_cast<std::size_t>(task.number) / retried_every] + backoff.count();
            {
                const std::lock_guard lock(mutex_);
                late_.push_back(static_cast<double>(now_ms() - due) / 1e3);
            }
            ran(task);
        });
        client_.start();
    }

    /// Adds for `spans` times `span`, `rate` tasks a second, or as fast as possible; looks after each span. Errors:
    /// what a producer met.
    std::vector<Sample> produce(std::chrono::milliseconds span, int spans, std::optional<double> rate) {
        const std::size_t before = total(added_);
        const auto start = std::chrono::steady_clock::now();
        std::atomic<bool> over{false};
        std::array<std::exception_ptr, producers> errors{};
        std::vector<Sample> samples;
        {
            std::vector<std::jthread> threads;
            for (std::size_t producer = 0; producer < producers; ++producer) {
                threads.emplace_back([&, producer] {
                    try {
                        for (std::size_t i = 0; !over; ++i) {
                            if (rate) {
                                std::this_thread::sleep_until(
                                    start + std::chrono::duration<double>(static_cast<double>(i * producers) / *rate));
                            }
                            add(producer);
                        }
                    } catch (...) {
                        errors[producer] = std::current_exception();
                    }
                });
            }
            Stopwatch watch;
            std::size_t added = before;
            std::size_t started = started_;
            std::size_t finished = finished_;
            for (int i = 1; i <= spans; ++i) {
                std::this_thread::sleep_until(start + span * i);
                const double seconds = watch.seconds();
                watch = {};
                Sample sample = look();
                const auto a_second = [seconds](std::size_t now, std::size_t& last) {
                    return static_cast<double>(now - std::exchange(last, now)) / seconds;
                };
                sample.added = a_second(total(added_), added);
                sample.started = a_second(started_, started);
                sample.finished = a_second(finished_, finished);
                samples.push_back(sample);
            }
            over = true;
        }
        for (const std::exception_ptr& error : errors) {
            if (error) std::rethrow_exception(error);
        }
        return samples;
    }

    /// Waits until everything that was added has run.
    void settle() {
        for (int i = 0; ran_ < total(added_); ++i) {
            if (i > 60'000) throw Incorrect(fmt::format("{} of {} tasks have run", ran_.load(), total(added_)));
            std::this_thread::sleep_for(1ms);
        }
    }

    /// Errors: Incorrect unless each task ran exactly once and is gone.
    void finish(const std::string& file) {
        settle();
        if (!client_.stop(30s)) throw Incorrect("stop() says that an outcome was not written");
        for (std::size_t producer = 0; producer < producers; ++producer) {
            for (std::size_t i = 0; i < added_[producer]; ++i) {
                const int count = counts_[producer * most_each + i];
                if (count != 1) throw Incorrect(fmt::format("task {} ran {} times", producer * most_each + i, count));
            }
        }
        RawDatabase database(file, backlite::Durability::process);
        const std::int64_t left = database.number("SELECT count(*) FROM backlite_tasks");
        if (left > 0) throw Incorrect(fmt::format("{} tasks are still in the file", left));
    }

    /// How late each retry started, in seconds. REQUIRES: finished.
    [[nodiscard]] const std::vector<double>& late() const noexcept { return late_; }

private:
    using Counts = std::array<std::atomic<std::size_t>, producers>;

    static std::size_t total(const Counts& counts) {
        std::size_t sum = 0;
        for (const auto& count : counts) sum += count;
        return sum;
    }

    void add(std::size_t producer) {
        const std::size_t index = added_[producer];
        if (index >= most_each) throw std::logic_error("more tasks than can be counted");
        const Upload task = upload(producer * most_each + index);
        if (index % retried_every == 0) {
            client_.add(Retried{task}).save();
        } else {
            client_.add(task).save();
        }
        ++added_[producer];
    }

    void ran(const Upload& task) {
        ++counts_[static_cast<std::size_t>(task.number)];
        ++ran_;
        ++started_;
    }

    Sample look() {
        const std::size_t added = total(added_);
        Sample sample;
        std::size_t unfinished = 0;
        for (const backlite::QueueCounts& queue : client_.counts()) {
            unfinished += queue.waiting + queue.scheduled + queue.running;
            sample.waiting += static_cast<double>(queue.waiting);
            if (!queue.oldest_due) continue;
            sample.age = (std::max)(
                sample.age, static_cast<double>(now_ms() - backlite::detail::to_ms(*queue.oldest_due).count()) / 1e3);
        }
        finished_ = (std::max)(finished_, added - (std::min)(added, unfinished));
        return sample;
    }

    Counts added_{};
    std::vector<std::atomic<std::uint8_t>> counts_ = std::vector<std::atomic<std::uint8_t>>(producers * most_each);
    std::vector<std::int64_t> failed_ = std::vector<std::int64_t>(producers * most_each / retried_every);
    std::atomic<std::size_t> started_{0};
    std::atomic<std::size_t> ran_{0};
    std::size_t finished_ = 0;
    std::mutex mutex_{};
    // guarded by mutex_
    std::vector<double> late_{};

    backlite::Client client_;
};

/// The rate of adds at which the backlog just does not grow, in tasks a second: as fast as the producers can if the
/// client keeps up with that, else found by halving.
double flat_rate(Load& load, std::chrono::milliseconds span) {
    const auto grows = [](const std::vector<Sample>& samples) {
        return samples.back().waiting > samples.back().added / 10;  // a tenth of a second's adds
    };
    std::vector<Sample> samples = load.produce(span, 2, std::nullopt);
    load.settle();
    double too_much = samples.back().added;
    if (!grows(samples)) return too_much;
    double fine = 0;
    for (int i = 0; i < 4; ++i) {
        const double rate = (fine + too_much) / 2;
        samples = load.produce(span, 2, rate);
        load.settle();
        (grows(samples) ? too_much : fine) = rate;
    }
    return fine;
}

void measure_saturated(const Bench& bench, std::vector<Result>& results) {
    const std::string file = bench.folder.fresh("ours");
    Load load(file);
    const std::vector<Sample> samples = bench.options.quick ? load.produce(100ms, 5, {}) : load.produce(1s, 30, {});
    load.finish(file);
    double behind = 0;
    double started = samples.front().started;
    double finished = samples.front().finished;
    double added = 0;
    for (const Sample& sample : samples) {
        behind = (std::max)(behind, sample.age - sample.waiting / (std::max)(sample.started, 1.0));
        started = (std::min)(started, sample.started);
        finished = (std::min)(finished, sample.finished);
        added += sample.added / static_cast<double>(samples.size());
    }
    results[0].add(behind);
    results[1].add(started, added);
    results[2].add(finished, added);
}

void measure_retries(const Bench& bench, Result& result) {
    const std::string file = bench.folder.fresh("ours");
    double rate = 0;
    {
        Load load(file);
        rate = 0.8 * flat_rate(load, bench.options.quick ? 100ms : 1s);
        load.finish(file);
    }
    Load load(file);
    load.produce(bench.options.quick ? 500ms : 10s, 1, rate);
    load.finish(file);
    result.add(percentile(load.late(), 0.99));
}

}  // namespace

void append_load_rows(std::vector<Row>& rows) {
    const std::string name = "4 producers at full speed";
    rows.push_back({name,
                    {{name + ": oldest beyond its turn", "s", {Budget::Sense::at_most, 1}},
                     {name + ": starts, of adds", "tasks/s", {Budget::Sense::at_least, 0.01}},
                     {name + ": outcomes, of adds", "tasks/s", {Budget::Sense::at_least, 0.01}}},
                    [](const Bench& bench, std::vector<Result>& results) { measure_saturated(bench, results); }});
    const std::string retries = "retries at 80 % of the flat rate, p99 late";
    rows.push_back({retries,
                    {{retries, "s", {Budget::Sense::at_most, 1}}},
                    [](const Bench& bench, std::vector<Result>& results) { measure_retries(bench, results[0]); }});
}

}  // namespace bench
