#include "attention_reference.hpp"

#include <algorithm>

namespace protlm::test {
namespace {

// Dropout of attention probabilities: its mask, what it does to results and gradients, and what it must not do.
BOOST_AUTO_TEST_SUITE(attention_dropout)

using InDouble = DefaultOpCases<double>;
using FloatAndDouble = DefaultOpCases<float, double>;
using NativeDouble = OpCase<Kokkos::DefaultHostExecutionSpace, double, Kernels::native>; // heads of any width
constexpr auto products = attention_products<float>;

/// The rows' keys of a batch; none: rows are numbered.
struct Rows {
    std::vector<std::uint64_t> samples = {};
    std::vector<std::int32_t> positions = {};

    /// Positions from 0 of one sequence a sample.
    static Rows of(std::vector<std::uint64_t> const &samples, std::vector<index_t> const &lengths) {
        Rows rows;
        for (std::size_t b = 0; b < lengths.size(); ++b)
            for (index_t i = 0; i < lengths[b]; ++i) {
                rows.samples.push_back(samples[b]);
                rows.positions.push_back(static_cast<std::int32_t>(i));
            }
        return rows;
    }
};

/// `build` with these keys of dropout in force.
template <class Build>
auto keyed(Build build, std::uint64_t seed, Rows rows = {}, std::uint32_t epoch = 0, std::uint32_t op = 0) {
    return [=](auto &context, auto const &o) {
        if constexpr (std::decay_t<decltype(context)>::training) {
            context.set_dropout({seed, epoch, context.template upload<std::uint64_t>(rows.samples),
                                 context.template upload<std::int32_t>(rows.positions)});
            context.set_op(op);
        }
        return build(context, o);
    };
}

/// Factors (queries, heads keys) of one sequence each with its own keys: queries are zero, so that all keys are alike,
/// and values are one-hot.
struct Factors {
    std::vector<double> values;
    index_t columns; // heads times the width of a head, which is the longest of keys

