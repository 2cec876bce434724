#pragma once

// Floating-point operations of one forward of each family: what the algorithm needs. A multiplication and its addition
// are two; products and attention count, everything else (norms, activations, softmax, look-ups) does not. A training
// step is three forwards, one and two for its backward; what a backward computes again does not count.
//
// T tokens, R labelled rows, C model width, D heads times head width, F feed-forward width, V vocabulary. `pairs` are
// the pairs of a query and a key that may meet: a sequence of L tokens has L^2, and L (L + 1) / 2 where only what
// stands before may be seen.

#include <protlm/data/batch.hpp>
#include <protlm/model/albert_config.hpp>
#include <protlm/model/bert_config.hpp>
#include <protlm/model/electra_config.hpp>
#include <protlm/model/t5_config.hpp>
#include <protlm/model/transformer_xl_config.hpp>
#include <protlm/model/xlnet_config.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/objective/permutation.hpp>

#include <algorithm>
#include <vector>

namespace protlm::bench {

inline double number(auto value) { return static_cast<double>(value); }

/// A linear map of `rows` rows.
inline double map_flops(auto rows, auto in, auto out) { return 2 * number(rows) * number(in) * number(out); }
/// Scores and weighted sums: 2 D each a pair.
inline double attention_flops(double pairs, auto inner) { return 4 * pairs * number(inner); }
/// The relative term of Transformer-XL and XLNet: one more product a pair.
inline double relative_flops(double pairs, auto inner) { return 2 * pairs * number(inner); }

inline double all_pairs(Batch const &batch) {
    double pairs = 0;
    for (index_t b = 0; b < batch.sequences(); ++b)
        pairs += number(batch.length(b)) * number(batch.length(b));
    return pairs;
}
inline double causal_pairs(Batch const &batch) { return (all_pairs(batch) + number(batch.size())) / 2; }

/// Query, key, value and output maps, attention over all pairs, and a feed-forward block of two maps.
inline double encoder_layer_flops(Batch const &batch, index_t width, index_t inner) {
    return 4 * map_flops(batch.size(), width, width) + attention_flops(all_pairs(batch), width) +
           2 * map_flops(batch.size(), width, inner);
}

/// BERT's encoder.
inline double encoder_flops(BertConfig const &c, Batch const &batch) {
    return number(c.num_hidden_layers) * encoder_layer_flops(batch, c.hidden_size, c.intermediate_size);
}
/// ALBERT's and ELECTRA's: an embedding of width E is mapped to C where they differ; ALBERT runs inner_group_num layers
/// a pass.
inline double encoder_flops(EncoderConfig const &c, Batch const &batch, index_t layers_a_pass = 1) {
    bool const mapped = c.embedding_size != c.hidden_size;
    return (mapped ? map_flops(batch.size(), c.embedding_size, c.hidden_size) : 0) +
           number(c.num_hidden_layers * layers_a_pass) * encoder_layer_flops(batch, c.hidden_size, c.intermediate_size);
}
inline double encoder_flops(AlbertConfig const &c, Batch const &batch) {
    return encoder_flops(c, batch, c.inner_group_num) +
           (c.embedding_size == c.hidden_size ? map_flops(batch.size(), c.embedding_size, c.hidden_size) : 0);
}

/// The masked language model's head: a map, and logits by the embedding.
inline double head_flops(BertConfig const &c, double rows) {
    return map_flops(rows, c.hidden_size, c.hidden_size) + map_flops(rows, c.hidden_size, c.vocab_size);
}
inline double head_flops(EncoderConfig const &c, double rows) {
    return map_flops(rows, c.hidden_size, c.embedding_size) + map_flops(rows, c.embedding_size, c.vocab_size);
}
/// The detection head: a map and one logit a row.
inline double detection_flops(ElectraConfig const &c, double rows) {
    return map_flops(rows, c.hidden_size, c.hidden_size) + map_flops(rows, c.hidden_size, 1);
}

inline double t5_feed_forward_flops(T5Config const &c, Batch const &batch) {
    return (c.gated() ? 3 : 2) * map_flops(batch.size(), c.d_model, c.d_ff);
}
/// T5's encoder: inner width D = heads times d_kv.
inline double encoder_flops(T5Config const &c, Batch const &batch) {
    index_t const inner = c.num_heads * c.d_kv;
    return number(c.num_layers) * (4 * map_flops(batch.size(), c.d_model, inner) +
                                   attention_flops(all_pairs(batch), inner) + t5_feed_forward_flops(c, batch));
}
/// T5's decoder over as many tokens as the encoder has, as ProtT5 was trained: causal attention, and another over the
/// encoder's tokens, whose keys and values are maps of its output. Logits of all rows.
inline double decoder_flops(T5Config const &c, Batch const &batch) {
    index_t const inner = c.num_heads * c.d_kv;
    double const block = 8 * map_flops(batch.size(), c.d_model, inner) + attention_flops(causal_pairs(batch), inner) +
                         attention_flops(all_pairs(batch), inner) + t5_feed_forward_flops(c, batch);
    return number(c.num_decoder_layers) * block + map_flops(batch.size(), c.d_model, c.vocab_size);
}

/// Transformer-XL over the segments of a batch. Keys and values of a memory's rows are mapped again in every segment;
/// the encodings of all distances, as many as the longest sequence has keys, are mapped once a layer and segment.
inline double segments_flops(TransformerXlConfig const &c, std::vector<CausalSegment> const &segments) {
    index_t const inner = c.n_head * c.d_head;
    double sum = 0;
    std::vector<index_t> seen; // tokens of each sequence before the segment
    for (auto const &segment : segments) {
        std::vector<index_t> now;
        double pairs = 0, memory = 0;
        index_t longest = 0;
        for (std::size_t b = 0; b < segment.samples.size(); ++b) {
            index_t const length = segment.offsets[b + 1] - segment.offsets[b];
            index_t const before = seen.empty() ? 0 : seen[static_cast<std::size_t>(segment.before[b])];
            index_t const kept = std::min(before, c.mem_len);
            pairs += number(length) * number(kept) + number(length) * number(length + 1) / 2;
            memory += number(kept);
            longest = std::max(longest, kept + length);
            now.push_back(before + length);
        }
        double const tokens = number(segment.tokens.size());
        double const layer = 4 * map_flops(tokens, c.d_model, inner) + 2 * map_flops(memory, c.d_model, inner) +
                             map_flops(longest, c.d_model, inner) + attention_flops(pairs, inner) +
                             relative_flops(pairs, inner) + 2 * map_flops(tokens, c.d_model, c.d_inner);
        sum += number(c.n_layer) * layer + map_flops(tokens, c.d_embed, c.vocab_size) +
               (c.d_embed != c.d_model ? 2 * map_flops(tokens, c.d_embed, c.d_model) : 0);
        seen = std::move(now);
    }
    return sum;
}

/// One layer of a stream of XLNet: query and output maps, attention with the relative term, feed-forward.
inline double stream_flops(XlnetConfig const &c, double rows, double pairs) {
    index_t const inner = c.n_head * c.d_head;
    return 2 * map_flops(rows, c.d_model, inner) + attention_flops(pairs, inner) + relative_flops(pairs, inner) +
           2 * map_flops(rows, c.d_model, c.d_inner);
}
/// Keys and values, and encodings of all distances in both directions.
inline double keys_flops(XlnetConfig const &c, Batch const &batch) {
    index_t longest = 0;
    for (index_t b = 0; b < batch.sequences(); ++b)
        longest = std::max(longest, batch.length(b));
    index_t const inner = c.n_head * c.d_head;
    return 2 * map_flops(batch.size(), c.d_model, inner) + map_flops(2 * longest, c.d_model, inner);
}
inline double encoder_flops(XlnetConfig const &c, Batch const &batch) {
    return number(c.n_layer) * (keys_flops(c, batch) + stream_flops(c, number(batch.size()), all_pairs(batch)));
}
/// Two streams: pairs are those that the order lets meet, keys serve both streams. Nothing needs the content stream's
/// output of the last layer.
inline double two_stream_flops(XlnetConfig const &c, Batch const &batch, PermutationBatch const &chosen) {
    double content = 0, query = 0;
    for (std::size_t b = 0; b + 1 < batch.offsets.size(); ++b) {
        auto const first = static_cast<std::size_t>(batch.offsets[b]),
                   last = static_cast<std::size_t>(batch.offsets[b + 1]);
        std::vector<std::int32_t> ranks(chosen.rank.begin() + batch.offsets[b],
                                        chosen.rank.begin() + batch.offsets[b + 1]);
        std::sort(ranks.begin(), ranks.end());
        auto const below = [&](std::int32_t limit) {
            return number(std::lower_bound(ranks.begin(), ranks.end(), limit) - ranks.begin());
        };
        for (std::size_t t = first; t < last; ++t) {
            double const seen = below(chosen.rank[t] + (chosen.is_target[t] ? 0 : 1));
            content += seen + (chosen.is_target[t] ? 1 : 0); // and itself
            query += chosen.is_target[t] ? seen : 0;
        }
    }
    double const layers = number(c.n_layer), targets = number(chosen.rows.size());
    return layers * (keys_flops(c, batch) + stream_flops(c, targets, query)) +
           (layers - 1) * stream_flops(c, number(batch.size()), content) + map_flops(targets, c.d_model, c.vocab_size);
}

} // namespace protlm::bench
