// SPDX-License-Identifier: MIT
#pragma once
// The forms that order something, and the page that asks first. They work without the script.

#include <initializer_list>
#include <string_view>

#include <backlite/ui/html.hpp>
#include <backlite/ui/layout.hpp>
#include <backlite/ui/models.hpp>
#include <backlite/ui/order.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {
namespace ui {
namespace detail {

/// A field that nobody sees; none if its value is empty.
void put_hidden(Html& html, std::string_view name, std::string_view value);

/// The beginning of a form of an order that is given on the page of that name.
void put_form_start(Html& html, const View& view, std::string_view list);

/// `more`: what its button says behind the action.
void put_button(Html& html, Act act, std::string_view more = {});

void put_acts(Html& html, std::initializer_list<Act> acts);

/// What can be done to the tasks of a list, to those that are picked or to all that it finds. Nothing for readers.
void put_list_acts(Html& html, const View& view, std::string_view list, std::initializer_list<Act> acts);

/// The box that picks a task of a list; its form is that of put_list_acts. Nothing for readers.
void put_pick(Html& html, const View& view, const TaskLine& line);

/// The head of the column of these boxes.
void put_pick_head(Html& html, const View& view);

/// What can be done to one task, on its page.
void put_task_acts(Html& html, const View& view, const TaskLine& line, bool has_payload);

/// Pausing a queue, or letting it go on, on its page.
void put_queue_acts(Html& html, const View& view, std::string_view queue, bool paused);

}  // namespace detail

/// The name of the list that holds tasks of that state.
[[nodiscard]] std::string_view list_name(State state) noexcept;

/// The address of the page on which an order was given.
[[nodiscard]] Link page_of(const View& view, const Order& order);

/// Asks whether an order is meant. `what`: which tasks, in words; `count`: how many they are.
[[nodiscard]] Html confirm_page(const View& view, const Order& order, std::string_view what, const Count& count);

}  // namespace ui
}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

#if !defined(BACKLITE_SEPARATE_COMPILATION)
#include <backlite/impl/ui/act_forms.ipp>
#endif
