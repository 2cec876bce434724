#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/core/state_listener.hpp>
#include <protlm/layers/two_stream.hpp>
#include <protlm/layers/xlnet_layer.hpp>
#include <protlm/model/xlnet_table.hpp>
#include <protlm/ops/attention_probabilities.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/directed_mask.hpp>
#include <protlm/ops/embedding.hpp>
#include <protlm/ops/gather.hpp>

#include <array>
#include <filesystem>
#include <limits>

namespace protlm::inline v0 {

/// XLNet: tokens in any order, by two streams of hidden states over relative positions. Yang et al., arXiv 1906.08237;
/// ProtXLNet: Elnaggar et al., arXiv 2007.06225. Equal to Hugging Face's XLNetLMHeadModel.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class Xlnet {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;
    using Memory = RecurrentMemory<A, Exec>;
    using Streams = TwoStreams<A, Exec>;

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit Xlnet(XlnetConfig config, XlnetHeads heads = {}) : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = xlnet_table(config_, heads_);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    Xlnet(XlnetConfig config, XlnetHeads heads, Parameters<S, Exec> shared, XlnetIds ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model as a checkpoint folder holds it: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static Xlnet load(std::filesystem::path const &folder) {
        auto const checkpoint = xlnet_checkpoint(folder);
        return load(checkpoint, xlnet_heads(checkpoint));
    }
    /// The encoder by itself, without heads: what embeddings need. @throws Error as above
    static Xlnet load_encoder(std::filesystem::path const &folder) {
        return load(xlnet_checkpoint(folder), {.language_model = false});
    }
    /// Writes config.json and model.safetensors into an existing folder. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        auto json = to_json(config_);
        json["torch_dtype"] = torch_name(type);
        write_json(folder / "config.json", json);
        save_weights(parameters_, folder / "model.safetensors", type);
    }

    /// Draws the weights as the original does: normal, cut off at two deviations, also the biases of the scores; biases
    /// of affine maps 0, norms 1.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    XlnetConfig const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    XlnetHeads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens on the host, so that a bad protein is an error here and not on the device. Types may be any: what
    /// counts is whether two tokens have the same.
    /// @throws Error naming position and limit
    void validate(PackedView batch) const {
        for (std::size_t t = 0; t < batch.tokens.size(); ++t)
            check(batch.tokens[t] >= 0 && batch.tokens[t] < config_.vocab_size, "Xlnet: tokens[", t, "] is ",
                  batch.tokens[t], ", expected at least 0 and below vocab_size ", config_.vocab_size);
    }

