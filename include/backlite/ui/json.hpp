// SPDX-License-Identifier: MIT
#pragma once
// The same values as the pages, for programs: JSON under the same paths.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <backlite/ui/list_address.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/overview_page.hpp>
#include <backlite/ui/task_page.hpp>
#include <backlite/ui/text.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {

/// A value as JSON text. What is no UTF-8 is replaced, and `<`, `>`, `&` are escaped: it stays harmless where somebody
/// takes it for HTML. No tree of nlohmann_json: to destroy one needs memory, and where there is none ends the process.
class Json {
public:
    // NOLINTBEGIN(google-explicit-constructor): values are written as they are read
    Json(std::nullptr_t = nullptr) : text_("null") {}
    template <std::integral Number>
    Json(Number number) : text_(fmt::to_string(number)) {}
    template <class Unit>
    Json(backlite::detail::StoredTime<Unit> time) : Json(time.count()) {}
    template <class Rep, class Period>
    Json(std::chrono::duration<Rep, Period> length) : Json(length.count()) {}
    Json(std::string_view text) { put(text); }
    Json(const std::string& text) : Json(std::string_view{text}) {}
    Json(const char* text) : Json(std::string_view{text}) {}
    template <class T>
    Json(const std::optional<T>& value) : Json(value ? Json(*value) : Json()) {}
    // NOLINTEND(google-explicit-constructor)
    /// An object.
    Json(std::initializer_list<std::pair<std::string_view, Json>> fields);

    [[nodiscard]] static Json array();

    /// REQUIRES: it is an array.
    void push_back(const Json& value) {
        reopen();
        text_.append(value.text_) += ']';
    }
    /// REQUIRES: it is an object without that key.
    void set(std::string_view key, const Json& value);

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    void reopen() {
        text_.pop_back();
        if (text_.size() > 1) text_ += ',';
    }

    void put(std::string_view text);

    std::string text_{};
};

inline Json::Json(std::initializer_list<std::pair<std::string_view, Json>> fields) : text_("{}") {
    for (const auto& [key, value] : fields) set(key, value);
}

namespace detail {

[[nodiscard]] inline Json count_json(const Count& count) {
    return {{"number", count.number}, {"at_least", count.more}};
}

/// What only the statistics know.
void add_counted(Json& json, const Counted& counted);

[[nodiscard]] Json line_json(const TaskLine& line, const Json& payload_bytes, const Json& error);
[[nodiscard]] inline Json line_json(const TaskLine& line) {
    return line_json(line, line.payload_size, line.error.empty() ? Json() : Json(line.error));
}

/// `first`: the address of the list's beginning.
[[nodiscard]] Json list_json(const TaskList& list, const Link& first);

}  // namespace detail

[[nodiscard]] Json overview_json(const View& view, const Overview& overview);

[[nodiscard]] Json running_json(const View& view, const TaskList& list);

[[nodiscard]] Json upcoming_json(const View& view, const TaskList& list);

/// `state`: succeeded or failed.
[[nodiscard]] Json finished_json(const View& view, const TaskList& list, State state);

[[nodiscard]] Json search_json(const View& view, const Found& found);

/// The payload is text, as it is stored: a JSON parser in between would round large integers. What is no UTF-8 comes as
/// `payload_hex`.
[[nodiscard]] Json task_json(const View& view, const ShownTask& shown);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/json.ipp>
#endif
