#include <protlm/ops/directed_mask.hpp>
#include <protlm/ops/permutation_mask.hpp>

#include <boost/test/unit_test.hpp>

#include <vector>

namespace protlm::test {
namespace {

using Exec = Kokkos::DefaultHostExecutionSpace;

BOOST_AUTO_TEST_SUITE(directed_mask)

/// Sequences of 7 and 5 tokens behind memories of 3 and none, some tokens of each in an order of prediction.
struct Batch {
    Inference<Exec> context;
    std::vector<std::int64_t> const offsets{0, 7, 12};
    std::vector<index_t> const memory{3, 0};
    std::vector<std::int32_t> const rank{-1, 2, 2, 0, -1, 5, 1, 4, -1, -1, 0, 3};
    std::vector<std::int32_t> const is_target{0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0};
    TwoStreamOrder<Exec> const order = make_two_stream_order(context, rank, is_target, offsets);

    AttentionPlace place(index_t b, bool targets) const {
        auto const &rows = targets ? order.target_segments : order.segments;
        auto const row = static_cast<std::size_t>(b);
        return {b, rows.host[row], offsets[row] + (b == 1 ? memory[0] : 0), rows.length(b),
                order.segments.length(b) + memory[row]};
    }
    /// Where a query stands in its sequence.
    index_t position(index_t b, bool targets, index_t query) const {
        return targets ? order.host_positions[static_cast<std::size_t>(
                             order.target_segments.host[static_cast<std::size_t>(b)] + query)]
                       : query;
    }
};

/// The rule in plain words against the mask, its ranges and its rows of hidden scores.
template <class Inner>
void check_mask(Batch const &batch, Inner const &inner, bool targets, bool causal, bool same_length) {
    DirectedMask<Inner, Exec> const mask(inner, batch.order.segments.device,
                                         targets ? batch.order.target_positions : Buffer<std::int32_t, Exec>{}, causal,
                                         same_length);
    auto const kernel = mask.kernel();
    for (index_t b = 0; b < 2; ++b) {
        auto const place = batch.place(b, targets);
        index_t const memory = batch.memory[static_cast<std::size_t>(b)];
        for (index_t i = 0; i < place.queries; ++i) {
            index_t const at = batch.position(b, targets, i);
            std::vector<float> row(static_cast<std::size_t>(place.keys), 1.0f);
            if constexpr (requires { kernel.hide_row(place, i, 0, place.keys, 0.0f, row.data()); }) {
                kernel.hide_row(place, i, 0, 2, 0.0f, row.data()); // in two tiles
                kernel.hide_row(place, i, 2, place.keys - 2, 0.0f, row.data() + 2);
            }
            for (index_t j = 0; j < place.keys; ++j) {
                bool const seen =
                    inner.kernel()(place, i, j) && (!causal || j <= at + memory) && (!same_length || j >= at);
                BOOST_TEST(kernel(place, i, j) == seen);
                bool const inside = j >= kernel.key_begin(place, i) && j < kernel.key_end(place, i) &&
                                    i >= kernel.query_begin(place, j) && i < kernel.query_end(place, j);
                BOOST_TEST((inside || !seen));
                if constexpr (decltype(kernel)::interval)
                    BOOST_TEST((j >= kernel.key_begin(place, i) && j < kernel.key_end(place, i)) == seen);
                else
                    BOOST_TEST((row[static_cast<std::size_t>(j)] == 1.0f) == seen);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(hides_what_is_behind_and_what_is_too_old) {
    Batch const batch;
    for (bool const causal : {false, true})
        for (bool const same_length : {false, true}) {
            check_mask(batch, FullMask{}, false, causal, same_length);
            check_mask(batch, batch.order.content_mask(), false, causal, same_length);
            check_mask(batch, batch.order.query_mask(), true, causal, same_length);
        }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
