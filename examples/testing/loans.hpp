// SPDX-License-Identifier: MIT
#pragma once
// A part of a library's program: it lends books, and writes to those who borrow them. Loans are lent by `lend`; the
// mails are tasks. loans_test.cpp tests both.

#include <map>
#include <stdexcept>
#include <string>

#include <backlite/backlite.hpp>
#include <nlohmann/json.hpp>

namespace loans {

/// Where mail goes. The program has one that speaks to a server; tests have one that remembers.
class Mailer {
public:
    /// There is no such mailbox, and there will be none.
    struct UnknownAddress : std::runtime_error {
        using std::runtime_error::runtime_error;
    };

    Mailer() = default;
    Mailer(const Mailer&) = delete;
    Mailer& operator=(const Mailer&) = delete;
    virtual ~Mailer() = default;

    /// Errors: UnknownAddress; any other exception if the server cannot be reached just now.
    virtual void send(const std::string& to, const std::string& text) = 0;
};

/// Who has which book: a table of the database, in a real program.
struct Shelf {
    std::map<std::string, std::string> borrower_of{};  ///< by title
};

/// Tells the borrower what was borrowed.
struct SendReceipt {
    std::string to{};
    std::string title{};
    static backlite::QueueConfig config();
};

/// Asks for the book, and asks again each week until it is back.
struct AskForBook {
    std::string to{};
    std::string title{};
    static backlite::QueueConfig config();
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendReceipt, to, title)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(AskForBook, to, title)

/// Lends a book for four weeks. An Adder is all that it needs of a client.
void lend(Shelf& shelf, const backlite::Adder& tasks, const std::string& to, const std::string& title);

/// The processor of SendReceipt.
[[nodiscard]] backlite::Outcome send_receipt(Mailer& mailer, const backlite::Context& context, const SendReceipt& task);

/// The processor of AskForBook.
[[nodiscard]] backlite::Outcome ask_for_book(const Shelf& shelf, Mailer& mailer, const backlite::Context& context,
                                             const AskForBook& task);

/// Registers both: with a `backlite::Client` in the program, with a TestClient in tests.
template <class AnyClient>
void register_queues(AnyClient& client, Shelf& shelf, Mailer& mailer) {
    client.template register_queue<SendReceipt>([&mailer](const backlite::Context& context, const SendReceipt& task) {
        return send_receipt(mailer, context, task);
    });
    client.template register_queue<AskForBook>(
        [&shelf, &mailer](const backlite::Context& context, const AskForBook& task) {
            return ask_for_book(shelf, mailer, context, task);
        });
}

}  // namespace loans