    double operator()(index_t head, index_t heads, index_t t, index_t key) const {
        return values[static_cast<std::size_t>(t * columns + head * (columns / heads) + key)];
    }
};

template <class Case>
Factors factors(AttentionCase shape, double rate, std::uint64_t seed, Rows const &rows = {}, std::uint32_t epoch = 0,
                std::uint32_t op = 0) {
    shape.width = *std::max_element(shape.keys.begin(), shape.keys.end());
    auto arguments = shape.arguments();
    std::fill(arguments[0].values.begin(), arguments[0].values.end(), 0.0);
    std::fill(arguments[2].values.begin(), arguments[2].values.end(), 0.0);
    index_t row = 0;
    for (index_t length : shape.keys)
        for (index_t key = 0; key < length; ++key, ++row)
            for (index_t head = 0; head < shape.heads; ++head)
                arguments[2].values[static_cast<std::size_t>(row * shape.columns() + head * shape.width + key)] =
                    static_cast<double>(length);
    auto const build = keyed(scaled_attention(shape, FullMask{}, products, rate), seed, rows, epoch, op);
    return {as_double(forward<Case, typename Case::Training>(arguments, build)), shape.columns()};
}

/// The scale of a rate in whole numbers of 1 / 65536.
double scale_of(double rate) { return 65536.0 / (65536.0 - std::round(rate * 65536.0)); }

// Each pair by itself from the generator: the words of one counter decide about keys 4 c to 4 c + 3 and about those 64
// keys further on.
BOOST_AUTO_TEST_CASE_TEMPLATE(the_mask_is_the_generators, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 2}, .keys = {200, 130}, .heads = 2};
    Rows const rows = Rows::of({(7ull << 40) + 5, 9}, shape.queries);
    auto const actual = factors<Case>(shape, 0.3, 21, rows, 4);
    auto const threshold = static_cast<std::uint32_t>(std::round(0.3 * 65536.0));
    for (index_t t = 0; t < 5; ++t)
        for (index_t head = 0; head < 2; ++head)
            for (index_t key = 0; key < (t < 3 ? 200 : 130); ++key) {
                auto const op_key = CounterRandom{21, Purpose::attention_dropout, 4}(0, 0);
                auto const sample = rows.samples[static_cast<std::size_t>(t)];
                auto const counter = static_cast<std::uint32_t>(key / 128 * 16 + key % 64 / 4);
                auto const words =
                    philox({{static_cast<std::uint32_t>(rows.positions[static_cast<std::size_t>(t)]),
                             static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32), counter}},
                           ((std::uint64_t(op_key[1]) << 32) | op_key[0]) + std::uint64_t(head));
                std::uint32_t const word = words[static_cast<int>(key % 128 / 64 * 2 + key % 4 / 2)];
                std::uint32_t const bits = key % 2 ? word >> 16 : word & 0xFFFFu;
                BOOST_REQUIRE_SMALL(actual(head, 2, t, key) - (bits < threshold ? 0.0 : scale_of(0.3)), 1e-5);
            }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(pairs_are_dropped_at_the_rate_and_independently, Case, InDouble) {
    AttentionCase const shape{.queries = {200}, .keys = {200}, .heads = 3};
    for (double rate : {0.01, 0.1, 0.5, 0.9}) {
        auto const f = factors<Case>(shape, rate, 5);
        double dropped = 0, scaled = 0, with_next[3] = {}; // and the next key, query, head
        for (index_t head = 0; head < 3; ++head)
            for (index_t t = 0; t < 200; ++t)
                for (index_t key = 0; key < 200; ++key) {
                    auto const zero = [&](index_t h, index_t i, index_t j) {
                        return f(h % 3, 3, i % 200, j % 200) == 0;
                    };
                    scaled += std::abs(f(head, 3, t, key) - scale_of(rate)) < 1e-9;
                    if (!zero(head, t, key))
                        continue;
                    ++dropped;
                    with_next[0] += zero(head, t, key + 1);
                    with_next[1] += zero(head, t + 1, key);
                    with_next[2] += zero(head + 1, t, key);
                }
        double const n = 3 * 200 * 200, both = rate * rate;
        BOOST_TEST(dropped + scaled == n);
        BOOST_TEST(std::abs(dropped / n - rate) < 4.5 * std::sqrt(rate * (1 - rate) / n));
        for (double count : with_next)
            BOOST_TEST(std::abs(count / n - both) < 4.5 * rate * std::sqrt((1 - both) / n) * 2);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(results_and_gradients_are_those_of_the_written_out_softmax, Case, FloatAndDouble) {
    for (AttentionCase const &shape :
         {AttentionCase{.queries = {3, 0, 131, 60}, .keys = {3, 2, 131, 300}, .heads = 2, .width = 5},
          AttentionCase{.queries = {400}, .keys = {401}, .heads = 1, .width = 20}}) {
        auto const mask = factors<NativeDouble>(shape, 0.25, 8);
        QuadraticAttention full{shape}, causal{shape, causal_sees};
        for (auto *reference : {&full, &causal})
            reference->factor = [&](index_t head, index_t t, index_t j) { return mask(head, shape.heads, t, j); };
        auto const check = [&](QuadraticAttention const &reference, auto const &build) {
            auto const arguments = shape.arguments();
            auto const g = random_values(shape.query_rows() * shape.columns(), 55);
            auto expected = reference;
            expected.run(arguments, g);
            double const allowed = attention_tolerance<Case>();
            BOOST_TEST(compare_scaled("out", as_double(forward<Case, typename Case::Training>(arguments, build)),
                                      expected.out, allowed));
            auto const gradients = backward<Case>(arguments, build, g, false);
            BOOST_TEST(compare_scaled("dq", gradients[0], expected.dq, allowed));
            BOOST_TEST(compare_scaled("dk", gradients[1], expected.dk, allowed));
            BOOST_TEST(compare_scaled("dv", gradients[2], expected.dv, allowed));
        };
        check(full, keyed(scaled_attention(shape, FullMask{}, products, 0.25), 8));
        check(causal, keyed(scaled_attention(shape, CausalMask{}, products, 0.25), 8));
    }
}

// T5's bias: its gradient, too, against plain kernels in double.
BOOST_AUTO_TEST_CASE_TEMPLATE(native_kernels_agree_with_portable_ones, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 0, 131, 60}, .keys = {3, 2, 131, 300}, .heads = 2, .width = 5};
    auto arguments = shape.arguments();
    arguments.push_back(argument(Role::weight, 8, 2, 9));
    auto const build = keyed(biased_attention(shape, FullMask{}, true, 20, products, 0.25), 8);
    auto const g = random_values(shape.query_rows() * shape.columns(), 78);
    BOOST_TEST(compare_scaled("out", as_double(forward<Case, typename Case::Training>(arguments, build)),
                              forward<ReferenceCase, ReferenceCase::Training>(arguments, build),
                              attention_tolerance<Case>()));
    auto const actual = backward<Case>(arguments, build, g, false);
    auto const expected = backward<ReferenceCase>(arguments, build, g, false);
    for (std::size_t i = 0; i < 4; ++i)
        BOOST_TEST(compare_scaled("gradient " + std::to_string(i), actual[i], expected[i],
                                  (i < 3 ? 1 : 10) * attention_tolerance<Case>()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(nothing_is_dropped_at_rate_0_and_in_inference, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 140}, .keys = {3, 140}, .heads = 2, .width = 5};
    auto const arguments = shape.arguments();
    auto const without = scaled_attention(shape, CausalMask{});
    auto const expected = forward<Case, typename Case::Inference>(arguments, without);
    auto const bits = [&](char const *name, auto const &actual) { BOOST_TEST(compare_bits(name, actual, expected)); };
    bits("rate 0", forward<Case, typename Case::Training>(arguments, without));
    // the next rate is 1 / 65536: half of it is nothing
    bits("rate 1e-6", forward<Case, typename Case::Training>(
                          arguments, keyed(scaled_attention(shape, CausalMask{}, products, 1e-6), 3)));
    bits("inference", forward<Case, typename Case::Inference>(
                          arguments, keyed(scaled_attention(shape, CausalMask{}, products, 0.5), 3)));
    auto const dropped = forward<Case, typename Case::Training>(
        arguments, keyed(scaled_attention(shape, CausalMask{}, products, 0.5), 3));
    BOOST_TEST((dropped != expected));
    for (double rate : {1.0, -0.1, std::nan("")})
        BOOST_CHECK_THROW(
            (forward<Case, typename Case::Inference>(arguments, scaled_attention(shape, CausalMask{}, products, rate))),
            Error);
    Rows const other = Rows::of({1}, {3}); // keys of three rows for 143 queries
    BOOST_CHECK_THROW((forward<Case, typename Case::Training>(
                          arguments, keyed(scaled_attention(shape, CausalMask{}, products, 0.5), 3, other))),
                      Error);
}

// The mean over many masks is what comes without dropout: n masks leave 1 / sqrt(n) of one mask's deviation.
BOOST_AUTO_TEST_CASE_TEMPLATE(the_mean_over_seeds_is_the_result_without_dropout, Case, InDouble) {
    AttentionCase const shape{.queries = {7}, .keys = {30}, .heads = 2, .width = 3};
    auto const arguments = shape.arguments();
    auto const expected = forward<Case, typename Case::Inference>(arguments, scaled_attention(shape, FullMask{}));
    std::vector<double> mean(expected.size(), 0.0), square(expected.size(), 0.0);
    int const seeds = 1000;
    for (int seed = 0; seed < seeds; ++seed) {
        auto const y = forward<Case, typename Case::Training>(
            arguments, keyed(scaled_attention(shape, FullMask{}, products, 0.2), std::uint64_t(seed)));
        for (std::size_t i = 0; i < y.size(); ++i) {
            mean[i] += y[i] / seeds;
            square[i] += (y[i] - expected[i]) * (y[i] - expected[i]) / seeds;
        }
    }
    for (std::size_t i = 0; i < mean.size(); ++i)
        BOOST_TEST(std::abs(mean[i] - expected[i]) < 4.5 * std::sqrt(square[i] / seeds));
}

// A protein's rows have the same bits alone and anywhere in a batch, with any number of threads, forward and backward.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_proteins_mask_is_the_same_in_any_batch, Case, FloatAndDouble) {
    struct Protein {
        std::uint64_t sample;
        index_t length;
    };
    auto const run = [&]<class C>(std::vector<Protein> const &batch, C) {
        AttentionCase shape{.heads = 2, .width = 5};
        std::vector<std::uint64_t> samples;
        auto arguments = shape.arguments();
        for (Protein const &protein : batch) {
            samples.push_back(protein.sample);
            shape.queries.push_back(protein.length);
            for (std::size_t i = 0; i < 3; ++i) {
                auto const values = random_values(protein.length * shape.columns(), 10 * protein.sample + i);
                arguments[i].rows += protein.length;
                arguments[i].values.insert(arguments[i].values.end(), values.begin(), values.end());
            }
        }
        shape.keys = shape.queries;
        auto const build =
            keyed(scaled_attention(shape, FullMask{}, products, 0.3), 4, Rows::of(samples, shape.queries));
        auto const out = forward<C, typename C::Training>(arguments, build);
        auto all = backward<C>(arguments, build, arguments[0].values, false);
        all.push_back(as_double(out));
        return all;
    };
    Protein const own{77, 150};
    auto const alone = run({own}, Case());
    using Serial = OpCase<Kokkos::Serial, typename Case::scalar, Case::kernels>;
    std::vector<std::vector<Protein>> const batches{{own, {3, 20}}, {{5, 0}, {3, 400}, own}, {{9, 150}, own, {4, 1}}};
    for (auto const &batch : batches) {
        auto const together = run(batch, Case()), one_thread = run(batch, Serial());
        std::size_t first = 0;
        for (Protein const &protein : batch) {
            if (protein.sample == own.sample)
                break;
            first += static_cast<std::size_t>(protein.length) * 10;
        }
        for (std::size_t i = 0; i < 4; ++i) {
            auto const begin = together[i].begin() + static_cast<std::ptrdiff_t>(first);
            BOOST_TEST(compare_bits("alone and together", std::vector<double>(begin, begin + 1500), alone[i]));
            if constexpr (is_host_space<typename Case::device>)
                BOOST_TEST(compare_bits("one thread", one_thread[i], together[i]));
        }
    }
    BOOST_TEST((alone[3] != run({{78, 150}}, Case())[3]));
}

