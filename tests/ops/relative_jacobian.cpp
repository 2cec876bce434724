#include "relative_reference.hpp"

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(relative_jacobians)

using InDouble = DefaultOpCases<double>;

AttentionCase const self{.queries = {3, 1, 0, 5}, .keys = {3, 1, 0, 5}, .heads = 2, .width = 3};
AttentionCase const memory{.queries = {2, 0, 3}, .keys = {5, 2, 3}, .heads = 2, .width = 3};

BOOST_AUTO_TEST_CASE_TEMPLATE(of_the_relative_term, Case, InDouble) {
    RelativeCase const full{.shape = self, .ahead = 4}, causal{.shape = memory};
    for (double rate : {0.0, 0.4}) {
        std::string const dropped = " dropped at " + std::to_string(rate);
        check_jacobians<Case>("full" + dropped, full.arguments(), relative_attention(full, full_mask, rate));
        check_jacobians<Case>("causal with a memory" + dropped, causal.arguments(),
                              relative_attention(causal, causal_mask, rate));
    }
    check_jacobians<Case>("same length", causal.arguments(),
                          relative_attention(causal, [](auto &) { return SameLengthMask{1}; }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(of_segments_positions_and_halves, Case, InDouble) {
    for (bool segments : {false, true}) {
        RelativeCase const c{
            .shape = memory, .ahead = 4, .second = 1, .segments = segments, .positioned = true, .types = 3};
        check_jacobians<Case>("all", c.arguments(), relative_attention(c, full_mask));
        check_jacobians<Case>("all, dropped", c.arguments(), relative_attention(c, full_mask, 0.4));
    }
    RelativeCase const c{.shape = self, .ahead = 4, .segments = true};
    check_jacobians<Case>("segments", c.arguments(), relative_attention(c, full_mask));
}

// Weights that are not trained and encodings without gradient change nothing for the others.
BOOST_AUTO_TEST_CASE_TEMPLATE(of_frozen_parameters, Case, InDouble) {
    RelativeCase const c{.shape = memory, .ahead = 2, .segments = true};
    for (std::size_t frozen : {3u, 4u, 5u, 6u, 7u}) {
        auto arguments = c.arguments();
        for (std::size_t i = 3; i < 8; ++i)
            if (i == frozen || frozen == 3)
                arguments[i].role = i == 3 ? Role::constant : Role::frozen;
        check_jacobians<Case>("frozen " + std::to_string(frozen), arguments, relative_attention(c, full_mask));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
