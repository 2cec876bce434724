#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/core/state_listener.hpp>
#include <protlm/layers/detection_head.hpp>
#include <protlm/layers/embedding_ids.hpp>
#include <protlm/layers/encoder_layer.hpp>
#include <protlm/layers/output_matrix.hpp>
#include <protlm/model/bert_config.hpp>
#include <protlm/model/weights.hpp>
#include <protlm/ops/attention_probabilities.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/embedding.hpp>
#include <protlm/ops/gather.hpp>

#include <filesystem>

namespace protlm::inline v0 {

/// Which heads a BERT has beside its encoder; a checkpoint's own are kept.
struct BertHeads {
    bool pooler = false;
    bool masked = true; // masked language model
    bool next_sentence = false;
    bool detection = false; // ELECTRA's, to train BERT as a discriminator
};

/// Where BERT's tensors lie in its table.
struct BertIds {
    EmbeddingIds embeddings;
    LayerNormIds embedding_norm;
    struct Layer {
        SelfAttentionIds attention;
        LayerNormIds attention_norm, output_norm;
        LinearIds inner, output;
    };
    std::vector<Layer> layers;
    LinearIds pooler, transform, next_sentence;
    LayerNormIds transform_norm;
    ParameterId masked_bias = -1, masked_output = -1; // (V), (V, C)
    DetectionHeadIds detection;
};

namespace detail {

inline BertIds::Layer add_bert_layer(ParameterTable &table, BertConfig const &c, std::string const &name) {
    index_t const width = c.hidden_size;
    double const deviation = c.initializer_range;
    BertIds::Layer layer;
    layer.attention = add_self_attention(table, name, {}, width, deviation);
    layer.attention_norm = add_layer_norm(table, name + "attention.output.LayerNorm", width);
    layer.inner = add_linear(table, name + "intermediate.dense", c.intermediate_size, width, deviation);
    layer.output = add_linear(table, name + "output.dense", width, c.intermediate_size, deviation);
    layer.output_norm = add_layer_norm(table, name + "output.LayerNorm", width);
    return layer;
}

} // namespace detail

/// Adds BERT's tensors under Hugging Face's names, in their order, to a table that may hold other models, too.
/// @param prefix before every name @param shared embeddings of another model in the table to use instead of its own
inline BertIds add_tensors(ParameterTable &table, BertConfig const &c, BertHeads heads, std::string const &prefix = "",
                           EmbeddingIds const &shared = {}) {
    c.validate();
    BertIds ids;
    double const deviation = c.initializer_range;
    index_t const width = c.hidden_size;
    std::string const bert = prefix + "bert.", predictions = prefix + "cls.predictions.";
    ids.embeddings =
        add_embeddings(table, bert + "embeddings", {c.vocab_size, c.max_position_embeddings, c.type_vocab_size, width},
                       deviation, shared);
    ids.embedding_norm = add_layer_norm(table, bert + "embeddings.LayerNorm", width);
    for (index_t n = 0; n < c.num_hidden_layers; ++n)
        ids.layers.push_back(detail::add_bert_layer(table, c, bert + "encoder.layer." + std::to_string(n) + '.'));
    if (heads.pooler)
        ids.pooler = add_linear(table, bert + "pooler.dense", width, width, deviation);
    if (heads.masked) {
        ids.masked_bias = add_output_bias(table, predictions, c.vocab_size, c.tie_word_embeddings);
        ids.transform = add_linear(table, predictions + "transform.dense", width, width, deviation);
        ids.transform_norm = add_layer_norm(table, predictions + "transform.LayerNorm", width);
        ids.masked_output =
            add_output_matrix(table, predictions + "decoder.weight", ids.embeddings.word, c.tie_word_embeddings);
    }
    if (heads.next_sentence)
        ids.next_sentence = add_linear(table, prefix + "cls.seq_relationship", 2, width, deviation);
    if (heads.detection)
        ids.detection = add_detection_head(table, prefix, width, deviation);
    return ids;
}

/// BERT's table by itself and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, BertIds> bert_table(BertConfig const &config, BertHeads heads) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder bert_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "bert.", {"embeddings.word_embeddings.weight"});
}

/// The heads that a checkpoint has tensors for.
inline BertHeads bert_heads(CheckpointFolder const &checkpoint) {
    auto const has = [&](std::string const &name) { return checkpoint.contains(name); };
    return {.pooler = has("bert.pooler.dense.weight") || has("pooler.dense.weight"),
            .masked = has("cls.predictions.transform.dense.weight"),
            .next_sentence = has("cls.seq_relationship.weight"),
            .detection = has("discriminator_predictions.dense.weight")};
}

