#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/vocabulary.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace protlm::test {

/// Passes when `action` throws an Error whose message holds `part`.
template <class Action>
void check_error(Action action, std::string const &part) {
    try {
        action();
        BOOST_ERROR("no error, expected one that holds \"" << part << "\"");
    } catch (Error const &error) {
        BOOST_TEST_CONTEXT("message: " << error.what())
        BOOST_TEST((std::string(error.what()).find(part) != std::string::npos), "the message holds \"" << part << "\"");
    }
}

/// Random residue letters, mostly of the twenty.
inline std::string random_protein(std::mt19937_64 &random, std::size_t length) {
    static std::string const letters = "LAGVESIKRDTPNQFYMHCWLAGVESIKRDTPNQFYMHCWX";
    std::string text(length, ' ');
    for (char &letter : text)
        letter = letters[random() % letters.size()];
    return text;
}

} // namespace protlm::test
