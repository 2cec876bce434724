#pragma once

#include <protlm/core/state_listener.hpp>
#include <protlm/layers/detection_head.hpp>
#include <protlm/layers/output_matrix.hpp>
#include <protlm/layers/post_norm_layer.hpp>
#include <protlm/layers/token_embedding.hpp>
#include <protlm/model/albert_config.hpp>
#include <protlm/model/weights.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/gather.hpp>

#include <filesystem>

namespace protlm::inline v0 {

/// Which heads an ALBERT has beside its encoder; a checkpoint's own are kept.
struct AlbertHeads {
    bool pooler = false;
    bool masked = true; // masked language model, its output matrix tied to the word embedding
    bool sentence_order = false;
    bool detection = false; // ELECTRA's, to train ALBERT as a discriminator
};

/// Where ALBERT's tensors lie in its table.
struct AlbertIds {
    EmbeddingIds embeddings;
    LayerNormIds embedding_norm;
    LinearIds mapping;                                 // (C, E)
    std::vector<std::vector<PostNormLayerIds>> groups; // [group][inner layer], each used by many passes
    LinearIds pooler, transform, sentence_order;
    LayerNormIds transform_norm;
    ParameterId masked_bias = -1, masked_output = -1; // (V), (V, E)
    DetectionHeadIds detection;
};

namespace detail {

/// Names of ALBERT's layer below albert_layers.I.
inline PostNormLayerNames albert_layer_names() {
    return {{"attention.query", "attention.key", "attention.value", "attention.dense"},
            "attention.LayerNorm",
            "ffn",
            "ffn_output",
            "full_layer_layer_norm"};
}

inline void add_albert_heads(ParameterTable &table, AlbertConfig const &c, AlbertHeads heads, std::string const &prefix,
                             AlbertIds &ids) {
    double const deviation = c.initializer_range;
    if (heads.pooler)
        ids.pooler = add_linear(table, prefix + "albert.pooler", c.hidden_size, c.hidden_size, deviation);
    if (heads.masked) {
        std::string const predictions = prefix + "predictions.";
        ids.masked_bias = add_output_bias(table, predictions, c.vocab_size, c.tie_word_embeddings);
        ids.transform_norm = add_layer_norm(table, predictions + "LayerNorm", c.embedding_size);
        ids.transform = add_linear(table, predictions + "dense", c.embedding_size, c.hidden_size, deviation);
        ids.masked_output =
            add_output_matrix(table, predictions + "decoder.weight", ids.embeddings.word, c.tie_word_embeddings);
    }
    if (heads.sentence_order)
        ids.sentence_order = add_linear(table, prefix + "sop_classifier.classifier", 2, c.hidden_size, deviation);
    if (heads.detection)
        ids.detection = add_detection_head(table, prefix, c.hidden_size, deviation);
}

} // namespace detail

/// Adds ALBERT's tensors under Hugging Face's names to a table that may hold other models, too.
/// @param prefix before every name @param shared embeddings of another model in the table to use instead of its own
inline AlbertIds add_tensors(ParameterTable &table, AlbertConfig const &c, AlbertHeads heads,
                             std::string const &prefix = "", EmbeddingIds const &shared = {}) {
    c.validate();
    AlbertIds ids;
    double const deviation = c.initializer_range;
    std::string const albert = prefix + "albert.", encoder = albert + "encoder.";
    ids.embeddings = add_embeddings(table, albert + "embeddings", c.embedding_extents(), deviation, shared);
    ids.embedding_norm = add_layer_norm(table, albert + "embeddings.LayerNorm", c.embedding_size);
    ids.mapping =
        add_linear(table, encoder + "embedding_hidden_mapping_in", c.hidden_size, c.embedding_size, deviation);
    for (index_t g = 0; g < c.num_hidden_groups; ++g) {
        std::string const group = encoder + "albert_layer_groups." + std::to_string(g) + ".albert_layers.";
        auto &layers = ids.groups.emplace_back();
        for (index_t i = 0; i < c.inner_group_num; ++i)
            layers.push_back(add_post_norm_layer(table, group + std::to_string(i) + '.', detail::albert_layer_names(),
                                                 c.hidden_size, c.intermediate_size, deviation));
    }
    detail::add_albert_heads(table, c, heads, prefix, ids);
    return ids;
}

/// ALBERT's table by itself and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, AlbertIds> albert_table(AlbertConfig const &config, AlbertHeads heads) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder albert_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "albert.", {"embeddings.word_embeddings.weight"});
}