// Seed, epoch, op, head, protein, position and key: all have masks of their own; a step that runs again has the same.
BOOST_AUTO_TEST_CASE(masks_differ_by_all_that_keys_them) {
    using Case = NativeDouble;
    AttentionCase const shape{.queries = {64}, .keys = {64}, .heads = 2};
    auto const rows = [](std::uint64_t sample) { return Rows::of({sample}, {64}); };
    auto const f = factors<Case>(shape, 0.5, 1, rows(1));
    BOOST_TEST((f.values == factors<Case>(shape, 0.5, 1, rows(1)).values));
    auto const equal = [&](Factors const &other) {
        double count = 0;
        for (std::size_t i = 0; i < f.values.size(); ++i)
            count += (f.values[i] == 0) == (other.values[i] == 0);
        return count / static_cast<double>(f.values.size());
    };
    for (Factors const &other : {factors<Case>(shape, 0.5, 2, rows(1)), factors<Case>(shape, 0.5, 1, rows(1), 1),
                                 factors<Case>(shape, 0.5, 1, rows(1), 0, 1), factors<Case>(shape, 0.5, 1, rows(2)),
                                 factors<Case>(shape, 0.5, 1, rows(1ull << 32))})
        BOOST_TEST(std::abs(equal(other) - 0.5) < 0.03); // 8,192 decisions
}

