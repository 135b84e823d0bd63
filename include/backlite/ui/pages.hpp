// SPDX-License-Identifier: MIT
#pragma once
// Pages: what each address shows, read from one state of the file.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/admin/page_reads.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/logger.hpp>
#include <backlite/ui/access.hpp>
#include <backlite/ui/html.hpp>
#include <backlite/ui/json.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/list_pages.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/overview_page.hpp>
#include <backlite/ui/payload.hpp>
#include <backlite/ui/task_page.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// What a redaction is asked about.
enum class Secret { payload, error };

/// What is shown instead of a payload or an error.
using Redact = std::function<std::string(Secret what, std::string_view queue, std::string_view text)>;

/// Whether payloads are shown at all.
enum class Payloads { show, hide };

/// What the frame around a page says, and how long it stays true.
struct Head {
    int status = 200;
    std::string heading{};
    std::string_view nav{};
    Ms valid_until{};  ///< it stays true until then if nobody commits
    // Where there is no model:
    std::string_view fault{};
    std::string_view advice{};  ///< for people
};

/// What an answer is made of, whatever its form.
template <class Model>
struct Sheet {
    Head head{};
    std::optional<Model> model{};  ///< nullopt: `head.fault` says why
};

struct PageOptions {
    std::size_t page_size = 50;
    Payloads payloads = Payloads::show;
    Redact redact{};
};

/// Reads the model of each page, as the address asks and as far as it may be seen. What it looks like say the functions
/// that make HTML of it (overview_page, running_page and so on) and JSON (overview_json and so on).
/// Threads: any, at once. Errors: StorageError.
class Pages {
public:
    static constexpr std::int64_t shown_bytes = 16'384;        ///< of a payload or an error on a page
    static constexpr std::int64_t listed_bytes = 72;           ///< of a payload in a list
    static constexpr std::int64_t searched_bytes = 1'048'576;  ///< a payload that an excerpt is made of
    static constexpr std::int64_t redactable =
        8 * 1'024 * 1'024;  ///< what is larger is not handed to `redact`, but hidden

    Pages(PageOptions options, backlite::detail::SafeLogger log) : options_(std::move(options)), log_(std::move(log)) {}

    [[nodiscard]] Sheet<Overview> overview(const View& view, admin::PageReads& reads) const;

    [[nodiscard]] Sheet<TaskList> running(const View& view, admin::PageReads& reads) const;

    [[nodiscard]] Sheet<TaskList> upcoming(const View& view, admin::PageReads& reads) const;

    /// `state`: succeeded or failed.
    [[nodiscard]] Sheet<TaskList> finished(const View& view, admin::PageReads& reads, State state) const;

    [[nodiscard]] Sheet<Found> search(const View& view, admin::PageReads& reads) const;

    [[nodiscard]] Sheet<ShownTask> task(const View& view, admin::PageReads& reads, const std::string& id) const;

    /// All tasks of a list, as Admin finds them.
    struct Wanted {
        std::vector<TaskFilter> filters{};  ///< those of any of them
        std::string words{};                ///< such as "failed or expired, of queue mail"
        std::string fault{};                ///< why there are none
    };

    /// Of the list of that name, narrowed as the view's target says.
    [[nodiscard]] Wanted wanted(const View& view, std::string_view list) const;

    /// A payload for itself, up to `bound` bytes; How::absent if there is none, or no such task.
    [[nodiscard]] Shown payload(admin::PageReads& reads, const std::string& id, std::int64_t bound) const {
        const std::optional<TaskDetail> task = reads.task(id, options_.redact ? redactable + 1 : bound);
        return task ? shown(*task, Secret::payload, bound) : Shown{};
    }

private:
    static constexpr Duration a_moment = std::chrono::seconds{2};  // workers enter tasks without a commit
    static constexpr Duration a_while = std::chrono::seconds{15};  // processes may die without a commit
    static constexpr Duration an_hour = std::chrono::hours{1};

    template <class Model>
    static Sheet<Model> not_understood() {
        return {{400, "Not understood", "", {}, "Something in the address cannot be understood.", ""}, std::nullopt};
    }

    /// `searched`: a text is looked for, so that more of each payload is needed to show where it is.
    admin::Extent extent(const std::optional<Cursor>& after, std::string_view searched = {}) const {
        return {after, options_.page_size, searched.empty() || hides_text() ? shown_bytes : searched_bytes};
    }

    static bool read_state(std::string_view state, Filter& filter, bool& unfinished, bool& finished);

    /// The kinds of failures, by their names.
    static std::optional<std::int64_t> ending_of(std::string_view state);

    /// Which tasks a list holds; none if its state cannot be understood.
    static std::vector<TaskState> states_of(std::string_view list, std::string_view state);

    /// What the address narrows a list of finished tasks to. False if it cannot be understood.
    bool read_filter(const View& view, Filter& filter) const;

    /// Until when a list of finished tasks stays true: one of a period goes with the time.
    static Ms valid_until(const View& view) { return view.now + (view.get("period").empty() ? an_hour : a_while); }

    static std::string_view nav_of(State state);

    /// Leaves in lines what may be seen. `part`: the text that they were found by.
    void hide(std::vector<TaskLine>& lines, std::string_view part = {}) const;

    bool hides_text() const noexcept { return options_.redact || options_.payloads == Payloads::hide; }

    /// Lists show the beginning of an error; a redaction needs to see the whole, so they show nothing of it then.
    void hide_errors(std::vector<TaskLine>& lines) const;

    /// Leaves the beginnings of payloads, as they may be seen, in one line; of one that holds `part`, what is around
    /// it.
    void cut_payloads(std::vector<TaskLine>& lines, std::string_view part) const;

    /// The part of a task that may be seen, at most `bound` bytes of it.
    Shown shown(const TaskDetail& task, Secret what, std::int64_t bound) const;

    /// The same, of a text of `size` bytes. `text`: all of it if a redaction is to see it, else at least its beginning.
    Shown shown(Secret what, std::string_view queue, const std::string& text, std::uint64_t size,
                std::int64_t bound) const;

    /// A beginning cannot be parsed: what looks like JSON is laid out like it.
    static PayloadKind kind_of_beginning(std::string_view text);

    const PageOptions options_;
    const backlite::detail::SafeLogger log_;
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/pages.ipp>
#endif
