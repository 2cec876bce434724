#include "attention_reference.hpp"

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(attention_jacobians)

using InDouble = DefaultOpCases<double>;

AttentionCase const cross{.queries = {2, 0, 3}, .keys = {3, 2, 1}, .heads = 2, .width = 3};
constexpr auto products = attention_products<float>;
AttentionCase const memory{.queries = {2, 0, 3}, .keys = {4, 0, 3}, .heads = 2, .width = 3};

BOOST_AUTO_TEST_CASE_TEMPLATE(of_scaled_dot, Case, InDouble) {
    for (double rate : {0.0, 0.4}) {
        std::string const dropped = " dropped at " + std::to_string(rate);
        check_jacobians<Case>("full" + dropped, cross.arguments(), scaled_attention(cross, FullMask{}, products, rate));
        check_jacobians<Case>("causal" + dropped, memory.arguments(),
                              scaled_attention(memory, CausalMask{}, products, rate));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(of_bucket_bias, Case, InDouble) {
    for (auto [frozen, rate] : {std::pair{false, 0.0}, {true, 0.0}, {false, 0.4}}) {
        auto with_table = [role = frozen ? Role::frozen : Role::weight](AttentionCase const &shape, index_t buckets) {
            auto arguments = shape.arguments();
            arguments.push_back(argument(role, buckets, shape.heads, 9));
            return arguments;
        };
        check_jacobians<Case>("full", with_table(cross, 4),
                              biased_attention(cross, FullMask{}, true, 3, products, rate));
        check_jacobians<Case>("causal", with_table(memory, 4),
                              biased_attention(memory, CausalMask{}, false, 4, products, rate));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
