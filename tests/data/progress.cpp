#include <protlm/core/progress.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <memory>
#include <string>

BOOST_AUTO_TEST_SUITE(progress)

BOOST_AUTO_TEST_CASE(durations) {
    BOOST_TEST(protlm::format_duration(0.4) == "0 s");
    BOOST_TEST(protlm::format_duration(59.4) == "59 s");
    BOOST_TEST(protlm::format_duration(59.6) == "1:00 min");
    BOOST_TEST(protlm::format_duration(187) == "3:07 min");
    BOOST_TEST(protlm::format_duration(43500) == "12:05 h");
    BOOST_TEST(protlm::format_duration(-1) == "?");
    BOOST_TEST(protlm::format_duration(1.0 / 0.0) == "?");
}

BOOST_AUTO_TEST_CASE(amounts) {
    BOOST_TEST(protlm::format_amount(0) == "0");
    BOOST_TEST(protlm::format_amount(7.314) == "7.31");
    BOOST_TEST(protlm::format_amount(999) == "999");
    BOOST_TEST(protlm::format_amount(999.7) == "1.00 k");
    BOOST_TEST(protlm::format_amount(12345) == "12.3 k");
    BOOST_TEST(protlm::format_amount(4056789) == "4.06 M");
    BOOST_TEST(protlm::format_amount(12, "B") == "12 B");
    BOOST_TEST(protlm::format_amount(12345, "B") == "12.3 kB");
    BOOST_TEST(protlm::format_amount(12345, "proteins") == "12.3 k proteins");
}

BOOST_AUTO_TEST_CASE(without_a_terminal_lines_are_plain_and_short_jobs_show_the_end_only) {
    std::unique_ptr<std::FILE, int (*)(std::FILE *)> const file(std::tmpfile(), &std::fclose);
    {
        protlm::Progress shown("embed", "proteins", 200, false, file.get());
        shown.update(50);
        BOOST_TEST(shown.line("note").starts_with("embed: 50 of 200 proteins (25 %), "));
        BOOST_TEST(shown.line("note").ends_with(" left, note"));
        shown.update(200);
        shown.finish("all well");
        protlm::Progress silent("embed", "proteins", 200, true, file.get());
        silent.update(200);
        silent.finish();
    }
    std::rewind(file.get());
    char text[256] = {};
    std::size_t const size = std::fread(text, 1, sizeof(text) - 1, file.get());
    std::string const line(text, size);
    BOOST_TEST(line.starts_with("embed: 200 of 200 proteins (100 %), "));
    BOOST_TEST(line.ends_with(", 0 s, all well\n"));
    BOOST_TEST(std::count(line.begin(), line.end(), '\n') == 1);
    BOOST_TEST(line.find('\r') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_unknown_total_has_no_time_left) {
    protlm::Progress const it("read", "B", 0, true);
    BOOST_TEST(it.line() == "read: 0 B");
}

BOOST_AUTO_TEST_SUITE_END()
