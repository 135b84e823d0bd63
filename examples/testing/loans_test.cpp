// SPDX-License-Identifier: MIT
// How a program tests its own tasks: with a TestClient, which runs them when the test says so. Catch2 is this program's
// choice; any framework will do.

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <backlite/testing/test_client.hpp>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include "loans.hpp"

namespace {

using namespace std::chrono_literals;
using backlite::testing::Attempt;
using backlite::testing::Drained;
using backlite::testing::Ending;
using backlite::testing::TestClient;
using loans::AskForBook;
using loans::SendReceipt;

class Outbox final : public loans::Mailer {
public:
    void send(const std::string& to, const std::string& text) override {
        if (to.find('@') == std::string::npos) throw UnknownAddress("no mailbox " + to);
        if (failures_left > 0) {
            --failures_left;
            throw std::runtime_error("the server is down");
        }
        mails.push_back(to + ": " + text);
    }

    int failures_left = 0;
    std::vector<std::string> mails{};
};

/// What each test has: the program's parts, and a client that runs nothing by itself.
struct Library {
    Library() { loans::register_queues(client, shelf, outbox); }

    loans::Shelf shelf{};
    Outbox outbox{};
    TestClient client{};
};

using Mails = std::vector<std::string>;

TEST_CASE("Loans: who borrows a book gets a receipt, and is asked for the book after four weeks") {
    Library library;
    const auto now = library.client.clock().now();
    loans::lend(library.shelf, library.client.client(), "ada@example.org", "Emma");

    // What was added, and for when:
    const auto receipts = library.client.enqueued<SendReceipt>();
    REQUIRE(receipts.size() == 1);
    CHECK(receipts[0].task.title == "Emma");
    const auto questions = library.client.enqueued<AskForBook>();
    REQUIRE(questions.size() == 1);
    CHECK(questions[0].due == now + 28 * 24h);

    // What is due now:
    CHECK(library.client.drain().count(Ending::succeeded) == 1);
    CHECK(library.outbox.mails == Mails{"ada@example.org: You have borrowed Emma"});

    // Four weeks pass in no time:
    library.client.drain_until(now + 28 * 24h);
    CHECK(library.outbox.mails.back() == "ada@example.org: Please bring back Emma");
}

TEST_CASE("Loans: a book is asked for each week until it is back") {
    Library library;
    const auto now = library.client.clock().now();
    loans::lend(library.shelf, library.client.client(), "ada@example.org", "Emma");
    library.client.drain_until(now + 6 * 7 * 24h);
    CHECK(library.outbox.mails.size() == 4);  // the receipt, and after four, five and six weeks
    library.shelf.borrower_of.clear();
    library.client.drain_until(now + 52 * 7 * 24h);
    CHECK(library.outbox.mails.size() == 4);
    CHECK(library.client.enqueued<AskForBook>().empty());
}

TEST_CASE("Loans: a receipt is sent once the mail server is back") {
    Library library;
    library.outbox.failures_left = 2;
    const auto begin = library.client.clock().now();
    library.client.add(SendReceipt{"ada@example.org", "Emma"}).save();
    const Drained drained = library.client.drain_until(begin + 3min);
    REQUIRE(drained.size() == 3);
    CHECK(drained.attempts[0].error == "the server is down");
    CHECK(drained.attempts[0].wait == 1min);
    CHECK(drained.attempts[1].wait == 2min);
    CHECK(drained.attempts[2].ending == Ending::succeeded);
    CHECK(library.outbox.mails.size() == 1);
}

TEST_CASE("Loans: a receipt is given up after its last attempt") {
    Library library;
    library.outbox.failures_left = 100;
    const Attempt last = library.client.perform(SendReceipt{"ada@example.org", "Emma"}, {.attempt = 5});
    CHECK(last.ending == Ending::failed);
    REQUIRE(last.exception != nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(last.exception), std::runtime_error);
}

TEST_CASE("Loans: mail to an address that does not exist is not tried again") {
    Library library;
    const Attempt attempt = library.client.perform(SendReceipt{"nobody", "Emma"});
    CHECK(attempt.ending == Ending::discarded);
    CHECK(attempt.error == "no mailbox nobody");
}

TEST_CASE("Loans: a program that stops sends no more receipts, and spends no attempt") {
    Library library;
    const Attempt attempt =
        library.client.perform(SendReceipt{"ada@example.org", "Emma"}, {.stop = backlite::StopReason::stopping});
    CHECK(attempt.ending == Ending::given_back);
    CHECK(library.outbox.mails.empty());
}

}  // namespace
