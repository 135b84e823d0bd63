// SPDX-License-Identifier: MIT
#include "loans.hpp"

#include <chrono>

namespace loans {

using namespace std::chrono_literals;

namespace {

constexpr auto week = 7 * 24h;

/// A mail that cannot be delivered is not tried again; one that could not be sent just now throws, and is.
backlite::Outcome mail(Mailer& mailer, const std::string& to, const std::string& text) {
    try {
        mailer.send(to, text);
    } catch (const Mailer::UnknownAddress& error) {
        return backlite::Outcome::discard(error.what());
    }
    return backlite::Outcome::success();
}

}  // namespace

backlite::QueueConfig SendReceipt::config() {
    return {.name = "receipts",
            .max_attempts = 5,
            .timeout = 30s,
            .backoff = backlite::Backoff::custom([](int attempt) { return 1min * attempt; })};
}

backlite::QueueConfig AskForBook::config() {
    return {.name = "ask_for_book", .max_attempts = 10, .timeout = 30s, .backoff = 1h};
}

void lend(Shelf& shelf, const backlite::Adder& tasks, const std::string& to, const std::string& title) {
    shelf.borrower_of[title] = to;
    tasks.add(SendReceipt{to, title}).save();
    tasks.add(AskForBook{to, title}).wait(4 * week).save();
}

backlite::Outcome send_receipt(Mailer& mailer, const backlite::Context& context, const SendReceipt& task) {
    // Asked to stop before it began: another client will send it.
    if (context.stop_token().stop_requested()) return backlite::Outcome::retry("stopped");
    return mail(mailer, task.to, "You have borrowed " + task.title);
}

backlite::Outcome ask_for_book(const Shelf& shelf, Mailer& mailer, const backlite::Context& context,
                               const AskForBook& task) {
    const auto loan = shelf.borrower_of.find(task.title);
    if (loan == shelf.borrower_of.end() || loan->second != task.to) return backlite::Outcome::success();
    backlite::Outcome outcome = mail(mailer, task.to, "Please bring back " + task.title);
    if (outcome.kind() == backlite::Outcome::Kind::success) context.client().add(task).wait(week).save();
    return outcome;
}

}  // namespace loans
