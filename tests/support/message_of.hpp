#pragma once

#include <protlm/core/check.hpp>

#include <boost/test/unit_test.hpp>

#include <string>

namespace protlm::test {

/// The message of the Error that `f` throws; fails the test when it throws none.
template <class F>
std::string message_of(F &&f) {
    try {
        f();
    } catch (Error const &error) {
        return error.what();
    }
    BOOST_TEST(false, "no error was thrown");
    return {};
}

} // namespace protlm::test
