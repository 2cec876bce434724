#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/core/state_listener.hpp>
#include <protlm/layers/t5_block.hpp>
#include <protlm/model/t5_config.hpp>
#include <protlm/model/weights.hpp>
#include <protlm/ops/attention_probabilities.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/embedding.hpp>
#include <protlm/ops/gather.hpp>
#include <protlm/ops/scale.hpp>

#include <filesystem>

namespace protlm::inline v0 {

/// Which parts a T5 has: the encoder alone makes embeddings; a checkpoint's own parts are kept.
struct T5Heads {
    bool decoder = true;
};

/// Where T5's tensors lie in its table.
struct T5Ids {
    struct Stack {
        std::vector<T5BlockIds> blocks;
        ParameterId bias = -1, final_norm = -1; // relative_attention_bias (buckets, H), shared by all blocks
    };
    ParameterId shared = -1; // (V, C)
    Stack encoder, decoder;
    ParameterId output = -1; // (V, C) of the logits: `shared` where tied, -1 without a decoder
};

namespace detail {

inline T5AttentionIds add_t5_sublayer(ParameterTable &table, T5Config const &c, std::string const &layer,
                                      std::string const &attention, ParameterId *bias) {
    auto ids = add_t5_attention(table, layer + attention, c.d_model, {c.num_heads, c.d_kv}, c.initializer_factor);
    if (bias)
        *bias = table.add(layer + attention + ".relative_attention_bias.weight",
                          {c.relative_attention_num_buckets, c.num_heads},
                          Initialiser::normal(c.initializer_factor / std::sqrt(static_cast<double>(c.d_model))));
    if (attention == "SelfAttention")
        table.place_together({ids.query.weight, ids.key.weight, ids.value.weight});
    else
        table.place_together({ids.key.weight, ids.value.weight});
    ids.norm = add_rms_norm(table, layer + "layer_norm", c.d_model);
    return ids;
}

/// One stack; `name` is "encoder." or "decoder.".
inline T5Ids::Stack add_t5_stack(ParameterTable &table, T5Config const &c, std::string const &name, index_t blocks,
                                 bool cross) {
    T5Ids::Stack stack;
    for (index_t n = 0; n < blocks; ++n) {
        std::string const block = name + "block." + std::to_string(n) + ".layer.";
        T5BlockIds ids;
        ids.self_attention = add_t5_sublayer(table, c, block + "0.", "SelfAttention", n == 0 ? &stack.bias : nullptr);
        if (cross)
            ids.cross_attention = add_t5_sublayer(table, c, block + "1.", "EncDecAttention", nullptr);
        std::string const last = block + (cross ? "2." : "1.");
        ids.feed_forward =
            add_t5_feed_forward(table, last + "DenseReluDense", c.d_model, c.d_ff, c.gated(), c.initializer_factor);
        ids.feed_forward.norm = add_rms_norm(table, last + "layer_norm", c.d_model);
        stack.blocks.push_back(ids);
    }
    stack.final_norm = add_rms_norm(table, name + "final_layer_norm", c.d_model);
    return stack;
}

} // namespace detail

/// Adds T5's tensors under Hugging Face's names, in their order, to a table that may hold other models, too.
/// @param prefix before every name
inline T5Ids add_tensors(ParameterTable &table, T5Config const &c, T5Heads heads, std::string const &prefix = "") {
    c.validate();
    T5Ids ids;
    ids.shared =
        table.add(prefix + "shared.weight", {c.vocab_size, c.d_model}, Initialiser::normal(c.initializer_factor));
    table.alias(ids.shared, prefix + "encoder.embed_tokens.weight");
    ids.encoder = detail::add_t5_stack(table, c, prefix + "encoder.", c.num_layers, false);
    if (!heads.decoder)
        return ids;
    check(c.num_decoder_layers >= 1,
          "T5Config: num_decoder_layers: is 0, expected at least 1 for a model with a decoder");
    table.alias(ids.shared, prefix + "decoder.embed_tokens.weight");
    ids.decoder = detail::add_t5_stack(table, c, prefix + "decoder.", c.num_decoder_layers, true);
    ids.output = ids.shared;
    if (c.tie_word_embeddings)
        table.alias(ids.shared, prefix + "lm_head.weight");
    else
        ids.output =
            table.add(prefix + "lm_head.weight", {c.vocab_size, c.d_model}, Initialiser::normal(c.initializer_factor));
    return ids;
}

/// T5's table by itself and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, T5Ids> t5_table(T5Config const &config, T5Heads heads = {}) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder t5_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "", {"shared.weight", "encoder.embed_tokens.weight"});
}

/// The parts that a checkpoint has tensors for.
inline T5Heads t5_heads(CheckpointFolder const &checkpoint) {
    return {.decoder = checkpoint.contains("decoder.final_layer_norm.weight")};
}