// A block that runs again for its gradients has the masks that it had.
BOOST_AUTO_TEST_CASE_TEMPLATE(recomputing_makes_the_same_masks, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 140}, .keys = {3, 140}, .heads = 2, .width = 5};
    auto const build = [&](bool again) {
        return keyed(
            [=](auto &context, auto const &o) {
                using Context = std::decay_t<decltype(context)>;
                auto const attend = scaled_attention(shape, FullMask{}, products, 0.3);
                struct One {
                    std::decay_t<decltype(o.tensor(0))> x, k, v;
                    auto const &tensor(std::size_t i) const { return i == 0 ? x : i == 1 ? k : v; }
                };
                auto const block = [=, k = o.tensor(1), v = o.tensor(2)](Context &inner, auto const &x) {
                    return attend(inner, One{x, k, v});
                };
                auto const first = block(context, o.tensor(0));
                return again ? recompute(context, block, first) : block(context, first);
            },
            6);
    };
    auto const arguments = shape.arguments();
    BOOST_TEST(compare_bits("out", forward<Case, typename Case::Training>(arguments, build(true)),
                            forward<Case, typename Case::Training>(arguments, build(false))));
    auto const g = random_values(shape.query_rows() * shape.columns(), 3);
    auto const kept = backward<Case>(arguments, build(false), g, false);
    auto const again = backward<Case>(arguments, build(true), g, false);
    for (std::size_t i = 0; i < 3; ++i)
        BOOST_TEST(compare_bits("gradient " + std::to_string(i), again[i], kept[i]));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