/// The heads that a checkpoint has tensors for.
inline AlbertHeads albert_heads(CheckpointFolder const &checkpoint) {
    auto const has = [&](std::string const &name) { return checkpoint.contains(name); };
    return {.pooler = has("albert.pooler.weight") || has("pooler.weight"),
            .masked = has("predictions.dense.weight"),
            .sentence_order = has("sop_classifier.classifier.weight"),
            .detection = has("discriminator_predictions.dense.weight")};
}

/// The config.json that transformers reads, with its class for a model with these heads.
inline nlohmann::ordered_json to_json(AlbertConfig const &config, AlbertHeads heads) {
    return to_json(config, heads.sentence_order ? "AlbertForPreTraining"
                           : heads.masked       ? "AlbertForMaskedLM"
                                                : "AlbertModel");
}

/// ALBERT: a bidirectional encoder over packed proteins whose layers share their weights, with a narrow embedding. Lan
/// et al., arXiv 1909.11942; ProtAlbert: Elnaggar et al., arXiv 2007.06225. Equal to Hugging Face's AlbertModel and
/// AlbertForPreTraining. A shared tensor is one entry of the table: the gradients of all its passes add up in it.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class Albert {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit Albert(AlbertConfig config, AlbertHeads heads = {}) : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = albert_table(config_, heads);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    Albert(AlbertConfig config, AlbertHeads heads, Parameters<S, Exec> shared, AlbertIds ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model as a checkpoint folder holds it: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static Albert load(std::filesystem::path const &folder) {
        auto const checkpoint = albert_checkpoint(folder);
        return load(checkpoint, albert_heads(checkpoint));
    }
    /// The encoder by itself, without heads: what embeddings need. @throws Error as above
    static Albert load_encoder(std::filesystem::path const &folder) {
        return load(albert_checkpoint(folder), {.masked = false});
    }
    /// Writes config.json and model.safetensors into an existing folder. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        auto json = to_json(config_, heads_);
        json["torch_dtype"] = torch_name(type);
        write_json(folder / "config.json", json);
        save_weights(parameters_, folder / "model.safetensors", type);
    }

    /// Draws the weights as the original does: normal, cut off at two deviations; biases 0, norms 1.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    AlbertConfig const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    AlbertHeads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens, types and lengths on the host. @throws Error naming sequence, position and the limit
    void validate(PackedView batch) const { check_tokens("Albert", batch, config_.embedding_extents()); }

    /// The last pass's hidden states (T, C).
    /// @param batch validated, and copied by make_packed @param states if given, receives all N + 1 hidden states, the
    /// mapped embedding first @param mask which tokens see which; CausalMask makes ALBERT a causal model
    template <class Context, AttentionMask Mask = FullMask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, std::vector<Activations> *states = nullptr,
                       Mask const &mask = {}) const {
        return run(context, batch, config_.num_hidden_layers, 0, states, mask);
    }

    /// The hidden states (T, C) behind `layer` passes, 0 for the mapped embedding; later passes do not run.
    /// @throws Error when the model has no such pass
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Albert: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        return run(context, batch, layer, 0, {}, FullMask{});
    }

    /// Hands the hidden states (T, C) behind 0, 1, ... `layer` passes to `listener` as they are made, in one pass; the
    /// model keeps none of them. See `hidden_state`. @throws Error when the model has no such layer
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Albert: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        run(context, batch, layer, 0, listener, FullMask{});
    }

    /// Logits (R, V) of the masked language model for hidden states (R, C).
    /// @throws Error when the model has no such head
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        check(heads_.masked, "Albert: logits: the model has no masked language model head");
        Linear<S, Exec> const transform(parameters_, ids_.transform);
        LayerNorm<S, Exec> const norm(parameters_, ids_.transform_norm, config_.layer_norm_eps);
        return linear<Context, S>(context, norm(context, transform(context, hidden, config_.activation())),
                                  parameters_.weight(ids_.masked_output), parameters_.weight(ids_.masked_bias));
    }

    /// Cross entropy of the masked language model's logits for hidden states (R, C). @param labels (R)
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return cross_entropy(context, logits(context, hidden), labels);
    }

    /// Logits (R, 1) for hidden states (R, C); above 0: the token was replaced.
    /// @throws Error when the model has no such head
    template <class Context>
    Activations detection_logits(Context &context, Activations const &hidden) const {
        check(heads_.detection, "Albert: detection_logits: the model has no detection head");
        return DetectionHead<S, Exec>(parameters_, ids_.detection, config_.activation())(context, hidden);
    }

    /// tanh(pooler(first token)) of each sequence, (B, C). @throws Error when the model has no pooler, or a sequence no
    /// token
    template <class Context>
    Activations pooled(Context &context, PackedTokens<Exec> const &batch, Activations const &hidden) const {
        check(heads_.pooler, "Albert: pooled: the model has no pooler");
        auto const rows = gather_rows(context, hidden,
                                      context.template upload<index_t>(first_rows(batch.segments, "Albert: pooled")));
        return Linear<S, Exec>(parameters_, ids_.pooler)(context, rows, Activation::tanh);
    }

    /// Logits (B, 2) of sentence-order prediction from `pooled`. @throws Error when the model has no such head
    template <class Context>
    Activations sentence_order_logits(Context &context, Activations const &pooled) const {
        check(heads_.sentence_order, "Albert: sentence_order_logits: the model has no sentence-order head");
        return Linear<S, Exec>(parameters_, ids_.sentence_order)(context, pooled);
    }

    /// Attention map (H L, L) of one sequence: row h L + i is head h, query i.
    /// @param layer counts passes and the inner layers in each: pass n, inner layer i is n inner_group_num + i
    template <class Context>
    Activations attention_map(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                              index_t sequence) const {
        index_t const inner = config_.inner_group_num, maps = config_.num_hidden_layers * inner;
        check(layer >= 0 && layer < maps, "Albert: attention_map: layer is ", layer, ", expected at least 0 and below ",
              maps);
        auto const x = run(context, batch, layer / inner, layer % inner, {}, FullMask{});
        return layer_attention_map(context, make_layer(config_.group(layer / inner), layer % inner), x, batch.segments,
                                   score(), sequence);
    }

  private:
    static Albert load(CheckpointFolder const &checkpoint, AlbertHeads heads) {
        auto const config = albert_config(read_fields(checkpoint.path() / "config.json"));
        require_tensors(albert_table(config, heads).first, checkpoint, "albert.");
        Albert model(config, heads);
        load_weights(model.parameters_, checkpoint, "albert.");
        model.origin_ = checkpoint.path();
        return model;
    }
    ScaledDot<A> score() const { return {static_cast<A>(1.0 / std::sqrt(static_cast<double>(config_.head_width())))}; }
    PostNormLayer<S, Exec> make_layer(index_t group, index_t inner) const {
        auto const &ids = ids_.groups[static_cast<std::size_t>(group)][static_cast<std::size_t>(inner)];
        return make_post_norm_layer(parameters_, ids, config_.num_attention_heads, config_.activation(),
                                    config_.layer_norm_eps);
    }

    /// Embedding, mapping, the first `passes` passes, and `more` inner layers of the pass behind them.
    template <class Context, class Mask>
    Activations run(Context &context, PackedTokens<Exec> const &batch, index_t passes, index_t more,
                    Listener const &states, Mask const &mask) const {
        DropoutScope<Context> const scope(context, batch);
        TokenEmbedding<S, Exec> const embed(parameters_, ids_.embeddings, ids_.embedding_norm, config_.layer_norm_eps);
        Linear<S, Exec> const mapping(parameters_, ids_.mapping);
        Activations x = mapping(context, embed(context, batch, config_.hidden_dropout_prob));
        states(0, x);
        for (index_t n = 0; n < passes || (n == passes && more > 0); ++n) {
            index_t const layers = n < passes ? config_.inner_group_num : more;
            for (index_t i = 0; i < layers; ++i)
                x = run_layer(context, make_layer(config_.group(n), i), x, batch.segments, score(), mask,
                              DropoutRates{config_.hidden_dropout_prob, config_.attention_probs_dropout_prob},
                              recompute_);
            states(n + 1, x);
        }
        return x;
    }

    AlbertConfig config_;
    AlbertHeads heads_;
    AlbertIds ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
