// SPDX-License-Identifier: MIT
#pragma once
// The life of a client: its states, what changes them, and what each call does in each of them.

#include <atomic>
#include <cstdint>

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace engine {

/// In which state of its life a client is; a session is what there is from a start to the end of its stop. What each
/// call does in each state:
///
/// | call           | stopped | starting…            | running | stopping, …_hard, lost | orphaned | ended   |
/// |----------------|---------|----------------------|---------|------------------------|----------|---------|
/// | register_queue | yes     | throws               | throws  | throws until it ended  | throws   | throws  |
/// | start          | begins  | waits for that one   | nothing | throws until it ended¹ | throws   | throws  |
/// | – own thread   | begins  | nothing              | nothing | throws                 | –        | –       |
/// | stop           | true    | waits, then stops it | stops   | waits for its end      | the same | throws  |
/// | – own thread   | true    | is noted; false      | begins  | false                  | false    | throws  |
/// |                |         |                      | a stop; |                        |          |         |
/// |                |         |                      | false   |                        |          |         |
/// | a hard stop is | nothing | is noted             | asks    | asks the tasks, unless | nothing  | nothing |
/// | requested      |         |                      | tasks   | they were asked        |          |         |
/// | the file is    | nothing | is noted             | asks tasks, writes no more       | writes   | nothing |
/// | lost           |         |                      |         |                        | no more  |         |
/// | ~Client        | ends    | waits, then ends it  | asks tasks, waits, then ends     | –        | –       |
/// | – own thread   | ends    | is noted             | leaves that to the session       | –        | –       |
/// | add            | yes     | yes                  | yes     | yes, but throws²       | yes²     | throws  |
/// | status, counts,| yes     | yes                  | yes     | yes                    | yes      | throws  |
/// | cancel, resume |         |                      |         |                        |          |         |
/// | pause          | yes     | waits for the start  | yes     | yes                    | yes      | throws  |
/// | wait_idle      | yes     | yes                  | yes     | yes                    | yes      | throws  |
/// | wait, result   | yes     | yes                  | yes     | yes                    | yes      | throws  |
/// | on_finished    | throws  | throws               | yes     | yes                    | yes      | throws  |
/// | notify         | nothing | nothing              | yes     | yes                    | yes      | throws  |
///
/// ¹ If no task runs and only outcomes are left to write, it first waits up to `busy_timeout` for the end.
/// ² StorageError once the file is lost, in every state: the store knows that. All else throws UsageError.
enum class Lifecycle : std::uint8_t {
    stopped,            ///< no session: of a new client, and after each stop
    starting,           ///< one thread makes the session; it is not yet to be found
    starting_stop,      ///< the same, and it is to stop at once: an own thread has asked
    starting_hard,      ///< the same, by a hard stop
    starting_lost,      ///< the same, and without writing: the file is lost
    starting_orphaned,  ///< the same, and it is to end the client, which was destroyed on an own thread
    running,            ///< tasks are claimed
    stopping,           ///< no new starts; running tasks go on
    stopping_hard,      ///< the same, and running tasks are asked to stop
    lost,               ///< the same, and nothing is written any more
    orphaned,           ///< the same as stopping_hard, and then the session ends the client
    ended,              ///< the client was destroyed and only handles are left; for ever
};

/// What changes the state.
enum class LifeEvent : std::uint8_t {
    start,      ///< a thread begins to make a session
    installed,  ///< it has made it
    failed,     ///< it could not
    stop,       ///< no new starts
    hard_stop,  ///< and running tasks are asked to stop
    fatal,      ///< the file cannot be used any more
    orphan,     ///< the client is destroyed on a thread that its session waits for
    over,       ///< the session has ended, and somebody takes it down
    end,        ///< the client is destroyed, and there is no session
};

/// Whether a thread makes a session.
[[nodiscard]] constexpr bool is_starting(Lifecycle state) noexcept {
    return state >= Lifecycle::starting && state <= Lifecycle::starting_orphaned;
}

/// Whether there is a session.
[[nodiscard]] constexpr bool has_session(Lifecycle state) noexcept {
    return state >= Lifecycle::running && state <= Lifecycle::orphaned;
}

/// Whether the running tasks are to be asked to stop. Not before the session is made: its own stop token, the last that
/// it gets, says so then, or whoever installs it.
[[nodiscard]] constexpr bool asks_tasks(Lifecycle state) noexcept {
    return state == Lifecycle::starting_hard || (has_session(state) && state >= Lifecycle::stopping_hard);
}

/// The state after `event`; the same one if the event means nothing in it. A session only goes forwards, in the order
/// of the states: a weaker request changes nothing.
[[nodiscard]] constexpr Lifecycle after(Lifecycle state, LifeEvent event) noexcept {
    using enum Lifecycle;
    const auto forwards = [state](Lifecycle starting_to, Lifecycle to) {
        if (is_starting(state)) return state < starting_to ? starting_to : state;
        return has_session(state) && state < to ? to : state;
    };
    switch (event) {
        case LifeEvent::start: return state == stopped ? starting : state;
        case LifeEvent::installed:
            switch (state) {
                case starting: return running;
                case starting_stop: return stopping;
                case starting_hard: return stopping_hard;
                case starting_lost: return lost;
                case starting_orphaned: return orphaned;
                default: return state;
            }
        case LifeEvent::failed:
            if (!is_starting(state)) return state;
            return state == starting_orphaned ? ended : stopped;
        case LifeEvent::stop: return forwards(starting_stop, stopping);
        case LifeEvent::hard_stop: return forwards(starting_hard, stopping_hard);
        case LifeEvent::fatal: return forwards(starting_lost, lost);
        case LifeEvent::orphan: return forwards(starting_orphaned, orphaned);
        case LifeEvent::over:
            if (!has_session(state)) return state;
            return state == orphaned ? ended : stopped;
        case LifeEvent::end: return ended;
    }
    return state;
}

/// The state of one client. Each start begins a run, with a number of its own: a request that was meant for an earlier
/// session, which somebody still holds, changes nothing.
/// Threads: any. Lock-free, so that a stop can be requested anywhere; who acts on more than one state, or on the state
/// and the session, does so under the engine's mutex.
class Life {
public:
    [[nodiscard]] Lifecycle state() const noexcept { return state_of(word_.load()); }

    /// The state, while the session of `run` is the latest; `stopped` after that.
    [[nodiscard]] Lifecycle state(std::uint64_t run) const noexcept;

    /// The number of the latest start.
    [[nodiscard]] std::uint64_t run() const noexcept { return word_.load() / states; }

    /// Returns the state after `event`.
    Lifecycle apply(LifeEvent event) noexcept;

    /// The same for an event of one session: nothing happens if `run` is not the latest.
    void apply(LifeEvent event, std::uint64_t run) noexcept;

private:
    static constexpr std::uint64_t states = 16;  ///< more than there are

    [[nodiscard]] static constexpr Lifecycle state_of(std::uint64_t word) noexcept {
        return static_cast<Lifecycle>(word % states);
    }
    [[nodiscard]] static std::uint64_t next(std::uint64_t word, LifeEvent event) noexcept;

    std::atomic<std::uint64_t> word_{0};  ///< run * states + state
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/lifecycle.ipp>
#endif
