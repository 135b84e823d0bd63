// SPDX-License-Identifier: MIT
#pragma once
// Pages: what each address shows, made from one state of the file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <backlite/admin/database_view.hpp>
#include <backlite/base/safe_logger.hpp>
#include <backlite/clock.hpp>
#include <backlite/logger.hpp>
#include <backlite/store/sqlite/schema.hpp>
#include <backlite/store/sqlite/views/side_files.hpp>
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

/// What an answer is made of, in the one of its two forms that was asked for.
struct Page {
    int status = 200;
    std::string heading{};
    std::string_view nav{};
    Html html{};
    Json json{};
    std::int64_t valid_until = 0;  ///< it stays true until then if nobody commits
};

struct PageOptions {
    std::size_t page_size = 50;
    Payloads payloads = Payloads::show;
    Redact redact{};
};

/// Threads: any, at once. Errors: StorageError.
class Pages {
public:
    static constexpr std::int64_t shown_bytes = 16'384;        ///< of a payload or an error on a page
    static constexpr std::int64_t listed_bytes = 72;           ///< of a payload in a list
    static constexpr std::int64_t most_counted = 10'000;       ///< of what waits, above a list of it
    static constexpr std::int64_t searched_bytes = 1'048'576;  ///< a payload that an excerpt is made of
    static constexpr std::int64_t redactable =
        8 * 1'024 * 1'024;  ///< what is larger is not handed to `redact`, but hidden

    /// `file`: the database's name, for asking who is alive.
    Pages(PageOptions options, std::string file, backlite::detail::SafeLogger log)
        : options_(std::move(options)), file_(std::move(file)), log_(std::move(log)) {}

    [[nodiscard]] Page overview(const View& view, bool json, admin::Queries& store) const;

    [[nodiscard]] Page running(const View& view, bool json, admin::Queries& store) const;

    [[nodiscard]] Page upcoming(const View& view, bool json, admin::Queries& store) const;

    [[nodiscard]] Page finished(const View& view, bool json, admin::Queries& store, State state) const;

    [[nodiscard]] Page search(const View& view, bool json, admin::Queries& store) const;

    [[nodiscard]] Page task(const View& view, bool json, admin::Queries& store, const std::string& id) const;

    /// A payload for itself, up to `bound` bytes; How::absent if there is none, or no such task.
    [[nodiscard]] Shown payload(admin::Queries& store, const std::string& id, std::int64_t now,
                                std::int64_t bound) const {
        const std::optional<TaskDetail> task = store.tasks.task(id, now, options_.redact ? redactable + 1 : bound);
        return task ? shown(*task, Secret::payload, bound) : Shown{};
    }

private:
    static constexpr std::int64_t a_moment = 2'000;  // workers enter tasks without a commit
    static constexpr std::int64_t a_while = 15'000;  // processes may die without a commit
    static constexpr std::int64_t an_hour = 3'600'000;

    static Page made(std::string heading, std::string_view nav, std::int64_t valid_until);

    static Page not_understood();

    /// Some queues that have `text` in their name, whatever the case of its ASCII letters: of those with unclaimed
    /// tasks, and those that were counted lately.
    static std::vector<std::string> queues_named(const std::string& text, const std::vector<std::string>& names,
                                                 std::int64_t now, admin::Queries& store);

    static bool read_state(std::string_view state, Filter& filter, bool& unfinished, bool& finished);

    /// What the address narrows a list of finished tasks to. False if it cannot be understood.
    bool read_filter(const View& view, Filter& filter) const;

    /// Until when a list of finished tasks stays true: one of a period goes with the time.
    static std::int64_t valid_until(const View& view) {
        return view.now + (view.get("period").empty() ? an_hour : a_while);
    }

    /// How many tasks were counted as they finished so in the window of a list; nullopt if it has none, or if that is
    /// not known.
    static std::optional<Count> happened(const Filter& filter, const View& view, admin::Queries& store);

    std::vector<Process> processes(admin::Queries& store) const;

    static std::optional<bool> entered(const TaskLine& line, const std::vector<Process>& processes) {
        if (line.id_cut) return std::nullopt;
        return is_entered(processes, line.owner, {line.claim, store::sqlite::hash_id(line.id)});
    }

    static std::string_view nav_of(State state);

    /// Adds to lines what a list shows beside them. `part`: the text that they were found by.
    void finish(std::vector<TaskLine>& lines, admin::Queries& store, const std::vector<Process>& processes,
                std::string_view part = {}) const;

    bool hides_text() const noexcept { return options_.redact || options_.payloads == Payloads::hide; }

    /// Lists show the beginning of an error; a redaction needs to see the whole, so they show nothing of it then.
    void hide_errors(std::vector<TaskLine>& lines) const;

    /// Adds the beginnings of payloads, as they may be seen, in one line; of one that holds `part`, what is around it.
    void add_payloads(std::vector<TaskLine>& lines, admin::Queries& store, std::string_view part) const;

    /// The part of a task that may be seen, at most `bound` bytes of it.
    Shown shown(const TaskDetail& task, Secret what, std::int64_t bound) const;

    /// The same, of a text of `size` bytes. `text`: all of it if a redaction is to see it, else at least its beginning.
    Shown shown(Secret what, std::string_view queue, const std::string& text, std::uint64_t size,
                std::int64_t bound) const;

    /// A beginning cannot be parsed: what looks like JSON is laid out like it.
    static PayloadKind kind_of_beginning(std::string_view text);

    const PageOptions options_;
    const std::string file_;
    const backlite::detail::SafeLogger log_;
};

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/pages.ipp>
#endif
