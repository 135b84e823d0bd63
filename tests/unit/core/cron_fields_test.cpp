// SPDX-License-Identifier: MIT
#include <bit>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <backlite/core/cron_fields.hpp>
#include <backlite/error.hpp>

#include <backlite_catch.hpp>
#include <message_of.hpp>

namespace {

using namespace std::chrono_literals;
using namespace std::chrono;
using backlite::ConfigError;
using backlite::core::CronFields;
using backlite_test::contains;
using backlite_test::message_of;

std::vector<unsigned> numbers(std::uint64_t set) {
    std::vector<unsigned> found;
    for (unsigned i = 0; i < 64; ++i) {
        if ((set >> i & 1U) != 0) found.push_back(i);
    }
    return found;
}

using Numbers = std::vector<unsigned>;

Numbers minutes_of(std::string_view field) {
    return numbers(CronFields::parse(std::string{field} + " * * * *").minutes);
}
Numbers weekdays_of(std::string_view field) {
    return numbers(CronFields::parse("0 0 * * " + std::string{field}).weekdays);
}
Numbers months_of(std::string_view field) {
    return numbers(CronFields::parse("0 0 1 " + std::string{field} + " *").months);
}

std::string refusal(std::string_view expression) {
    return message_of<ConfigError>([&] { static_cast<void>(CronFields::parse(expression)); });
}

/// The days of February 2024, which began on a Thursday and had 29 days.
Numbers february(std::string_view days_and_weekdays) {
    const std::string text{days_and_weekdays};
    const std::size_t blank = text.find(' ');
    return numbers(
        CronFields::parse("0 0 " + text.substr(0, blank) + " * " + text.substr(blank + 1)).days_of(29, Thursday));
}

TEST_CASE("CronFields: a field is a star, numbers, ranges, steps, and lists of them") {
    CHECK(minutes_of("*").size() == 60);
    CHECK(minutes_of("5") == Numbers{5});
    CHECK(minutes_of("05") == Numbers{5});
    CHECK(minutes_of("5-8") == Numbers{5, 6, 7, 8});
    CHECK(minutes_of("5-5") == Numbers{5});
    CHECK(minutes_of("*/20") == Numbers{0, 20, 40});
    CHECK(minutes_of("5/20") == Numbers{5, 25, 45});
    CHECK(minutes_of("5-30/10") == Numbers{5, 15, 25});
    CHECK(minutes_of("3,1,2-4/2,*/30") == Numbers{0, 1, 2, 3, 4, 30});
    CHECK(minutes_of("*/60") == Numbers{0});
    CHECK(minutes_of("0,59") == Numbers{0, 59});
}

TEST_CASE("CronFields: five fields begin with minutes, six with seconds") {
    const CronFields five = CronFields::parse("1 2 3 4 5");
    CHECK(numbers(five.seconds) == Numbers{0});
    CHECK(numbers(five.minutes) == Numbers{1});
    CHECK(numbers(five.hours) == Numbers{2});
    CHECK(numbers(five.days) == Numbers{3});
    CHECK(numbers(five.months) == Numbers{4});
    CHECK(numbers(five.weekdays) == Numbers{5});
    const CronFields six = CronFields::parse("  0\t1  2 3 4 5\n");
    CHECK(numbers(six.seconds) == Numbers{0});
    CHECK(numbers(six.minutes) == Numbers{1});
    CHECK(numbers(six.weekdays) == Numbers{5});
    CHECK(numbers(CronFields::parse("*/15 1 2 3 4 5").seconds) == Numbers{0, 15, 30, 45});
}

TEST_CASE("CronFields: months and days of the week have names, in either case") {
    CHECK(months_of("JAN,dec") == Numbers{1, 12});
    CHECK(months_of("Mar-may") == Numbers{3, 4, 5});
    CHECK(months_of("JAN-DEC/4") == Numbers{1, 5, 9});
    CHECK(months_of("FEB,APR,JUN,JUL,AUG,SEP,OCT,NOV") == Numbers{2, 4, 6, 7, 8, 9, 10, 11});
    CHECK(weekdays_of("MON") == Numbers{1});
    CHECK(weekdays_of("tue-THU") == Numbers{2, 3, 4});
    CHECK(weekdays_of("SUN,fri,Sat,WED") == Numbers{0, 3, 5, 6});
}

TEST_CASE("CronFields: Sunday is 0 and 7, and a range may end with it") {
    CHECK(weekdays_of("0") == Numbers{0});
    CHECK(weekdays_of("7") == Numbers{0});
    CHECK(weekdays_of("5-7") == Numbers{0, 5, 6});
    CHECK(weekdays_of("FRI-SUN") == Numbers{0, 5, 6});
    CHECK(weekdays_of("0-7").size() == 7);
    CHECK(weekdays_of("*/2") == Numbers{0, 2, 4, 6});
    CHECK(weekdays_of("3/2") == Numbers{3, 5});
    CHECK(weekdays_of("7/3") == Numbers{0, 3, 6});
    CHECK(weekdays_of("7#2") == Numbers{});
    CHECK(CronFields::parse("0 0 * * 7#2").nth[0] == 1U << 2);
    CHECK(CronFields::parse("0 0 * * 7L").last_weekdays == 1U);
}

TEST_CASE("CronFields: names that begin with an at sign stand for whole expressions") {
    const auto same = [](std::string_view name, std::string_view fields) {
        const CronFields a = CronFields::parse(name);
        const CronFields b = CronFields::parse(fields);
        return a.minutes == b.minutes && a.hours == b.hours && a.days == b.days && a.months == b.months &&
               a.weekdays == b.weekdays && a.every_hour == b.every_hour && a.every_day == b.every_day &&
               a.every_weekday == b.every_weekday && a.seconds == b.seconds;
    };
    CHECK(same("@yearly", "0 0 1 1 *"));
    CHECK(same("@annually", "0 0 1 1 *"));
    CHECK(same("@monthly", "0 0 1 * *"));
    CHECK(same("@weekly", "0 0 * * 0"));
    CHECK(same("@daily", "0 0 * * *"));
    CHECK(same("@midnight", "0 0 * * *"));
    CHECK(same(" @hourly ", "0 * * * *"));
}

TEST_CASE("CronFields: L is the last day of a month, and L-n comes n days before it") {
    CHECK(february("L *") == Numbers{29});
    CHECK(february("L-3 *") == Numbers{26});
    CHECK(february("1,L-1,L *") == Numbers{1, 28, 29});
    CHECK(february("L-28 *") == Numbers{1});
    CHECK(february("L-29 *") == Numbers{});
    CHECK(numbers(CronFields::parse("0 0 L * *").days_of(30, Monday)) == Numbers{30});
}

TEST_CASE("CronFields: nW is the working day of the month nearest to the n-th") {
    CHECK(february("15W *") == Numbers{15});  // a Thursday
    CHECK(february("10W *") == Numbers{9});   // a Saturday
    CHECK(february("11W *") == Numbers{12});  // a Sunday
    CHECK(february("30W *") == Numbers{});    // there is none
    const CronFields first = CronFields::parse("0 0 1W * *");
    CHECK(numbers(first.days_of(31, Saturday)) == Numbers{3});
    CHECK(numbers(first.days_of(31, Sunday)) == Numbers{2});
    const CronFields last = CronFields::parse("0 0 31W * *");
    CHECK(numbers(last.days_of(31, Friday)) == Numbers{29});  // the 31st is a Sunday
    CHECK(numbers(last.days_of(31, Thursday)) == Numbers{30});
    CHECK(numbers(last.days_of(31, Monday)) == Numbers{31});
}

TEST_CASE("CronFields: LW is the last working day of a month") {
    const CronFields fields = CronFields::parse("0 0 LW * *");
    CHECK(numbers(fields.days_of(31, Monday)) == Numbers{31});    // a Wednesday
    CHECK(numbers(fields.days_of(31, Thursday)) == Numbers{30});  // before a Saturday
    CHECK(numbers(fields.days_of(31, Friday)) == Numbers{29});    // before a Sunday
}

TEST_CASE("CronFields: d#n is the n-th of its weekdays in a month, and dL the last") {
    CHECK(february("* 4#1") == Numbers{1});
    CHECK(february("* THU#5") == Numbers{29});
    CHECK(february("* FRI#5") == Numbers{});
    CHECK(february("* MON#1,3#2") == Numbers{5, 14});
    CHECK(february("* 4L") == Numbers{29});
    CHECK(february("* FRIL") == Numbers{23});
    CHECK(february("* 5L,SUN") == Numbers{4, 11, 18, 23, 25});
}

TEST_CASE("CronFields: a question mark is a star") {
    CHECK(february("? MON") == Numbers{5, 12, 19, 26});
    CHECK(february("7 ?") == Numbers{7});
    CHECK(february("? ?").size() == 29);
}

TEST_CASE("CronFields: of two restricted days one must match, and both where one begins with a star") {
    CHECK(february("13 MON") == Numbers{5, 12, 13, 19, 26});
    CHECK(february("* MON") == Numbers{5, 12, 19, 26});
    CHECK(february("13 *") == Numbers{13});
    CHECK(february("*/2 MON") == Numbers{5, 19});
    CHECK(february("13-19 */2") == Numbers{13, 15, 17, 18});
    CHECK(february("1-31 MON").size() == 29);
    CHECK(february("L MON") == Numbers{5, 12, 19, 26, 29});
}

TEST_CASE("CronFields: the first time of day that is not before a given one") {
    const CronFields fields = CronFields::parse("10,30 15,45 9,17 * * *");
    CHECK(fields.time_from(0s) == 9h + 15min + 10s);
    CHECK(fields.time_from(9h + 15min + 10s) == 9h + 15min + 10s);
    CHECK(fields.time_from(9h + 15min + 11s) == 9h + 15min + 30s);
    CHECK(fields.time_from(9h + 15min + 31s) == 9h + 45min + 10s);
    CHECK(fields.time_from(9h + 16min + 20s) == 9h + 45min + 10s);
    CHECK(fields.time_from(9h + 45min + 31s) == 17h + 15min + 10s);
    CHECK(fields.time_from(10h + 15min + 20s) == 17h + 15min + 10s);
    CHECK(fields.time_from(17h + 45min + 30s) == 17h + 45min + 30s);
    CHECK_FALSE(fields.time_from(17h + 45min + 31s));
    CHECK_FALSE(fields.time_from(18h));
    CHECK(CronFields::parse("* * * * * *").time_from(23h + 59min + 59s) == 23h + 59min + 59s);
    CHECK_FALSE(CronFields::parse("58 59 23 * * *").time_from(23h + 59min + 59s));
}

TEST_CASE("CronFields: a refusal names the expression, the field and the value") {
    CHECK(refusal("0 25 * * *") == "cron expression \"0 25 * * *\": hour \"25\": only 0 to 23 will do");
    CHECK(refusal("60 * * * *") == "cron expression \"60 * * * *\": minute \"60\": only 0 to 59 will do");
    CHECK(refusal("0 0 1,32 * *") == "cron expression \"0 0 1,32 * *\": day of month \"32\": only 1 to 31 will do");
    CHECK(refusal("0 0 * 13 *") == "cron expression \"0 0 * 13 *\": month \"13\": only 1 to 12 will do");
    CHECK(refusal("0 0 * * 8") == "cron expression \"0 0 * * 8\": day of week \"8\": only 0 to 7 will do");
    CHECK(refusal("60 0 0 * * *") == "cron expression \"60 0 0 * * *\": second \"60\": only 0 to 59 will do");
    CHECK(refusal("0 17-9 * * *") == "cron expression \"0 17-9 * * *\": hour \"17-9\": this range runs backwards");
    CHECK(refusal("*/0 * * * *") == "cron expression \"*/0 * * * *\": minute \"*/0\": only 1 to 60 will do");
    CHECK(refusal("0 0 * FOO *") ==
          "cron expression \"0 0 * FOO *\": month \"FOO\": this is no number and no name of one");
    CHECK(refusal("0 x * * *") == "cron expression \"0 x * * *\": hour \"x\": this is no number");
    CHECK(refusal("0 0 30 2 *") ==
          "cron expression \"0 0 30 2 *\": no date matches its day of month, month and day of week");
}

TEST_CASE("CronFields: what is no expression is refused") {
    for (const std::string_view expression : {"",
                                              " ",
                                              "*",
                                              "* * * *",
                                              "* * * * * * *",
                                              "@",
                                              "@reboot",
                                              "@every 5m",
                                              "@daily *",
                                              "@DAILY",
                                              "a * * * *",
                                              "-1 * * * *",
                                              "1- * * * *",
                                              "-",
                                              "1--2 * * * *",
                                              "1-2-3 * * * *",
                                              "*/ * * * *",
                                              "*/x * * * *",
                                              "*/-1 * * * *",
                                              "/5 * * * *",
                                              "*/61 * * * *",
                                              "0 */25 * * *",
                                              "0 0 */32 * *",
                                              "0 0 1 */13 *",
                                              "0 0 * * */8",
                                              "1//2 * * * *",
                                              "*/2/3 * * * *",
                                              ", * * * *",
                                              "1, * * * *",
                                              ",1 * * * *",
                                              "1,,2 * * * *",
                                              "*5 * * * *",
                                              "5* * * * *",
                                              "*-5 * * * *",
                                              "? * * * *",
                                              "0 ? * * *",
                                              "0 0 * ? *",
                                              "0 0 ?,1 * *",
                                              "0 0 1 * ?,1",
                                              "0 0 ?/2 * *",
                                              "L * * * *",
                                              "0 0 0 * *",
                                              "0 0 L-0 * *",
                                              "0 0 L-31 * *",
                                              "0 0 L-x * *",
                                              "0 0 W * *",
                                              "0 0 0W * *",
                                              "0 0 32W * *",
                                              "0 0 L-3W * *",
                                              "0 0 1-5W * *",
                                              "0 0 L/2 * *",
                                              "0 0 * * L",
                                              "0 0 * * 1#0",
                                              "0 0 * * 1#6",
                                              "0 0 * * 1#",
                                              "0 0 * * #1",
                                              "0 0 * * 8#1",
                                              "0 0 * * 1#1#1",
                                              "0 0 * * xL",
                                              "0 0 * * 1-5L",
                                              "0 0 * * MOND",
                                              "0 0 * * 1#L",
                                              "0 0 MON * *",
                                              "0 0 * MON *",
                                              "0 0 * * FRI-MON",
                                              "0 0 * * 5-0",
                                              "0 0 * DEC-JAN *",
                                              "999999999999999999999 * * * *",
                                              "0 0 31 2,4,6,9,11 *",
                                              "0 0 L-30 2 *",
                                              "0 0 31W 4 *",
                                              "0 0 */31 * * *  *"}) {
        INFO(expression);
        CHECK(contains(refusal(expression), "cron expression \""));
    }
    CHECK(contains(refusal(std::string(1'001, '*')), "longer than 1,000 characters"));
    CHECK(contains(refusal(std::string_view{"1\0002 * * * *", 12}), "minute \"1?2\""));
}

TEST_CASE("CronFields: dates that some year has are no mistake") {
    for (const std::string_view expression :
         {"0 0 29 2 *", "0 0 * 2 1#5", "0 0 */31 1 MON", "0 0 L-28 2 *", "0 0 29W 2 *", "0 0 30 2 1"}) {
        INFO(expression);
        CHECK_NOTHROW(CronFields::parse(expression));
    }
}

TEST_CASE("CronFields: random text is read or refused") {
    std::mt19937_64 random{20'261'130};
    constexpr std::string_view letters = "0123456789012345***//--,,,?LW#JANMONSUN@ \t.x\xff";
    const std::vector<std::string_view> bases{"0 3 * * *", "*/5 9-17 1,15 JAN-JUN MON#2", "0 0 0 LW 2 ?", "@daily",
                                              "1 2 L-3 */2 5L"};
    std::size_t read = 0;
    std::size_t refused = 0;
    for (int round = 0; round < 50'000; ++round) {
        std::string text{bases[random() % bases.size()]};
        for (std::uint64_t left = 1 + random() % 4; left > 0; --left) {
            const std::size_t place = random() % (text.size() + 1);
            const char letter = letters[random() % letters.size()];
            if (random() % 2 == 0 && place < text.size()) {
                text[place] = letter;
            } else {
                text.insert(place, 1, letter);
            }
        }
        try {
            const CronFields fields = CronFields::parse(text);
            ++read;
            if (fields.minutes == 0 || fields.seconds == 0 || fields.hours == 0 || !fields.time_from(0s))
                FAIL_CHECK(text);
        } catch (const ConfigError&) {
            ++refused;
        }
    }
    CHECK(read > 1'000);
    CHECK(refused > 1'000);
}

}  // namespace