/// T5: an encoder of packed proteins and a decoder that writes a sequence for each. Raffel et al., arXiv 1910.10683;
/// ProtT5: Elnaggar et al., arXiv 2007.06225. Equal to Hugging Face's T5ForConditionalGeneration and T5EncoderModel.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class T5 {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit T5(T5Config config, T5Heads heads = {}) : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = t5_table(config_, heads_);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    T5(T5Config config, T5Heads heads, Parameters<S, Exec> shared, T5Ids ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model with the parts that a checkpoint folder holds: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static T5 load(std::filesystem::path const &folder) { return load(folder, t5_heads(t5_checkpoint(folder))); }
    /// Only the parts asked for: the encoder of a whole checkpoint needs less than half of the memory.
    static T5 load(std::filesystem::path const &folder, T5Heads heads) {
        auto const checkpoint = t5_checkpoint(folder);
        auto const config = with_output_of(t5_config(read_fields(checkpoint.path() / "config.json")), checkpoint);
        require_tensors(t5_table(config, heads).first, checkpoint, "");
        T5 model(config, heads);
        load_weights(model.parameters_, checkpoint, "");
        model.origin_ = checkpoint.path();
        return model;
    }
    /// The encoder by itself: what embeddings need. @throws Error as above
    static T5 load_encoder(std::filesystem::path const &folder) { return load(folder, {.decoder = false}); }
    /// Writes config.json and model.safetensors into an existing folder. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        auto json = to_json(config_, heads_.decoder);
        json["torch_dtype"] = torch_name(type);
        write_json(folder / "config.json", json);
        save_weights(parameters_, folder / "model.safetensors", type);
    }

    /// Draws the weights as Hugging Face does: normal, by the width of each map's input; norms 1.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    T5Config const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    T5Heads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs blocks of both stacks again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens on the host, so that a bad protein is an error here and not on the device. Positions are
    /// relative: lengths have no limit. @throws Error naming the token's place and the limit
    void validate(PackedView batch) const {
        for (std::size_t t = 0; t < batch.tokens.size(); ++t)
            check(batch.tokens[t] >= 0 && batch.tokens[t] < config_.vocab_size, "T5: tokens[", t, "] is ",
                  batch.tokens[t], ", expected at least 0 and below vocab_size ", config_.vocab_size);
    }

    /// The encoder's output (T, C), behind its final norm.
    /// @param batch validated, and copied by make_packed @param states if given, receives N + 1 hidden states: the
    /// embedding's output, that of every block but the last, and what is returned
    template <class Context>
    Activations encode(Context &context, PackedTokens<Exec> const &batch,
                       std::vector<Activations> *states = nullptr) const {
        DropoutScope<Context> const scope(context, batch);
        auto const x = run_encoder(context, batch, config_.num_layers, states);
        return finished(context, x, ids_.encoder.final_norm, config_.num_layers, states);
    }

    /// The encoder's hidden states (T, C) behind `layer` blocks, 0 for the embedding's output, num_layers for what
    /// `encode` returns; later blocks do not run. @throws Error when the encoder has no such block
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.num_layers, "T5: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_layers);
        if (layer == config_.num_layers)
            return encode(context, batch);
        DropoutScope<Context> const scope(context, batch);
        return run_encoder(context, batch, layer, {});
    }

    /// Hands the encoder's hidden states (T, C) behind 0, 1, ... `layer` blocks to `listener` as they are made, in one
    /// pass; the model keeps none of them. See `hidden_state`. @throws Error when the encoder has no such block
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.num_layers, "T5: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_layers);
        DropoutScope<Context> const scope(context, batch);
        auto const x = run_encoder(context, batch, layer, listener);
        if (layer == config_.num_layers)
            finished(context, x, ids_.encoder.final_norm, layer, listener);
    }

    /// The decoder's output (Td, C), behind its final norm; row t stands for what follows token t.
    /// @param batch the decoder's input, one sequence for each of the encoder's: decoder_start_token_id, then the
    /// target without its last token @param encoded (Ts, C) of `encode` @param sources offsets of Ts
    /// @param states as for `encode` @throws Error when the model has no decoder
    template <class Context>
    Activations decode(Context &context, PackedTokens<Exec> const &batch, Activations const &encoded,
                       Segments<Exec> const &sources, std::vector<Activations> *states = nullptr) const {
        check(heads_.decoder, "T5: decode: the model has no decoder");
        DropoutScope<Context> const scope(context, batch);
        auto const score = decoder_score(context);
        Listener const listener(states);
        auto x = embed(context, batch.tokens);
        listener(0, x);
        for (index_t n = 0; n < config_.num_decoder_layers; ++n) {
            auto const block = [layer = decoder_block(n), segments = batch.segments, encoded, sources,
                                score](Context &inner, Activations const &input) {
                return layer(inner, input, segments, encoded, sources, score);
            };
            x = recompute_ ? recompute(context, block, x) : block(context, x);
            if (n + 1 < config_.num_decoder_layers)
                listener(n + 1, x);
        }
        return finished(context, x, ids_.decoder.final_norm, config_.num_decoder_layers, listener);
    }

    /// Logits (R, V) of the next token for rows (R, C) of the decoder. @throws Error when the model has no decoder
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        check(heads_.decoder, "T5: logits: the model has no decoder");
        auto const rows = config_.scale_decoder_outputs
                              ? scale(context, hidden, static_cast<A>(1.0 / std::sqrt(double(config_.d_model))))
                              : hidden;
        return linear<Context, S>(context, rows, parameters_.weight(ids_.output), {});
    }

    /// Cross entropy of the next token for rows (R, C) of the decoder. @param labels (R)
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return cross_entropy(context, logits(context, hidden), labels);
    }

    /// Attention map (H L, L) of one encoder block and sequence: row h L + i is head h, query i.
    template <class Context>
    Activations attention_map(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                              index_t sequence) const {
        check(layer >= 0 && layer < config_.num_layers, "T5: attention_map: layer is ", layer,
              ", expected at least 0 and below ", config_.num_layers);
        T5EncoderBlock<S, Exec> const block(parameters_, ids_.encoder.blocks[static_cast<std::size_t>(layer)], shape());
        auto const x = run_encoder(context, batch, layer, {});
        auto const qkv = block.self_attention.projection(context, block.self_attention.norm(context, x));
        auto const heads = shape().heads;
        return attention_probabilities<Context, A>(context, {qkv, 0}, {qkv, heads.total()}, batch.segments,
                                                   batch.segments, sequence, heads.heads, heads.width,
                                                   stack_score(context, ids_.encoder, true), FullMask{});
    }

    /// Parts of the decoder, for decoding token by token: see T5Decoder.
    T5DecoderBlock<S, Exec> decoder_block(index_t n) const {
        return {parameters_, ids_.decoder.blocks[static_cast<std::size_t>(n)], shape()};
    }
    template <class Context>
    BucketBias<S, Exec> decoder_score(Context &context) const {
        return stack_score(context, ids_.decoder, false);
    }
    RmsNorm<S, Exec> decoder_norm() const { return {parameters_, ids_.decoder.final_norm, config_.layer_norm_epsilon}; }
    /// Rows (T, C) of the word embedding, after dropout.
    template <class Context>
    Activations embed(Context &context, Buffer<std::int32_t, Exec> const &tokens) const {
        std::array<Lookup<S, Exec>, 1> const lookup{{{tokens, parameters_.weight(ids_.shared)}}};
        return dropout(context, embedding<Context, S>(context, lookup), config_.dropout_rate);
    }

  private:
    T5BlockShape shape() const {
        return {config_.d_model,
                {config_.num_heads, config_.d_kv},
                config_.layer_norm_epsilon,
                config_.activation(),
                config_.dropout_rate};
    }

    template <class Context>
    BucketBias<S, Exec> stack_score(Context &context, T5Ids::Stack const &stack, bool bidirectional) const {
        return BucketBias<S, Exec>(context, parameters_.weight(stack.bias), bidirectional,
                                   config_.relative_attention_max_distance);
    }

    /// Embedding and the first `blocks` blocks of the encoder.
    template <class Context>
    Activations run_encoder(Context &context, PackedTokens<Exec> const &batch, index_t blocks,
                            Listener const &states) const {
        auto const score = stack_score(context, ids_.encoder, true);
        auto x = embed(context, batch.tokens);
        states(0, x);
        for (index_t n = 0; n < blocks; ++n) {
            T5EncoderBlock<S, Exec> const layer(parameters_, ids_.encoder.blocks[static_cast<std::size_t>(n)], shape());
            auto const block = [layer, segments = batch.segments, score](Context &inner, Activations const &input) {
                return layer(inner, input, segments, score, FullMask{});
            };
            x = recompute_ ? recompute(context, block, x) : block(context, x);
            if (n + 1 < config_.num_layers)
                states(n + 1, x);
        }
        return x;
    }

    /// A stack's final norm and dropout; `states` hears this instead of the last block's output.
    template <class Context>
    Activations finished(Context &context, Activations const &x, ParameterId norm, index_t blocks,
                         Listener const &states) const {
        auto const y = dropout(context, RmsNorm<S, Exec>(parameters_, norm, config_.layer_norm_epsilon)(context, x),
                               config_.dropout_rate);
        states(blocks, y);
        return y;
    }

    T5Config config_;
    T5Heads heads_;
    T5Ids ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
