#include <protlm/train/schedule.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using Kind = Schedule::Kind;

BOOST_AUTO_TEST_SUITE(schedule)

BOOST_AUTO_TEST_CASE(warm_up_rises_linearly_to_the_peak) {
    for (Kind kind : {Kind::constant, Kind::linear, Kind::cosine, Kind::inverse_square_root}) {
        Schedule const schedule{.kind = kind, .peak = 8.0, .warmup_steps = 4, .total_steps = 20};
        BOOST_TEST(schedule.learning_rate(1) == 2.0);
        BOOST_TEST(schedule.learning_rate(2) == 4.0);
        BOOST_TEST(schedule.learning_rate(4) == 8.0);
        BOOST_TEST((kind == Kind::constant) == (schedule.learning_rate(5) == 8.0));
    }
}

BOOST_AUTO_TEST_CASE(exact_values) {
    Schedule const linear{.kind = Kind::linear, .peak = 1.0, .warmup_steps = 0, .total_steps = 10};
    BOOST_TEST(linear.learning_rate(1) == 1.0);
    BOOST_TEST(linear.learning_rate(6) == 0.5);
    BOOST_TEST(linear.learning_rate(10) == 0.1, boost::test_tools::tolerance(1e-12)); // no step is lost
    BOOST_TEST(linear.learning_rate(11) == 0.0);
    BOOST_TEST(linear.learning_rate(100) == 0.0);
    Schedule const cosine{.kind = Kind::cosine, .peak = 1.0, .warmup_steps = 1, .total_steps = 10, .final_ratio = 0.2};
    BOOST_TEST(cosine.learning_rate(1) == 1.0);
    BOOST_TEST(cosine.learning_rate(6) == 0.6, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(cosine.learning_rate(11) == 0.2, boost::test_tools::tolerance(1e-12));
    Schedule const root{.kind = Kind::inverse_square_root, .peak = 1e-2, .warmup_steps = 10000, .hold_warmup = true};
    BOOST_TEST(root.learning_rate(1) == 1e-2); // as T5: 1 / sqrt(max(step, 10000))
    BOOST_TEST(root.learning_rate(10000) == 1e-2);
    BOOST_TEST(root.learning_rate(40000) == 5e-3, boost::test_tools::tolerance(1e-12));
    Schedule const endless{.kind = Kind::linear, .peak = 3.0};
    BOOST_TEST(endless.learning_rate(1000000) == 3.0);
}

BOOST_AUTO_TEST_CASE(never_rises_after_the_warm_up) {
    for (Kind kind : {Kind::constant, Kind::linear, Kind::cosine, Kind::inverse_square_root})
        for (index_t warmup : {0, 1, 7, 30}) { // also a warm-up beyond the end
            Schedule const schedule{.kind = kind, .peak = 1.0, .warmup_steps = warmup, .total_steps = 20};
            for (index_t step = std::max<index_t>(warmup, 1); step < 40; ++step) {
                BOOST_TEST(schedule.learning_rate(step + 1) <= schedule.learning_rate(step));
                BOOST_TEST(schedule.learning_rate(step) >= 0);
            }
        }
}

BOOST_AUTO_TEST_CASE(fields_and_names_are_checked) {
    BOOST_CHECK_THROW((Schedule{.peak = -1.0}.validate()), Error);
    BOOST_CHECK_THROW((Schedule{.warmup_steps = -1}.validate()), Error);
    BOOST_CHECK_THROW((Schedule{.final_ratio = 1.5}.validate()), Error);
    BOOST_CHECK_NO_THROW(Schedule{}.validate());
    BOOST_TEST((parse_schedule("cosine") == Kind::cosine));
    BOOST_CHECK_THROW(parse_schedule("cosinus"), Error);
}

BOOST_AUTO_TEST_SUITE_END()
