#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/core/state_listener.hpp>
#include <protlm/layers/adaptive_embedding.hpp>
#include <protlm/layers/adaptive_output.hpp>
#include <protlm/layers/recurrent_memory.hpp>
#include <protlm/layers/relative_rows.hpp>
#include <protlm/layers/transformer_xl_layer.hpp>
#include <protlm/layers/two_stream.hpp>
#include <protlm/model/transformer_xl_config.hpp>
#include <protlm/model/transformer_xl_table.hpp>
#include <protlm/model/weights.hpp>

#include <cmath>
#include <concepts>
#include <filesystem>

namespace protlm::inline v0 {

/// Transformer-XL: a causal model over packed segments of proteins that remembers those before. Dai et al., arXiv
/// 1901.02860; ProtTXL: Elnaggar et al., arXiv 2007.06225. Equal to Hugging Face's TransfoXLLMHeadModel, but for
/// memories, which begin empty: `zero_memory` gives Hugging Face's zeros.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class TransformerXl {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;
    using Memory = RecurrentMemory<A, Exec>; // inputs of each layer, the last mem_len of each sequence

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit TransformerXl(TransformerXlConfig config, TransformerXlHeads heads = {})
        : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = transformer_xl_table(config_, heads);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    TransformerXl(TransformerXlConfig config, TransformerXlHeads heads, Parameters<S, Exec> shared,
                  TransformerXlIds ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model as a checkpoint folder holds it: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static TransformerXl load(std::filesystem::path const &folder) {
        auto const checkpoint = transformer_xl_checkpoint(folder);
        return load(checkpoint, transformer_xl_heads(checkpoint));
    }
    /// The layers by themselves, without heads: what embeddings need. @throws Error as above
    static TransformerXl load_encoder(std::filesystem::path const &folder) {
        return load(transformer_xl_checkpoint(folder), {.language_model = false});
    }
    /// Writes config.json and model.safetensors into an existing folder. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        auto json = to_json(config_);
        json["torch_dtype"] = torch_name(type);
        write_json(folder / "config.json", json);
        save_weights(parameters_, folder / "model.safetensors", type);
    }

    /// Draws the weights as the original does: normal or uniform, norms around 1, biases 0.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    TransformerXlConfig const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    TransformerXlHeads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens on the host, so that a bad protein is an error here and not on the device. Types are not used.
    /// @throws Error naming the token and the limit
    void validate(PackedView batch) const {
        for (std::size_t t = 0; t < batch.tokens.size(); ++t)
            check(batch.tokens[t] >= 0 && batch.tokens[t] < config_.vocab_size, "TransformerXl: tokens[", t, "] is ",
                  batch.tokens[t], ", expected at least 0 and below vocab_size ", config_.vocab_size);
    }