/// BERT: a bidirectional encoder over packed proteins. Devlin et al., arXiv 1810.04805; ProtBert: Elnaggar et al.,
/// arXiv 2007.06225. Equal to Hugging Face's BertModel and BertForPreTraining.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class Bert {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit Bert(BertConfig config, BertHeads heads = {}) : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = bert_table(config_, heads);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    Bert(BertConfig config, BertHeads heads, Parameters<S, Exec> shared, BertIds ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model as a checkpoint folder holds it: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static Bert load(std::filesystem::path const &folder) {
        auto const checkpoint = bert_checkpoint(folder);
        return load(checkpoint, bert_heads(checkpoint));
    }
    /// The encoder by itself, without heads: what embeddings need. @throws Error as above
    static Bert load_encoder(std::filesystem::path const &folder) {
        return load(bert_checkpoint(folder), {.masked = false});
    }
    /// Writes config.json and model.safetensors into an existing folder. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        auto json = to_json(config_);
        json["torch_dtype"] = torch_name(type);
        write_json(folder / "config.json", json);
        save_weights(parameters_, folder / "model.safetensors", type);
    }

    /// Draws the weights as the original does: normal, cut off at two deviations; biases 0, norms 1.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    BertConfig const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    BertHeads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens, types and lengths on the host, so that a bad protein is an error here and not on the device.
    /// @throws Error naming sequence, position and the limit
    void validate(PackedView batch) const {
        for (std::size_t t = 0; t < batch.tokens.size(); ++t)
            check(batch.tokens[t] >= 0 && batch.tokens[t] < config_.vocab_size, "Bert: tokens[", t, "] is ",
                  batch.tokens[t], ", expected at least 0 and below vocab_size ", config_.vocab_size);
        for (std::size_t t = 0; t < batch.token_types.size(); ++t)
            check(batch.token_types[t] >= 0 && batch.token_types[t] < config_.type_vocab_size, "Bert: token_types[", t,
                  "] is ", batch.token_types[t], ", expected at least 0 and below type_vocab_size ",
                  config_.type_vocab_size);
        for (std::size_t b = 0; b + 1 < batch.offsets.size(); ++b)
            check(batch.offsets[b + 1] - batch.offsets[b] <= config_.max_position_embeddings, "Bert: sequence ", b,
                  " has ", batch.offsets[b + 1] - batch.offsets[b], " tokens, but max_position_embeddings is ",
                  config_.max_position_embeddings);
    }

    /// The last layer's hidden states (T, C).
    /// @param batch validated, and copied by make_packed @param states if given, receives all N + 1 hidden states, the
    /// embedding output first @param mask which tokens see which; CausalMask makes BERT a causal model
    template <class Context, AttentionMask Mask = FullMask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, std::vector<Activations> *states = nullptr,
                       Mask const &mask = {}) const {
        return run(context, batch, config_.num_hidden_layers, states, mask);
    }

    /// The hidden states (T, C) behind `layer` layers, 0 for the embedding's output; later layers do not run.
    /// @throws Error when the model has no such layer
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Bert: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        return run(context, batch, layer, {}, FullMask{});
    }

    /// Hands the hidden states (T, C) behind 0, 1, ... `layer` layers to `listener` as they are made, in one pass; the
    /// model keeps none of them. See `hidden_state`. @throws Error when the model has no such layer
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Bert: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        run(context, batch, layer, listener, FullMask{});
    }

    /// Logits (R, V) of the masked language model for hidden states (R, C).
    /// @throws Error when the model has no such head
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        check(heads_.masked, "Bert: logits: the model has no masked language model head");
        Linear<S, Exec> const transform(parameters_, ids_.transform);
        LayerNorm<S, Exec> const norm(parameters_, ids_.transform_norm, config_.layer_norm_eps);
        auto const activation = activation_from_name(config_.hidden_act, "hidden_act");
        return linear<Context, S>(context, norm(context, transform(context, hidden, activation)),
                                  parameters_.weight(ids_.masked_output), parameters_.weight(ids_.masked_bias));
    }

    /// Cross entropy of the masked language model's logits for hidden states (R, C). @param labels (R)
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return cross_entropy(context, logits(context, hidden), labels);
    }

    /// tanh(dense(first token)) of each sequence, (B, C). @throws Error when the model has no pooler, or a sequence no
    /// token
    template <class Context>
    Activations pooled(Context &context, PackedTokens<Exec> const &batch, Activations const &hidden) const {
        check(heads_.pooler, "Bert: pooled: the model has no pooler");
        auto const rows =
            gather_rows(context, hidden, context.template upload<index_t>(first_rows(batch.segments, "Bert: pooled")));
        return Linear<S, Exec>(parameters_, ids_.pooler)(context, rows, Activation::tanh);
    }

    /// Logits (B, 2) of next-sentence prediction from `pooled`. @throws Error when the model has no such head
    template <class Context>
    Activations next_sentence_logits(Context &context, Activations const &pooled) const {
        check(heads_.next_sentence, "Bert: next_sentence_logits: the model has no next-sentence head");
        return Linear<S, Exec>(parameters_, ids_.next_sentence)(context, pooled);
    }

    /// Logits (R, 1) for hidden states (R, C); above 0: the token was replaced.
    /// @throws Error when the model has no such head
    template <class Context>
    Activations detection_logits(Context &context, Activations const &hidden) const {
        check(heads_.detection, "Bert: detection_logits: the model has no detection head");
        auto const activation = activation_from_name(config_.hidden_act, "hidden_act");
        return DetectionHead<S, Exec>(parameters_, ids_.detection, activation)(context, hidden);
    }

    /// Attention map (H L, L) of one layer and sequence: row h L + i is head h, query i.
    template <class Context>
    Activations attention_map(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                              index_t sequence) const {
        check(layer >= 0 && layer < config_.num_hidden_layers, "Bert: attention_map: layer is ", layer,
              ", expected at least 0 and below ", config_.num_hidden_layers);
        auto const x = run(context, batch, layer, {}, FullMask{});
        auto const qkv = make_layer(layer).self_attention.projection(context, x);
        return attention_probabilities<Context, A>(context, {qkv, 0}, {qkv, config_.hidden_size}, batch.segments,
                                                   batch.segments, sequence, config_.num_attention_heads, head_width(),
                                                   score(), FullMask{});
    }

  private:
    static Bert load(CheckpointFolder const &checkpoint, BertHeads heads) {
        auto const config = bert_config(read_fields(checkpoint.path() / "config.json"));
        require_tensors(bert_table(config, heads).first, checkpoint, "bert.");
        Bert model(config, heads);
        load_weights(model.parameters_, checkpoint, "bert.");
        model.origin_ = checkpoint.path();
        return model;
    }
    index_t head_width() const { return config_.hidden_size / config_.num_attention_heads; }
    ScaledDot<A> score() const { return {static_cast<A>(1.0 / std::sqrt(static_cast<double>(head_width())))}; }

    PostNormLayer<S, Exec> make_layer(index_t n) const {
        auto const &ids = ids_.layers[static_cast<std::size_t>(n)];
        double const eps = config_.layer_norm_eps;
        return {SelfAttention<S, Exec>(parameters_, ids.attention, config_.num_attention_heads),
                LayerNorm<S, Exec>(parameters_, ids.attention_norm, eps),
                FeedForward<S, Exec>{Linear<S, Exec>(parameters_, ids.inner), Linear<S, Exec>(parameters_, ids.output),
                                     activation_from_name(config_.hidden_act, "hidden_act")},
                LayerNorm<S, Exec>(parameters_, ids.output_norm, eps)};
    }

    /// Embedding and the first `layers` layers.
    template <class Context, class Mask>
    Activations run(Context &context, PackedTokens<Exec> const &batch, index_t layers, Listener const &states,
                    Mask const &mask) const {
        std::array<Lookup<S, Exec>, 3> const lookups{{{batch.tokens, parameters_.weight(ids_.embeddings.word)},
                                                      {batch.types, parameters_.weight(ids_.embeddings.token_type)},
                                                      {batch.positions, parameters_.weight(ids_.embeddings.position)}}};
        DropoutScope<Context> const scope(context, batch);
        LayerNorm<S, Exec> const norm(parameters_, ids_.embedding_norm, config_.layer_norm_eps);
        auto x = dropout(context, norm(context, embedding<Context, S>(context, lookups)), config_.hidden_dropout_prob);
        states(0, x);
        for (index_t n = 0; n < layers; ++n) {
            auto const block = [layer = make_layer(n), segments = batch.segments, score = score(), mask,
                                rates =
                                    DropoutRates{config_.hidden_dropout_prob, config_.attention_probs_dropout_prob}](
                                   Context &inner, Activations const &input) {
                return layer(inner, input, segments, score, mask, rates);
            };
            x = recompute_ ? recompute(context, block, x) : block(context, x);
            states(n + 1, x);
        }
        return x;
    }

    BertConfig config_;
    BertHeads heads_;
    BertIds ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
