#pragma once

#include <protlm/objective/causal.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/permutation.hpp>

#include "objective/pairs.hpp"
#include "objective/support.hpp"

#include <numeric>
#include <vector>

// What is asked of XLNet and Transformer-XL alike.

namespace protlm::test {

/// Segments with memory: no token reaches a row before its own, and each reaches rows of later segments.
template <class Model>
void test_segments_leak_nothing(Model &model, Vocabulary const &vocabulary) {
    model.initialise(5);
    Inference<Host> context;
    auto const logits = [&](Batch const &batch) { // rows in the batch's order; the last of a protein has none: zeros
        std::vector<std::vector<double>> rows(batch.tokens.size());
        typename Model::Memory memory;
        std::vector<index_t> done(static_cast<std::size_t>(batch.sequences()), 0);
        auto const segments = CausalLanguageModel{.segment_length = 3}.apply(batch, vocabulary);
        for (auto const &segment : segments) {
            if (&segment != &segments.front())
                memory = memory.select(context, segment.before);
            auto const packed = make_packed(context, {segment.tokens, segment.token_types, segment.offsets});
            auto const hidden = [&] {
                if constexpr (MaskableRecurrentEncoder<Model, Inference<Host>>)
                    return model.encode(context, packed, memory, nullptr, CausalMask{});
                else
                    return model.encode(context, packed, memory);
            }();
            auto const values = rows_of_values(model.logits(context, hidden));
            for (std::size_t b = 0; b < segment.samples.size(); ++b) {
                auto const sequence = static_cast<std::size_t>(segment.samples[b]); // samples count from 0
                for (auto t = segment.offsets[b]; t < segment.offsets[b + 1]; ++t)
                    rows[static_cast<std::size_t>(batch.offsets[sequence] + done[sequence]++)] =
                        values[static_cast<std::size_t>(t)];
            }
        }
        return rows;
    };
    Batch const batch = random_batch(vocabulary, 4, 6);
    std::set<std::size_t> last; // rows that predict nothing
    for (std::size_t b = 1; b < batch.offsets.size(); ++b)
        last.insert(static_cast<std::size_t>(batch.offsets[b] - 1));
    test_reach(batch, vocabulary, logits,
               [&](std::size_t from, std::size_t to) { return to >= from && !last.contains(to); });
}

/// No bit of a row depends on tokens that its order hides, nor on the order's places beyond what it may see.
template <class Model>
void test_permutations_leak_nothing(Model &model, Vocabulary const &vocabulary) {
    model.initialise(5);
    Inference<Host> context;
    Batch const batch = random_batch(vocabulary, 5, 14);
    auto const order_of = PermutationLanguageModel{.share = 0.3}.apply(batch, vocabulary, 8);
    auto const order = make_two_stream_order(context, order_of.rank, order_of.is_target, batch.offsets);
    struct Rows {
        std::vector<std::vector<double>> content, query;
    };
    auto const logits = [&](Batch const &some) {
        auto const packed = make_packed(context, {some.tokens, some.token_types, some.offsets});
        auto const streams = model.two_stream(context, packed, order);
        return Rows{rows_of_values(model.logits(context, streams.content)),
                    rows_of_values(model.logits(context, streams.query))};
    };
    Rows const before = logits(batch);
    auto const sees = [&](std::size_t i, std::size_t j) {
        return order_of.rank[j] < order_of.rank[i] + (order_of.is_target[i] ? 0 : 1);
    };
    for (index_t b = 0; b < batch.sequences(); ++b) {
        auto const begin = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)]);
        auto const end = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b) + 1]);
        for (std::size_t j = begin; j < end; ++j) {
            Rows const after = logits(with_another_token(batch, vocabulary, j));
            std::set<std::size_t> content, query; // rows that may see row j
            for (std::size_t i = begin; i < end; ++i)
                if (i == j || sees(i, j))
                    content.insert(i);
            for (std::size_t r = 0; r < order_of.rows.size(); ++r) {
                auto const i = static_cast<std::size_t>(order_of.rows[r]);
                if (i >= begin && i < end && sees(i, j))
                    query.insert(r);
            }
            BOOST_TEST(changed_rows(before.content, after.content) == content, boost::test_tools::per_element());
            BOOST_TEST(changed_rows(before.query, after.query) == query, boost::test_tools::per_element());
        }
    }
}

} // namespace protlm::test
