// SPDX-License-Identifier: MIT
#pragma once
// Where a run of a flow stands: what it has done, what it is about to do, and why it gives its worker back.

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <backlite/base/rows.hpp>
#include <backlite/base/times.hpp>
#include <backlite/clock.hpp>
#include <backlite/config.hpp>
#include <backlite/context.hpp>
#include <backlite/core/flow_history.hpp>
#include <backlite/error.hpp>
#include <backlite/fwd.hpp>
#include <backlite/outcome.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace store {
struct NameRange;
}

namespace engine {

/// What `Flow` is made of. Threads: that of the flow; `enter` throws on another.
class FlowState {
public:
    FlowState(const FlowState&) = delete;
    FlowState& operator=(const FlowState&) = delete;

protected:
    /// A step and its like, as the flow meets it.
    struct Place {
        std::string name{};
        int occurrence = 1;
        std::string key{};  ///< of its record, behind `detail::flow_values`
    };
    /// Thrown to give the worker back; the reason is noted before.
    struct Suspended {};

    enum class Suspension {
        none,
        until,  ///< a time or a signal
        stop,   ///< the client stops
        lost,   ///< the claim was taken back
        undo,   ///< the flow is to undo, and has come to what it has not done
    };

    /// Errors: UsageError without a client.
    explicit FlowState(Context& context);
    ~FlowState() = default;

    /// Errors: UsageError; Suspended.
    [[nodiscard]] Place enter(std::string_view kind, std::string_view name);

    /// Reads what the flow has done so far. Errors: Suspended.
    void load();
    /// Values of the task, at most so many. Errors: Suspended.
    [[nodiscard]] std::vector<detail::SavedValue> saved(const store::NameRange& names, std::size_t limit);
    [[nodiscard]] const std::string* find(const Place& place);

    /// The time of a wait that has begun, as its record says.
    [[nodiscard]] detail::Ms due_of(const Place& place, const std::string& record) const;
    [[nodiscard]] detail::Ms due_after(const Place& place, Duration time) const;

    /// What follows was not done before. Errors: Suspended, if it is not to be done now.
    void begin();
    /// Whether the step may still be waited for, or is to stop.
    void check_stop();

    void write(std::span<const detail::SavedValue> values);
    /// The store cannot do now what the flow needs: that is its fault, and spends no attempt.
    [[noreturn]] void put_off(const StorageError& error);
    /// What `call` gives, which asks the store. Errors: Suspended.
    template <class F>
    auto unless_busy(const F& call) {
        try {
            return call();
        } catch (const StorageError& error) {
            put_off(error);
        }
    }
    void write(const Place& place, std::string record);
    [[nodiscard]] detail::SavedValue record_of(const Place& place, std::string record) const;

    [[noreturn]] void suspend(Suspension why, detail::Ms until = {}, std::string_view signal = {});
    [[nodiscard]] Outcome suspended() const;
    /// The same, since there is no memory now: that too spends no attempt.
    [[nodiscard]] Outcome out_of_memory();

    [[noreturn]] void cannot_read(const Place& place, std::string_view type, const std::string& why) const;

    void tell_unreached() const;
    [[nodiscard]] detail::Ms now() const;

    Context& context_;
    const std::shared_ptr<engine::Engine> engine_;
    const QueueConfig& queue_;
    const std::thread::id thread_ = std::this_thread::get_id();
    core::FlowHistory history_{};
    std::map<std::pair<std::string, std::string>, int> met_{};  ///< by kind and name: how many so far
    bool cancelled_ = false;
    std::optional<std::string> failed_{};  ///< it is to undo, and to end, with this reason
    bool undoing_ = false;                 ///< the undos run
    const Place* inside_ = nullptr;        ///< the step that runs
    Suspension suspension_ = Suspension::none;
    detail::Ms until_{};
    std::string signal_{};
};

}  // namespace engine
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/engine/flow_state.ipp>
#endif
