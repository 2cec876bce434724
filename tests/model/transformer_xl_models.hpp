#pragma once

#include <model/models.hpp>
#include <protlm/model/transformer_xl.hpp>

#include <span>

namespace protlm::test {

inline TransformerXlConfig small_transformer_xl() {
    TransformerXlConfig config;
    config.d_model = config.d_embed = 24;
    config.n_layer = 2;
    config.n_head = 3;
    config.d_head = 7; // 21, not d_model
    config.d_inner = 40;
    config.mem_len = 64;
    config.init_std = config.proj_init_std = 0.2; // far from zero, so that differences show
    return config;
}

/// Norms first, biases shared by the layers, embeddings narrower than the model, a window of keys, clamped distances.
inline TransformerXlConfig other_transformer_xl() {
    auto config = small_transformer_xl();
    config.pre_lnorm = config.same_length = true;
    config.untie_r = false;
    config.d_embed = 14;
    config.tie_projs = {true};
    config.mem_len = 12;
    config.clamp_len = 9;
    return config;
}

/// A shortlist of 8 tokens and clusters of 12 and 10, with narrower embeddings each.
inline TransformerXlConfig clustered_transformer_xl(index_t div_val = 2) {
    auto config = small_transformer_xl();
    config.cutoffs = {8, 20};
    config.div_val = div_val;
    config.tie_projs = {false, true, false};
    return config;
}

template <class S = float, class E = Kokkos::DefaultExecutionSpace>
TransformerXl<S, E> made_transformer_xl(TransformerXlConfig const &config = small_transformer_xl(),
                                        TransformerXlHeads heads = {}, std::uint64_t seed = 3) {
    TransformerXl<S, E> model(config, heads);
    model.initialise(seed);
    return model;
}

/// Tokens [begin[b], end[b]) of each sequence of an example; sequences that have none are left in, empty.
struct Piece {
    std::vector<std::int32_t> tokens, labels;
    std::vector<std::int64_t> offsets{0};
    std::vector<std::uint64_t> samples;

    /// @param labels of all tokens: the one behind each, or the token itself at the sequence's end
    Piece(Example const &whole, std::span<index_t const> begin, std::span<index_t const> end) {
        for (std::size_t b = 0; b + 1 < whole.offsets.size(); ++b) {
            for (auto t = whole.offsets[b] + begin[b]; t < whole.offsets[b] + end[b]; ++t) {
                tokens.push_back(whole.tokens[static_cast<std::size_t>(t)]);
                labels.push_back(whole.tokens[static_cast<std::size_t>(std::min(t + 1, whole.offsets[b + 1] - 1))]);
            }
            offsets.push_back(static_cast<std::int64_t>(tokens.size()));
            samples.push_back(b);
        }
    }
    PackedView view() const { return {tokens, {}, offsets, samples}; }
};

/// Each sequence cut at the same shares of its length: pieces of different lengths.
inline std::vector<Piece> cut(Example const &whole, std::vector<double> const &shares) {
    std::size_t const sequences = whole.offsets.size() - 1;
    std::vector<index_t> begin(sequences, 0), end(sequences);
    std::vector<Piece> pieces;
    for (double const share : shares) {
        for (std::size_t b = 0; b < sequences; ++b)
            end[b] = static_cast<index_t>(share * static_cast<double>(whole.offsets[b + 1] - whole.offsets[b]) + 0.5);
        pieces.emplace_back(whole, begin, end);
        begin = end;
    }
    return pieces;
}

/// Loss of all tokens of all pieces, one after the other with a memory.
template <class Model, class Context>
auto pieces_loss(Model const &model, Context &context, std::vector<Piece> const &pieces) {
    typename Model::Memory memory;
    Tensor<typename Model::A, typename Context::execution_space> sum;
    for (auto const &piece : pieces) {
        auto const hidden = model.encode(context, make_packed(context, piece.view()), memory);
        auto const loss = model.token_loss(context, hidden, context.template upload<std::int32_t>(piece.labels));
        sum = sum ? add(context, sum, loss.sum) : loss.sum;
    }
    return sum;
}

} // namespace protlm::test