    /// The last layer's hidden states (T, C) of whole proteins, or of first segments: nothing is in front. A token sees
    /// those before it, as many as the config says.
    /// @param batch validated, and copied by make_packed @param states if given, receives all N + 1 hidden states, the
    /// embedding output first
    template <class Context>
    Activations encode(Context &context, PackedTokens<Exec> const &batch,
                       std::vector<Activations> *states = nullptr) const {
        return run(context, batch, nullptr, config_.n_layer, states, mask());
    }
    /// The same with another mask. @param mask which tokens see which; others than causal ones may show what follows
    template <class Context, AttentionMask Mask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, std::vector<Activations> *states,
                       Mask const &mask) const {
        return run(context, batch, nullptr, config_.n_layer, states, mask);
    }
    /// The hidden states of the next segment of each sequence, which also sees the memory of those before; the memory
    /// then moves on by this segment. No gradient goes into it.
    /// @param memory as the last segment left it, made by default before the first
    /// @throws Error when it is the memory of another model or another number of sequences
    template <class Context>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, Memory &memory,
                       std::vector<Activations> *states = nullptr) const {
        return run(context, batch, &memory, config_.n_layer, states, mask());
    }

    /// The hidden states (T, C) behind `layer` layers, 0 for the embedding's output; later layers do not run.
    /// @throws Error when the model has no such layer
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.n_layer, "TransformerXl: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.n_layer);
        return run(context, batch, nullptr, layer, {}, mask());
    }

    /// Hands the hidden states (T, C) behind 0, 1, ... `layer` layers to `listener` as they are made, in one pass; the
    /// model keeps none of them. See `hidden_state`. @throws Error when the model has no such layer
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.n_layer, "TransformerXl: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.n_layer);
        run(context, batch, nullptr, layer, listener, mask());
    }

    /// Two-stream attention, to predict tokens in any order: the content of each token, and the targets' states, which
    /// know their places but not themselves; see XLNet. @throws Error when the model has no mask embedding
    template <class Context>
    TwoStreams<A, Exec> two_stream(Context &context, PackedTokens<Exec> const &batch,
                                   TwoStreamOrder<Exec> const &order) const {
        check(heads_.mask_embedding, "TransformerXl: two_stream: the model has no mask embedding");
        check_extent("TransformerXl", "order", "tokens", order.rank.size(), batch.size());
        DropoutScope<Context> const scope(context, batch);
        auto const keys = make_keys<Context>(context, batch, nullptr, true);
        RelativeQueries<Exec> const all{batch.segments, {}, {}, {}};
        auto const targets = target_queries(context, batch, order, keys.segments);
        std::array<Activations, 2> x{embed(context, batch.tokens), begin_targets(context, targets, order.targets)};
        for (index_t n = 0; n < config_.n_layer; ++n) {
            auto const block = [layer = make_layer(n), keys, all, targets, content = order.content_mask(),
                                query = order.query_mask()](Context &inner, std::array<Activations, 2> const &h) {
                auto const projected = layer.project(inner, h[0], {}, keys);
                auto const asked = layer.queries(inner, h[1]);
                return std::array<Activations, 2>{layer.stream(inner, h[0], projected.q, projected, all, keys, content),
                                                  layer.stream(inner, h[1], asked, projected, targets, keys, query)};
            };
            x = recompute_ ? recompute(context, block, x) : block(context, x);
        }
        auto const content = dropout(context, x[0], config_.dropout);
        DropoutScope<Context> const inner(context, targets.samples, targets.positions);
        return {content, dropout(context, x[1], config_.dropout)};
    }

    /// Logits (R, V) of the language model for hidden states (R, C); log probabilities where the config has cutoffs.
    /// @throws Error when the model has no such head
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        return softmax("logits").logits(context, hidden);
    }
    /// Cross entropy of the language model for hidden states (R, C), by adaptive softmax where the config has cutoffs.
    /// @param labels (R) @throws Error when the model has no such head
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return softmax("token_loss").loss(context, hidden, labels);
    }

    /// A memory of mem_len rows of zeros for each sequence, as Hugging Face begins.
    template <class Context>
    Memory zero_memory(Context &context, index_t sequences) const {
        return Memory::zeros(context, config_.n_layer, sequences, config_.mem_len, config_.d_model);
    }

  private:
    static TransformerXl load(CheckpointFolder const &checkpoint, TransformerXlHeads heads) {
        auto const config = transformer_xl_config(read_fields(checkpoint.path() / "config.json"));
        require_tensors(transformer_xl_table(config, heads).first, checkpoint, "transformer.");
        TransformerXl model(config, heads);
        load_weights(model.parameters_, checkpoint, "transformer.");
        model.origin_ = checkpoint.path();
        return model;
    }
    SameLengthMask mask() const {
        return {config_.same_length ? config_.mem_len : std::numeric_limits<index_t>::max()};
    }
    template <class Context>
    RelativeKeys<A, Exec> make_keys(Context &context, PackedTokens<Exec> const &batch, Memory const *memory,
                                    bool ahead) const {
        return relative_keys<A>(context, batch, memory, config_.d_model, ahead, config_.clamp_len, config_.dropout);
    }

    std::vector<Weight<S, Exec>> weights(std::vector<ParameterId> const &ids) const {
        std::vector<Weight<S, Exec>> result;
        for (ParameterId const id : ids)
            result.push_back(parameters_.weight(id));
        return result;
    }
    /// One past the last token of each cluster.
    std::vector<index_t> cluster_ends() const {
        std::vector<index_t> ends;
        for (index_t i = 1; i <= config_.clusters(); ++i)
            ends.push_back(config_.first_token(i));
        return ends;
    }

    TransformerXlLayer<S, Exec> make_layer(index_t n) const {
        TransformerXlLayer<S, Exec> layer(parameters_, ids_.layers[static_cast<std::size_t>(n)],
                                          {config_.d_model, config_.n_head, config_.d_head, config_.d_inner},
                                          config_.layer_norm_epsilon);
        layer.norm_first = config_.pre_lnorm;
        layer.dropout_rate = config_.dropout;
        layer.attention_dropout_rate = config_.dropatt;
        return layer;
    }

    A embedding_scale() const { return static_cast<A>(std::sqrt(static_cast<double>(config_.d_model))); }

    template <class Context>
    Activations embed(Context &context, Buffer<std::int32_t, Exec> const &tokens) const {
        AdaptiveEmbedding<S, Exec> const embedding{weights(ids_.embeddings), weights(ids_.projections), cluster_ends(),
                                                   embedding_scale()};
        return dropout(context, embedding(context, tokens), config_.dropout);
    }

    /// The mask embedding, in the place of every target's own (R, C).
    template <class Context>
    Activations begin_targets(Context &context, RelativeQueries<Exec> const &targets,
                              Buffer<index_t, Exec> const &rows) const {
        DropoutScope<Context> const scope(context, targets.samples, targets.positions);
        auto const zeros = context.template buffer<std::int32_t>(rows.size());
        zero_values(context.exec(), zeros.view());
        std::array<Lookup<S, Exec>, 1> const lookup{
            {{zeros, parameters_.weight(ids_.mask_embedding, 1, config_.d_model)}}};
        auto const g = scale(context, embedding<Context, S>(context, lookup), embedding_scale());
        return dropout(context, g, config_.dropout);
    }

    AdaptiveOutput<S, Exec> softmax(char const *function) const {
        check(heads_.language_model, "TransformerXl: ", function, ": the model has no language model head");
        AdaptiveOutput<S, Exec> output{weights(ids_.output_weights),
                                       weights(ids_.output_biases),
                                       weights(ids_.output_projections),
                                       {},
                                       {},
                                       cluster_ends()};
        index_t const count = config_.clusters();
        if (count == 1)
            return output;
        output.cluster_weight = parameters_.weight(ids_.cluster_weight);
        output.cluster_bias = parameters_.weight(ids_.cluster_bias);
        if (output.weights.size() == 1) { // one matrix for all: each cluster has some of its rows
            auto const weight = output.weights[0];
            auto const bias = output.biases[0].as_matrix(config_.vocab_size, 1);
            output.weights.clear();
            output.biases.clear();
            for (index_t i = 0; i < count; ++i) {
                index_t const first = config_.first_token(i), size = config_.first_token(i + 1) - first;
                output.weights.push_back(weight.slice(first, size));
                output.biases.push_back(bias.slice(first, size).as_matrix(1, size));
            }
        }
        return output;
    }

    /// Embedding and the first `layers` layers.
    template <class Context, class Mask>
    Activations run(Context &context, PackedTokens<Exec> const &batch, Memory *memory, index_t layers,
                    Listener const &states, Mask const &mask) const {
        if (memory)
            memory->validate("TransformerXl", config_.n_layer, batch.segments.count(), config_.d_model);
        constexpr bool ahead = !std::same_as<Mask, CausalMask> && !std::same_as<Mask, SameLengthMask>;
        DropoutScope<Context> const scope(context, batch);
        auto const keys = make_keys(context, batch, memory, ahead);
        RelativeQueries<Exec> const all{batch.segments, {}, {}, {}};
        auto x = embed(context, batch.tokens);
        std::vector<Activations> inputs;
        for (index_t n = 0; n < layers; ++n) {
            auto const past = keys.joined ? memory->layers[static_cast<std::size_t>(n)] : Activations{};
            auto const block = [layer = make_layer(n), keys, all, past, mask](Context &inner, Activations const &h) {
                auto const projected = layer.project(inner, h, past, keys);
                return layer.stream(inner, h, projected.q, projected, all, keys, mask);
            };
            states(n, x);
            if (memory)
                inputs.push_back(x);
            x = recompute_ ? recompute(context, block, x) : block(context, x);
        }
        if (layers == config_.n_layer)
            x = dropout(context, x, config_.dropout);
        if (memory)
            memory->update(context, inputs, batch.segments, config_.mem_len);
        states(layers, x);
        return x;
    }

    TransformerXlConfig config_;
    TransformerXlHeads heads_;
    TransformerXlIds ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
