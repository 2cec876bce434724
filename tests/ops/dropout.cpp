#include "support.hpp"

#include <protlm/ops/dropout.hpp>

#include <set>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(dropout_op)

using InDouble = OpCases<double>;
using FloatAndDouble = OpCases<float, double>;

/// Dropout of argument 0 with the keys of `seed`, rows numbered from 0.
auto drop(double rate, std::uint64_t seed = 3, std::uint32_t epoch = 0) {
    return [=](auto &context, auto const &o) {
        using Context = std::decay_t<decltype(context)>;
        if constexpr (Context::training)
            context.set_dropout({seed, epoch, {}, {}});
        return dropout(context, o.tensor(0), rate);
    };
}

/// Rows of ones after two dropouts in one pass: those of proteins `sample` at `position`.
template <class Case>
std::vector<typename Case::accumulate> two_masks(std::vector<std::uint64_t> const &sample,
                                                 std::vector<std::int32_t> const &position, index_t cols) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const s = context.template upload<std::uint64_t>(sample);
    auto const p = context.template upload<std::int32_t>(position);
    auto const rows = static_cast<index_t>(sample.size());
    auto const ones =
        make_tensor<A>(context, rows, cols, std::vector<double>(static_cast<std::size_t>(rows * cols), 1.0));
    context.set_dropout({11, 2, s, p});
    auto const first = host_elements(dropout(context, ones, 0.3).view());
    auto const second = host_elements(dropout(context, ones, 0.3).view());
    context.tape().clear();
    std::vector<A> both;
    for (std::size_t t = 0; t < sample.size(); ++t)
        for (auto const *mask : {&first, &second})
            both.insert(both.end(), mask->begin() + static_cast<std::ptrdiff_t>(t) * cols,
                        mask->begin() + static_cast<std::ptrdiff_t>(t + 1) * cols);
    return both;
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    for (index_t cols : {1, 3, 4, 9})
        check_jacobians<Case>(std::to_string(cols) + " columns", {argument(Role::tensor, 5, cols, 1)}, drop(0.4));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(elements_are_dropped_at_the_rate_and_the_others_scaled, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    index_t const rows = 1000, cols = 103;
    std::vector<Argument> const ones{{Role::tensor, rows, cols, std::vector<double>(rows * cols, 1.0)}};
    for (double rate : {0.01, 0.1, 0.5, 0.9}) {
        auto const y = forward<Case, typename Case::Training>(ones, drop(rate));
        double dropped = 0;
        for (A value : y) {
            dropped += value == A(0);
            BOOST_REQUIRE((value == A(0) || value == static_cast<A>(1.0 / (1.0 - rate))));
        }
        double const n = static_cast<double>(y.size()), deviation = std::sqrt(rate * (1 - rate) / n);
        BOOST_TEST(std::abs(dropped / n - rate) < 4.5 * deviation);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(backward_drops_what_forward_dropped, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    std::vector<Argument> const ones{{Role::tensor, 40, 21, std::vector<double>(40 * 21, 1.0)}};
    auto const y = as_double(forward<Case, typename Case::Training>(ones, drop(0.3)));
    auto const dx = backward<Case>(ones, drop(0.3), std::vector<double>(y.size(), 1.0), false);
    BOOST_TEST(compare_bits("mask", dx[0], y));
    BOOST_TEST(std::count(y.begin(), y.end(), 0.0) > 150);
    // and the same on every device, in every precision
    auto const reference = forward<ReferenceCase, ReferenceCase::Training>(ones, drop(0.3));
    for (std::size_t i = 0; i < y.size(); ++i)
        BOOST_REQUIRE_EQUAL(y[i], static_cast<double>(static_cast<A>(reference[i])));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(masks_belong_to_proteins_not_to_batches, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    index_t const cols = 30;
    std::uint64_t const far = (std::uint64_t(1) << 40) + 7;
    std::vector<std::uint64_t> const samples{5, 5, 5, far, far, 6};
    std::vector<std::int32_t> const positions{0, 1, 2, 0, 1, 0};
    auto const together = two_masks<Case>(samples, positions, cols);
    std::vector<std::size_t> const order{3, 5, 1, 4, 0, 2};
    std::vector<std::uint64_t> other_samples{99}; // another protein in front shifts all rows
    std::vector<std::int32_t> other_positions{0};
    for (std::size_t i : order) {
        other_samples.push_back(samples[i]);
        other_positions.push_back(positions[i]);
    }
    auto const shuffled = two_masks<Case>(other_samples, other_positions, cols);
    auto const row = [&](std::vector<A> const &masks, std::size_t t) {
        return std::vector<A>(masks.begin() + static_cast<std::ptrdiff_t>(t * 2 * cols),
                              masks.begin() + static_cast<std::ptrdiff_t>((t + 1) * 2 * cols));
    };
    std::set<std::vector<A>> different;
    for (std::size_t i = 0; i < order.size(); ++i) {
        BOOST_TEST(compare_bits("row", row(shuffled, i + 1), row(together, order[i])));
        different.insert(row(together, i));
        auto const both = row(together, i);
        BOOST_TEST((std::vector<A>(both.begin(), both.begin() + cols) !=
                    std::vector<A>(both.begin() + cols, both.end()))); // two ops, two masks
    }
    BOOST_TEST(different.size() == order.size());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(seed_and_epoch_change_the_mask, Case, FloatAndDouble) {
    std::vector<Argument> const ones{{Role::tensor, 10, 10, std::vector<double>(100, 1.0)}};
    using Values = std::vector<typename Case::accumulate>;
    std::set<Values> masks;
    for (auto const &build : {drop(0.5, 1, 0), drop(0.5, 2, 0), drop(0.5, 1, 1), drop(0.5, 1, 2)})
        masks.insert(forward<Case, typename Case::Training>(ones, build));
    BOOST_TEST(masks.size() == 4u);
    BOOST_TEST(compare_bits("again", forward<Case, typename Case::Training>(ones, drop(0.5, 2, 0)),
                            forward<Case, typename Case::Training>(ones, drop(0.5, 2, 0))));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(does_not_exist_in_inference_nor_at_rate_zero, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Inference inference;
    auto const x = make_tensor<A>(inference, 3, 3, random_values(9, 1));
    BOOST_TEST(dropout(inference, x, 0.5).view().data() == x.view().data());
    typename Case::Training training;
    auto const y = make_tensor<A>(training, 3, 3, random_values(9, 1));
    BOOST_TEST(dropout(training, y, 0.0).view().data() == y.view().data());
    BOOST_TEST(training.tape().empty());
    BOOST_TEST(training.op() == 1u); // counted all the same: later ops keep their masks
    BOOST_CHECK_THROW(dropout(training, y, 1.0), Error);
    BOOST_CHECK_THROW(dropout(training, y, -0.1), Error);
    BOOST_CHECK_THROW(dropout(inference, x, std::nan("")), Error);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_scope_keys_rows_of_its_own_and_gives_the_others_back, Case, InDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const ones = [&](index_t rows) {
        return make_tensor<A>(context, rows, 64, std::vector<double>(static_cast<std::size_t>(rows * 64), 1.0));
    };
    auto const row = [](auto const &y, index_t i) {
        auto const all = host_elements(y.view());
        return std::vector<A>(all.begin() + i * 64, all.begin() + (i + 1) * 64);
    };
    auto const u64 = [&](std::vector<std::uint64_t> v) { return context.template upload<std::uint64_t>(v); };
    auto const i32 = [&](std::vector<std::int32_t> v) { return context.template upload<std::int32_t>(v); };
    auto const run = [&](bool scoped) {
        context.set_dropout({5, 1, u64({7, 9}), i32({0, 3})});
        std::vector<std::vector<A>> rows;
        if (scoped) {
            DropoutScope const scope(context, u64({9, 8, 7}), i32({3, 3, 0}));
            auto const y = dropout(context, ones(3), 0.5);
            rows = {row(y, 2), row(y, 0)};
        } else {
            auto const y = dropout(context, ones(2), 0.5);
            rows = {row(y, 0), row(y, 1)};
        }
        auto const after = dropout(context, ones(2), 0.5); // throws when the scope's keys were still in force
        rows.push_back(row(after, 0));
        context.tape().clear();
        return rows;
    };
    BOOST_CHECK(run(true) == run(false));
    DropoutScope const none(context, {}, {}); // no keys: those in force stay
    BOOST_TEST(context.dropout().sample.size() == 2);
    BOOST_CHECK_THROW(dropout(context, ones(3), 0.5), Error);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
