#include "support.hpp"

#include <protlm/ops/sample_tokens.hpp>

#include <numeric>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(sample_tokens_op)

using FloatAndDouble = OpCases<float, double>;

struct Keys {
    std::vector<std::uint64_t> samples;
    std::vector<std::int32_t> positions;
};

/// `count` rows of sample 5, positions from 0.
Keys some_rows(index_t count) {
    Keys rows{std::vector<std::uint64_t>(static_cast<std::size_t>(count), 5),
              std::vector<std::int32_t>(static_cast<std::size_t>(count))};
    std::iota(rows.positions.begin(), rows.positions.end(), 0);
    return rows;
}

template <class Case>
std::vector<std::int32_t> draw(std::vector<double> const &logits, Keys const &rows, std::uint64_t seed = 1,
                               std::uint32_t epoch = 0) {
    typename Case::Inference context;
    auto const count = static_cast<index_t>(rows.samples.size());
    auto const tensor =
        make_tensor<typename Case::accumulate>(context, count, static_cast<index_t>(logits.size()) / count, logits);
    return host_elements(sample_tokens(context, tensor,
                                       {seed, epoch, context.template upload<std::uint64_t>(rows.samples),
                                        context.template upload<std::int32_t>(rows.positions)})
                             .view());
}

std::vector<double> repeated(std::vector<double> const &row, index_t count) {
    std::vector<double> all;
    for (index_t i = 0; i < count; ++i)
        all.insert(all.end(), row.begin(), row.end());
    return all;
}

BOOST_AUTO_TEST_CASE_TEMPLATE(tokens_come_with_the_probabilities_of_the_softmax, Case, FloatAndDouble) {
    index_t const count = 40000;
    std::vector<double> const logits{0.0, 1.0, -2.0, 0.5, 2.0, -30.0};
    double total = 0;
    for (double const x : logits)
        total += std::exp(x);
    std::vector<double> seen(logits.size());
    for (std::int32_t const token : draw<Case>(repeated(logits, count), some_rows(count)))
        ++seen[static_cast<std::size_t>(token)];
    for (std::size_t i = 0; i < logits.size(); ++i) {
        double const p = std::exp(logits[i]) / total, sigma = std::sqrt(count * p * (1 - p));
        BOOST_TEST(std::abs(seen[i] - count * p) < 4 * sigma + 1e-3, i << ": " << seen[i] << ", " << count * p);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_draw_is_the_same_in_any_batch_and_with_any_kernels, Case, FloatAndDouble) {
    index_t const count = 64, tokens = 30;
    // 0.5 and the like: exact in float, too
    auto logits = random_values(count * tokens, 3, 8.0);
    for (double &x : logits)
        x = std::round(x * 16) / 16;
    auto const rows = some_rows(count);
    auto const all = draw<Case>(logits, rows);
    BOOST_TEST(all == draw<ReferenceCase>(logits, rows), boost::test_tools::per_element());
    for (std::size_t i : {0u, 17u, 63u}) {
        std::vector<double> const row(logits.begin() + static_cast<long>(i) * tokens,
                                      logits.begin() + static_cast<long>(i + 1) * tokens);
        BOOST_TEST(draw<Case>(row, {{rows.samples[i]}, {rows.positions[i]}})[0] == all[i]);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_key_matters, Case, FloatAndDouble) {
    auto const rows = some_rows(200);
    auto const logits = std::vector<double>(200 * 30, 0.0);
    auto const base = draw<Case>(logits, rows);
    auto other_sample = rows, far_sample = rows, other_position = rows;
    for (auto &sample : other_sample.samples)
        ++sample;
    for (auto &sample : far_sample.samples)
        sample += std::uint64_t(1) << 32;
    for (auto &position : other_position.positions)
        position += 200;
    BOOST_CHECK(base == draw<Case>(logits, rows));
    BOOST_CHECK(base != draw<Case>(logits, rows, 2));
    BOOST_CHECK(base != draw<Case>(logits, rows, 1, 1));
    BOOST_CHECK(base != draw<Case>(logits, other_sample));
    BOOST_CHECK(base != draw<Case>(logits, far_sample));
    BOOST_CHECK(base != draw<Case>(logits, other_position));
}

BOOST_AUTO_TEST_CASE(noise_is_finite_at_both_ends) {
    BOOST_TEST(protlm::detail::gumbel(0) > -4.0); // -log(log 2^33)
    BOOST_TEST(protlm::detail::gumbel(0xFFFFFFFFu) < 23.0);
    BOOST_TEST(protlm::detail::gumbel(0xFFFFFFFFu) > 22.0);
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    auto const message = [](Keys const &rows, index_t tokens) -> std::string {
        ReferenceCase::Inference context;
        try {
            sample_tokens(
                context, context.tensor<double>(2, tokens),
                {1, 0, context.upload<std::uint64_t>(rows.samples), context.upload<std::int32_t>(rows.positions)});
        } catch (Error const &error) {
            return error.what();
        }
        return "no error";
    };
    BOOST_TEST(message({{1, 2, 3}, {0, 1}}, 4) == "sample_tokens: samples has 3 entries, expected 2");
    BOOST_TEST(message({{1, 2}, {0}}, 4) == "sample_tokens: positions has 1 entries, expected 2");
    BOOST_TEST(message({{1, 2}, {0, 1}}, 0) == "sample_tokens: logits has no columns");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
