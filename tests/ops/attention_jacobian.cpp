#include "attention_reference.hpp"

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(attention_jacobians)

using InDouble = DefaultOpCases<double>;

AttentionCase const cross{.queries = {2, 0, 3}, .keys = {3, 2, 1}, .heads = 2, .width = 3};
AttentionCase const memory{.queries = {2, 0, 3}, .keys = {4, 0, 3}, .heads = 2, .width = 3};

BOOST_AUTO_TEST_CASE_TEMPLATE(of_scaled_dot, Case, InDouble) {
    check_jacobians<Case>("full", cross.arguments(), scaled_attention(cross, FullMask{}));
    check_jacobians<Case>("causal", memory.arguments(), scaled_attention(memory, CausalMask{}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(of_bucket_bias, Case, InDouble) {
    for (bool frozen : {false, true}) {
        auto with_table = [&](AttentionCase const &shape, index_t buckets) {
            auto arguments = shape.arguments();
            arguments.push_back(argument(frozen ? Role::frozen : Role::weight, buckets, shape.heads, 9));
            return arguments;
        };
        check_jacobians<Case>("full", with_table(cross, 4), biased_attention(cross, FullMask{}, true, 3));
        check_jacobians<Case>("causal", with_table(memory, 4), biased_attention(memory, CausalMask{}, false, 4));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
