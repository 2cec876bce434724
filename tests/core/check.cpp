#include <protlm/core/check.hpp>

#include <boost/test/unit_test.hpp>

#include <limits>
#include <string>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(error_checks)

std::string message_of(auto const &action) {
    try {
        action();
    } catch (Error const &error) {
        return error.what();
    }
    return "(no error)";
}

BOOST_AUTO_TEST_CASE(fail_joins_its_parts) {
    BOOST_TEST(message_of([] { fail("file ", 3, ": ", 'x', " is ", 0.5); }) == "file 3: x is 0.5");
}

BOOST_AUTO_TEST_CASE(check_is_silent_when_valid_and_throws_when_not) {
    BOOST_CHECK_NO_THROW(check(true, "never seen"));
    BOOST_TEST(message_of([] { check(2 > 3, "attention: heads ", 2); }) == "attention: heads 2");
    BOOST_CHECK_THROW(check(false, "x"), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(an_error_can_carry_the_setting_that_decides) {
    Setting const setting{"on_long", "cut or skip"};
    BOOST_CHECK_NO_THROW(check(true, setting, "never seen"));
    BOOST_TEST(message_of([&] { fail(setting, "protein ", 'P', " is long"); }) ==
               "protein P is long; on_long decides: cut or skip");
    try {
        std::string const values = "cut or skip"; // gone when the error is caught
        check(false, Setting{"on_long", values}, "protein ", 'P', " is long");
    } catch (Error const &error) {
        Error const copy = error;
        BOOST_TEST(copy.message() == "protein P is long");
        BOOST_REQUIRE(copy.setting().has_value());
        BOOST_TEST(copy.setting()->name == "on_long");
        BOOST_TEST(copy.setting()->values == "cut or skip");
    }
    Error const plain("a file is not there");
    BOOST_TEST(plain.message() == "a file is not there");
    BOOST_TEST(!plain.setting().has_value());
}

// A hot loop may check: the message must cost nothing while all is well.
struct CountsStreaming {
    int &count;
};
std::ostream &operator<<(std::ostream &out, CountsStreaming const &part) {
    ++part.count;
    return out << "part";
}

BOOST_AUTO_TEST_CASE(message_is_built_only_on_failure) {
    int count = 0;
    check(true, CountsStreaming{count});
    BOOST_TEST(count == 0);
    BOOST_TEST(message_of([&] { check(false, CountsStreaming{count}); }) == "part");
    BOOST_TEST(count == 1);
}

BOOST_AUTO_TEST_CASE(check_extent_names_function_parameter_and_both_values) {
    BOOST_CHECK_NO_THROW(check_extent("attention", "keys", "columns", 16, 16ll));
    BOOST_TEST(message_of([] { check_extent("attention", "keys", "columns", 12, 16); }) ==
               "attention: keys has 12 columns, expected 16");
    // 64 bit: extents that are equal in their lower 32 bits differ.
    long long const large = 1ll << 32;
    BOOST_TEST(message_of([&] { check_extent("f", "x", "rows", large, 0); }) == "f: x has 4294967296 rows, expected 0");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
