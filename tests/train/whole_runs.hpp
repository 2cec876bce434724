#pragma once

#include "small_run.hpp"
#include "support/compare.hpp"

#include <boost/test/unit_test.hpp>

namespace protlm::test {

/// A store to train on, and a folder for runs.
struct Store {
    TemporaryFolder folder;
    TokenStore store;
    Store() : store((write_small_store(folder / "s.store"), folder / "s.store")) {}
};

inline auto says(std::string text) {
    return [text](Error const &error) {
        BOOST_TEST_MESSAGE(error.what());
        return std::string(error.what()).find(text) != std::string::npos;
    };
}

inline void check_same(SmallRun const &actual, SmallRun const &expected) {
    BOOST_TEST(compare_bits("weights", actual.weights, expected.weights));
    BOOST_TEST(actual.state.size() == expected.state.size());
    for (auto const &[name, values] : expected.state)
        BOOST_TEST(compare_bits(name, actual.state.at(name), values));
    BOOST_TEST((actual.cursor == expected.cursor));
    BOOST_TEST(actual.outcome.tokens == expected.outcome.tokens);
}

} // namespace protlm::test
