#include "attention_reference.hpp"

#include <protlm/ops/linear.hpp>
#include <protlm/ops/norm.hpp>

namespace protlm::test {
namespace {

// A protein's rows have the same bits alone, first, last or in the middle of any batch, with any number of threads:
// Kokkos::Serial has one, and the whole suite runs with one and with two OpenMP threads.
BOOST_AUTO_TEST_SUITE(batch_invariance)

using InFloat = OpCases<float>;
using FloatAndDouble = OpCases<float, double>;

/// Rows [first, first + count) of an argument.
Argument rows_of_argument(Argument const &all, index_t first, index_t count) {
    auto const begin = all.values.begin() + first * all.cols;
    return {all.role, count, all.cols, {begin, begin + count * all.cols}};
}

template <class Values>
Values rows_of_values(Values const &all, index_t cols, index_t first, index_t count) {
    return Values(all.begin() + first * cols, all.begin() + (first + count) * cols);
}

/// Every T from 1 to 300, from changing first rows, gives the rows of the whole.
template <class Case, class Build>
void check_rows(std::string const &name, std::vector<Argument> const &arguments, Build const &build, index_t step = 1) {
    index_t const rows = arguments[0].rows;
    auto const whole = forward<Case, typename Case::Inference>(arguments, build);
    auto const cols = static_cast<index_t>(whole.size()) / rows;
    using Serial = OpCase<Kokkos::Serial, typename Case::scalar, Case::kernels>;
    if constexpr (is_host_space<typename Case::device>)
        BOOST_TEST(
            compare_bits(name + ", one thread", forward<Serial, typename Serial::Inference>(arguments, build), whole));
    for (index_t count = 1; count <= rows; count += step) {
        index_t const first = (count * 7) % (rows - count + 1);
        auto part = arguments;
        part[0] = rows_of_argument(arguments[0], first, count);
        for (std::size_t i = 1; i < part.size(); ++i)
            if (part[i].role == Role::tensor)
                part[i] = rows_of_argument(arguments[i], first, count);
        auto const rows_alone = forward<Case, typename Case::Inference>(part, build);
        std::string const label = name + ", rows " + std::to_string(first) + " to " + std::to_string(first + count);
        BOOST_TEST_REQUIRE(
            compare_bits(label, rows_alone, rows_of_values(whole, cols, first, count), static_cast<std::size_t>(cols)));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(linear_rows, Case, FloatAndDouble) {
    for (Activation f : {Activation::none, Activation::gelu})
        check_rows<Case>(
            "linear",
            {argument(Role::tensor, 300, 37, 1), argument(Role::weight, 45, 37, 2), argument(Role::weight, 1, 45, 3)},
            [f](auto &context, auto const &o) { return linear(context, o.tensor(0), o.weight(1), o.weight(2), f); });
    // several blocks of depth, and a residual
    check_rows<Case>(
        "deep linear",
        {argument(Role::tensor, 300, 1100, 1), argument(Role::weight, 70, 1100, 2), argument(Role::weight, 1, 70, 3),
         argument(Role::tensor, 300, 70, 4)},
        [](auto &context, auto const &o) {
            return linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::none, o.tensor(3));
        },
        17);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(norm_rows, Case, FloatAndDouble) {
    for (index_t cols : {1, 16, 75, 130}) {
        check_rows<Case>("layer_norm",
                         {argument(Role::tensor, 300, cols, 1), argument(Role::weight, 1, cols, 2),
                          argument(Role::weight, 1, cols, 3)},
                         [](auto &context, auto const &o) {
                             return layer_norm(context, o.tensor(0), o.weight(1), o.weight(2), 1e-12);
                         });
        check_rows<Case>(
            "rms_norm", {argument(Role::tensor, 300, cols, 1), argument(Role::weight, 1, cols, 2)},
            [](auto &context, auto const &o) { return rms_norm(context, o.tensor(0), o.weight(1), 1e-6); });
    }
}

constexpr index_t width = 30, inner = 90; // 2 heads of 15

/// One block of an encoder: joint projection, attention, projection with residual, norm, feed-forward.
template <class Mask>
auto encoder(std::vector<std::int64_t> offsets, Mask mask) {
    return [=](auto &context, auto const &o) {
        using A = typename std::decay_t<decltype(o.tensor(0))>::value_type;
        auto const segments = make_segments(context, offsets);
        auto const qkv = linear(context, o.tensor(0), o.weight(1), o.weight(2));
        auto const a = attention(context, Columns{qkv, 0}, Columns{qkv, width}, Columns{qkv, 2 * width}, segments,
                                 segments, 2, 15, ScaledDot<A>{A(0.25)}, mask);
        auto const b = linear(context, a, o.weight(3), o.weight(4), Activation::none, o.tensor(0));
        auto const c = layer_norm(context, b, o.weight(4), o.weight(4), 1e-12);
        return linear(context, linear(context, c, o.weight(1), o.weight(2), Activation::gelu), o.weight(5), o.weight(4),
                      Activation::none, c);
    };
}

std::vector<Argument> encoder_weights() {
    return {{},
            argument(Role::weight, inner, width, 2),
            argument(Role::weight, 1, inner, 3),
            argument(Role::weight, width, width, 4),
            argument(Role::weight, 1, width, 5),
            argument(Role::weight, width, inner, 6)};
}

/// Output of `lengths` one after the other; the protein of a length is always the same.
template <class Case, class Mask>
auto run_batch(std::vector<index_t> const &lengths, Mask mask) {
    auto arguments = encoder_weights();
    arguments[0] = {Role::tensor, 0, width, {}};
    for (index_t length : lengths) {
        auto const protein = random_values(length * width, 1000 + static_cast<std::uint64_t>(length));
        arguments[0].values.insert(arguments[0].values.end(), protein.begin(), protein.end());
        arguments[0].rows += length;
    }
    return forward<Case, typename Case::Inference>(arguments, encoder(AttentionCase::offsets(lengths), mask));
}

template <class Case, class Mask>
void check_batches(Mask mask) {
    using Serial = OpCase<Kokkos::Serial, typename Case::scalar, Case::kernels>;
    std::vector<index_t> const fill{61, 0, 5};
    for (index_t length : {1, 2, 3, 5, 6, 7, 11, 12, 13, 24, 47, 48, 49, 97, 128, 129, 192, 193, 250, 300}) {
        auto const alone = run_batch<Case>({length}, mask);
        if constexpr (is_host_space<typename Case::device>)
            BOOST_TEST(compare_bits("one thread", run_batch<Serial>({length}, mask), alone));
        struct Place {
            std::vector<index_t> batch;
            index_t row;
        };
        for (auto const &[batch, row] :
             {Place{{length, 61, 0, 5}, 0}, Place{{61, 0, 5, length}, 66}, Place{{61, length, 0, 5}, 61},
              Place{{1, length, 400}, 1}, Place{{length, length, 2}, length}}) {
            auto const together = run_batch<Case>(batch, mask);
            BOOST_TEST(compare_bits("length " + std::to_string(length) + " from row " + std::to_string(row),
                                    rows_of_values(together, width, row, length), alone, width));
        }
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_encoder_block, Case, InFloat) { check_batches<Case>(FullMask{}); }

BOOST_AUTO_TEST_CASE_TEMPLATE(a_causal_block, Case, InFloat) { check_batches<Case>(CausalMask{}); }

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