    /// The content stream's last hidden states (T, C), each token knowing all others and itself.
    /// @param batch validated, and copied by make_packed; its token types, if given, put the segment term on
    /// @param states if given, receives all N + 1 hidden states, the embedding's output first
    /// @param mask which tokens see which; with attn_type "uni" none sees those behind it in any case
    template <class Context, AttentionMask Mask = FullMask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, std::vector<Activations> *states = nullptr,
                       Mask const &mask = {}) const {
        return run(context, batch, nullptr, config_.n_layer, states, mask);
    }

    /// The same with a memory, which each sequence's tokens see in front of them, and which then holds them, too, up to
    /// mem_len rows, without gradient. Its tokens have type 0, as in Hugging Face.
    /// @param memory empty before the first segment @throws Error when it is another model's or of other sequences
    template <class Context, AttentionMask Mask = FullMask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, Memory &memory,
                       std::vector<Activations> *states = nullptr, Mask const &mask = {}) const {
        std::vector<Activations> own;
        auto *const all = states ? states : &own;
        auto const last = run(context, batch, &memory, config_.n_layer, all, mask);
        remember(context, memory, *all, batch);
        return last;
    }

    /// Both streams' last hidden states. @param order which tokens are predicted and what each sees
    /// @param states if given, receives all N + 1 states of both
    template <class Context>
    Streams two_stream(Context &context, PackedTokens<Exec> const &batch, TwoStreamOrder<Exec> const &order,
                       std::vector<Streams> *states = nullptr) const {
        return run_streams(context, batch, nullptr, order, states);
    }

    /// The same with a memory, which every token of its sequence sees: see `encode`.
    template <class Context>
    Streams two_stream(Context &context, PackedTokens<Exec> const &batch, TwoStreamOrder<Exec> const &order,
                       Memory &memory, std::vector<Streams> *states = nullptr) const {
        std::vector<Streams> own;
        auto *const all = states ? states : &own;
        auto const last = run_streams(context, batch, &memory, order, all);
        std::vector<Activations> content;
        for (auto const &streams : *all)
            content.push_back(streams.content);
        remember(context, memory, content, batch);
        return last;
    }

    /// The hidden states (T, C) behind `layer` layers, 0 for the embedding's output; later layers do not run.
    /// @throws Error when the model has no such layer
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.n_layer, "Xlnet: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.n_layer);
        return run(context, batch, nullptr, layer, {}, FullMask{});
    }

    /// Hands the hidden states (T, C) behind 0, 1, ... `layer` layers to `listener` as they are made, in one pass; the
    /// model keeps none of them. See `hidden_state`. @throws Error when the model has no such layer
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.n_layer, "Xlnet: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.n_layer);
        run(context, batch, nullptr, layer, listener, FullMask{});
    }

    /// Logits (R, V) for hidden states (R, C), by the word embedding. @throws Error when the model has no such head
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        check(heads_.language_model, "Xlnet: logits: the model has no language model head");
        return linear<Context, S>(context, hidden, parameters_.weight(ids_.output),
                                  parameters_.weight(ids_.output_bias));
    }

    /// Cross entropy of the logits for hidden states (R, C). @param labels (R)
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return cross_entropy(context, logits(context, hidden), labels);
    }

    /// Attention map (H L, L) of one layer and sequence of the content stream: row h L + i is head h, query i.
    template <class Context>
    Activations attention_map(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                              index_t sequence) const {
        check(layer >= 0 && layer < config_.n_layer, "Xlnet: attention_map: layer is ", layer,
              ", expected at least 0 and below ", config_.n_layer);
        auto const x = run(context, batch, nullptr, layer, {}, FullMask{});
        auto const queries = xlnet_queries(batch);
        auto const keys =
            xlnet_keys<A>(context, batch, static_cast<Memory const *>(nullptr), config_.d_model, distances());
        auto const block = make_layer(layer);
        auto const projected = block.project(context, x, keys);
        auto const asked = linear_transposed<Context, S>(context, x, block.q);
        auto const score = block.score(context, projected, queries, keys);
        auto const map = [&](auto const &mask) {
            return attention_probabilities<Context, A>(context, {asked, 0}, {projected.k, 0}, queries.segments,
                                                       keys.segments, sequence, config_.n_head, config_.d_head, score,
                                                       mask);
        };
        return config_.unidirectional() ? map(directed(FullMask{}, batch)) : map(FullMask{});
    }

  private:
    static Xlnet load(CheckpointFolder const &checkpoint, XlnetHeads heads) {
        auto const config = xlnet_config(read_fields(checkpoint.path() / "config.json"));
        require_tensors(xlnet_table(config, heads).first, checkpoint, "transformer.");
        Xlnet model(config, heads);
        load_weights(model.parameters_, checkpoint, "transformer.");
        model.origin_ = checkpoint.path();
        return model;
    }
    using Pair = std::array<Activations, 2>; // content and query

    XlnetDistances distances() const {
        return {config_.unidirectional(), config_.bi_data, config_.clamp_len, config_.dropout};
    }
    /// `mask` as attn_type and same_length have it. @param positions of the queries; empty: they are all tokens
    template <class Mask>
    DirectedMask<Mask, Exec> directed(Mask const &mask, PackedTokens<Exec> const &batch,
                                      Buffer<std::int32_t, Exec> const &positions = {}) const {
        bool const causal = config_.unidirectional();
        return {mask, batch.segments.device, positions, causal, causal && config_.same_length};
    }
    static Activations memory_of(Memory const *memory, index_t layer) {
        return memory && !memory->empty() ? memory->layers[static_cast<std::size_t>(layer)] : Activations{};
    }
    void validate(Memory const *memory, PackedTokens<Exec> const &batch) const {
        if (memory)
            memory->validate("Xlnet", config_.n_layer, batch.segments.count(), config_.d_model);
    }

    XlnetLayer<S, Exec> make_layer(index_t n) const {
        XlnetLayer<S, Exec> layer(parameters_, ids_.layers[static_cast<std::size_t>(n)], xlnet_shape(config_),
                                  config_.layer_norm_eps);
        layer.activation = activation_from_name(config_.ff_activation, "ff_activation");
        layer.dropout_rate = config_.dropout;
        return layer;
    }

    template <class Context>
    Activations embed(Context &context, Buffer<std::int32_t, Exec> const &ids, Weight<S, Exec> const &table) const {
        return dropout(context, embedding<Context, S>(context, std::array<Lookup<S, Exec>, 1>{{{ids, table}}}),
                       config_.dropout);
    }

    /// Applies `block` to `x`, now or once more in the backward.
    template <class Context, class Block, class X>
    X apply(Context &context, Block const &block, X const &x) const {
        return recompute_ ? recompute(context, block, x) : block(context, x);
    }

    /// Embedding and the first `layers` layers of the content stream.
    template <class Context, class Mask>
    Activations run(Context &context, PackedTokens<Exec> const &batch, Memory const *memory, index_t layers,
                    Listener const &states, Mask const &mask) const {
        if (config_.unidirectional())
            return run_layers(context, batch, memory, layers, states, directed(mask, batch));
        return run_layers(context, batch, memory, layers, states, mask);
    }

    template <class Context, class Mask>
    Activations run_layers(Context &context, PackedTokens<Exec> const &batch, Memory const *memory, index_t layers,
                           Listener const &states, Mask const &mask) const {
        validate(memory, batch);
        DropoutScope<Context> const scope(context, batch);
        auto const queries = xlnet_queries(batch);
        auto const keys = xlnet_keys<A>(context, batch, memory, config_.d_model, distances());
        auto x = embed(context, batch.tokens, parameters_.weight(ids_.word));
        states(0, x);
        for (index_t n = 0; n < layers; ++n) {
            auto const block = [layer = make_layer(n), past = memory_of(memory, n), queries, keys,
                                mask](Context &inner, Activations const &input) {
                auto const all = past ? concatenate(inner, past, input, *keys.joined) : input;
                return layer.stream(inner, input, layer.project(inner, all, keys), queries, keys, mask);
            };
            x = apply(context, block, x);
            states(n + 1, x);
        }
        return dropout(context, x, config_.dropout);
    }

    template <class Context>
    Streams run_streams(Context &context, PackedTokens<Exec> const &batch, Memory const *memory,
                        TwoStreamOrder<Exec> const &order, std::vector<Streams> *states) const {
        check_extent("Xlnet", "order", "tokens", order.rank.size(), batch.size());
        validate(memory, batch);
        DropoutScope<Context> const scope(context, batch);
        auto const content = xlnet_queries(batch);
        auto const keys = xlnet_keys<A>(context, batch, memory, config_.d_model, distances());
        auto const query = xlnet_queries(context, batch, order, keys);
        auto const content_mask = directed(order.content_mask(), batch),
                   query_mask = directed(order.query_mask(), batch, order.target_positions);
        Pair x;
        x[0] = embed(context, batch.tokens, parameters_.weight(ids_.word));
        x[1] = embed_targets(context, query);
        if (states)
            states->assign(1, {x[0], x[1]});
        for (index_t n = 0; n < config_.n_layer; ++n) {
            auto const block = [layer = make_layer(n), past = memory_of(memory, n), content, query, keys, content_mask,
                                query_mask](Context &inner, Pair const &input) -> Pair {
                auto const all = past ? concatenate(inner, past, input[0], *keys.joined) : input[0];
                auto const projected = layer.project(inner, all, keys);
                return {layer.stream(inner, input[0], projected, content, keys, content_mask),
                        layer.stream(inner, input[1], projected, query, keys, query_mask)};
            };
            x = apply(context, block, x);
            if (states)
                states->push_back({x[0], x[1]});
        }
        DropoutScope<Context> const query_scope(context, query.samples, query.positions);
        return {x[0], dropout(context, x[1], config_.dropout)};
    }

    /// The query stream's beginning (R, C): the same vector for every target.
    template <class Context>
    Activations embed_targets(Context &context, XlnetQueries<Exec> const &query) const {
        auto const zeros = context.template buffer<std::int32_t>(query.segments.total());
        zero_values(context.exec(), zeros.view());
        DropoutScope<Context> const scope(context, query.samples, query.positions);
        return embed(context, zeros, parameters_.weight(ids_.mask));
    }

    /// @param states N + 1 of the content stream: the inputs of the layers, and the last layer's output
    template <class Context>
    void remember(Context &context, Memory &memory, std::vector<Activations> const &states,
                  PackedTokens<Exec> const &batch) const {
        auto const or_all = [](std::optional<index_t> length) {
            return length.value_or(0) > 0 ? *length : std::numeric_limits<index_t>::max();
        };
        memory.update(context, {states.begin(), states.end() - 1}, batch.segments, or_all(config_.mem_len),
                      or_all(config_.reuse_len));
    }

    XlnetConfig config_;
    XlnetHeads heads_;
    XlnetIds ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
