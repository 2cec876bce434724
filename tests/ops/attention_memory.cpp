#include "attention_reference.hpp"

#include <protlm/ops/relative_score.hpp>

namespace protlm::test {
namespace {

// What attention takes above its inputs and outputs, forward and backward, by the statistics of the memory pool.
BOOST_AUTO_TEST_SUITE(attention_memory)

using Context = protlm::Training<Kokkos::DefaultExecutionSpace>;
using Exec = Context::execution_space;
constexpr index_t width = 64;
constexpr std::size_t megabyte = 1000000;

/// Peak bytes above q, k, v, out and their gradients.
template <class MakeScore, class Mask>
std::size_t extra_bytes(index_t length, index_t heads, MakeScore make_score, Mask mask) {
    Context context;
    index_t const columns = heads * width;
    std::vector<std::int64_t> const offsets{0, length};
    auto const segments = make_segments(context, offsets);
    std::vector<Tensor<float, Exec>> qkv;
    for (std::uint64_t i = 0; i < 3; ++i)
        qkv.push_back(make_tensor<float>(context, length, columns, random_values(length * columns, i)));
    auto const score = make_score(context);
    context.pool().trim();
    context.pool().reset_peak();
    std::size_t const before = context.pool().statistics().bytes_in_use;
    auto const out = attention(context, Columns{qkv[0], 0}, Columns{qkv[1], 0}, Columns{qkv[2], 0}, segments, segments,
                               heads, width, score, mask);
    out.accumulate();
    Kokkos::deep_copy(out.gradient_view(), 1.0f);
    context.tape().run();
    // out, its gradient, and those of q, k and v
    auto const one = sizeof(float) * static_cast<std::size_t>(length * columns);
    std::size_t const peak = context.pool().statistics().peak_bytes - before;
    BOOST_REQUIRE(peak > 5 * one);
    // results of a constant gradient: each row of v's gradient is what all queries gave to that key
    auto const dv = host_values(qkv[2].gradient_view());
    double sum = 0;
    for (double value : dv)
        sum += value;
    BOOST_TEST(std::abs(sum / static_cast<double>(length * columns) - 1.0) < 1e-3);
    return peak - 5 * one;
}

auto const scaled = [](Context &) { return ScaledDot<float>{0.125f}; };

BOOST_AUTO_TEST_CASE(forty_thousand_tokens_take_less_than_200_megabytes) {
    BOOST_TEST(extra_bytes(40000, 1, scaled, FullMask{}) < 200 * megabyte);
}

// Four times the length takes four times the memory, not sixteen times; also where a table of biases is trained, and
// with several heads, whose tasks share the scratch.
BOOST_AUTO_TEST_CASE(memory_is_linear_in_the_length) {
    std::size_t const shorter = extra_bytes(1500, 2, scaled, CausalMask{}),
                      longer = extra_bytes(6000, 2, scaled, CausalMask{});
    BOOST_TEST(longer < 5 * shorter);

    ParameterTable table;
    auto const id = table.add("bias", {32, 2}, Initialiser::truncated_normal(1.0));
    Parameters<float, Exec> parameters(table);
    parameters.initialise(1);
    parameters.enable_gradients();
    auto const biased = [&](Context &context) {
        return BucketBias<float, Exec>(context, parameters.weight(id), true, 128, 0.125f);
    };
    BOOST_TEST(extra_bytes(6000, 2, biased, FullMask{}) < 5 * extra_bytes(1500, 2, biased, FullMask{}));
    BOOST_TEST(extra_bytes(6000, 2, biased, FullMask{}) < 60 * megabyte);
}

// The relative term as well: encodings of twice as many offsets as tokens, their sums and their gradient.
BOOST_AUTO_TEST_CASE(memory_of_the_relative_term_is_linear_in_the_length) {
    ParameterTable table;
    auto const id = table.add("r_w_bias", {2, width}, Initialiser::truncated_normal(1.0));
    Parameters<float, Exec> parameters(table);
    parameters.initialise(1);
    parameters.enable_gradients();
    auto const bytes = [&](index_t length) {
        auto const relative = [&](Context &context) {
            auto const r =
                make_tensor<float>(context, 2 * length - 1, 2 * width, random_values((2 * length - 1) * 2 * width, 5));
            auto const bias = parameters.weight(id);
            return RelativeScore<float, Exec>(context, r, length - 1, bias, bias, 0.125f);
        };
        return extra_bytes(length, 2, relative, FullMask{});
    };
    BOOST_TEST(bytes(6000) < 5 * bytes(1500));
    BOOST_TEST(bytes(6000) < 100 * megabyte);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
