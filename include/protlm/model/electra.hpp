#pragma once

#include <protlm/core/state_listener.hpp>
#include <protlm/layers/detection_head.hpp>
#include <protlm/layers/output_matrix.hpp>
#include <protlm/layers/post_norm_layer.hpp>
#include <protlm/layers/token_embedding.hpp>
#include <protlm/model/electra_config.hpp>
#include <protlm/model/weights.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/gather.hpp>

#include <filesystem>

namespace protlm::inline v0 {

/// Which heads an ELECTRA has: a generator predicts masked tokens, a discriminator tells replaced ones.
struct ElectraHeads {
    bool masked = true;     // generator_predictions, its output matrix tied to the word embedding
    bool detection = false; // discriminator_predictions
};

/// Where ELECTRA's tensors lie in its table.
struct ElectraIds {
    EmbeddingIds embeddings;
    LayerNormIds embedding_norm;
    LinearIds project; // where the embedding has another width than the layers
    std::vector<PostNormLayerIds> layers;
    LinearIds transform;
    LayerNormIds transform_norm;
    ParameterId masked_bias = -1, masked_output = -1; // (V), (V, E)
    DetectionHeadIds detection;
};

/// Adds ELECTRA's tensors under Hugging Face's names to a table that may hold other models, too.
/// @param prefix before every name @param shared embeddings of another model in the table to use instead of its own
inline ElectraIds add_tensors(ParameterTable &table, ElectraConfig const &c, ElectraHeads heads,
                              std::string const &prefix = "", EmbeddingIds const &shared = {}) {
    c.validate();
    ElectraIds ids;
    double const deviation = c.initializer_range;
    std::string const electra = prefix + "electra.";
    ids.embeddings = add_embeddings(table, electra + "embeddings", c.embedding_extents(), deviation, shared);
    ids.embedding_norm = add_layer_norm(table, electra + "embeddings.LayerNorm", c.embedding_size);
    if (c.embedding_size != c.hidden_size)
        ids.project = add_linear(table, electra + "embeddings_project", c.hidden_size, c.embedding_size, deviation);
    for (index_t n = 0; n < c.num_hidden_layers; ++n)
        ids.layers.push_back(add_post_norm_layer(table, electra + "encoder.layer." + std::to_string(n) + '.', {},
                                                 c.hidden_size, c.intermediate_size, deviation));
    if (heads.masked) {
        ids.transform_norm = add_layer_norm(table, prefix + "generator_predictions.LayerNorm", c.embedding_size);
        ids.transform =
            add_linear(table, prefix + "generator_predictions.dense", c.embedding_size, c.hidden_size, deviation);
        ids.masked_bias = table.add(prefix + "generator_lm_head.bias", {c.vocab_size}, Initialiser::zeros());
        ids.masked_output =
            add_output_matrix(table, prefix + "generator_lm_head.weight", ids.embeddings.word, c.tie_word_embeddings);
    }
    if (heads.detection)
        ids.detection = add_detection_head(table, prefix, c.hidden_size, deviation);
    return ids;
}

/// ELECTRA's table by itself and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, ElectraIds> electra_table(ElectraConfig const &config, ElectraHeads heads) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder electra_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "electra.", {"embeddings.word_embeddings.weight"});
}

/// The heads that a checkpoint has tensors for.
inline ElectraHeads electra_heads(CheckpointFolder const &checkpoint) {
    return {.masked = checkpoint.contains("generator_predictions.dense.weight"),
            .detection = checkpoint.contains("discriminator_predictions.dense.weight")};
}

/// The config.json that transformers reads, with its class for a model with these heads.
inline nlohmann::ordered_json to_json(ElectraConfig const &config, ElectraHeads heads) {
    return to_json(config, heads.masked      ? "ElectraForMaskedLM"
                           : heads.detection ? "ElectraForPreTraining"
                                             : "ElectraModel");
}

/// ELECTRA, generator or discriminator: a bidirectional encoder over packed proteins. Clark et al., arXiv 2003.10555;
/// ProtElectra: Elnaggar et al., arXiv 2007.06225. Equal to Hugging Face's ElectraForMaskedLM and
/// ElectraForPreTraining. GeneratorDiscriminator trains the two together.
/// @tparam S scalar of the weights; activations, sums and the residual stream are at least float
template <Scalar S = float, ExecutionSpace Exec = Kokkos::DefaultExecutionSpace>
class Electra {
  public:
    using scalar_type = S;
    using execution_space = Exec;
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>; // (T, C)
    using Listener = StateListener<A, Exec>;

    /// All weights zero: call `initialise` or `load` next. @throws Error naming the field of a config that cannot be
    explicit Electra(ElectraConfig config, ElectraHeads heads = {}) : config_(std::move(config)), heads_(heads) {
        auto [table, ids] = electra_table(config_, heads);
        ids_ = std::move(ids);
        parameters_ = Parameters<S, Exec>(std::move(table));
    }

    /// A model whose tensors are part of a larger table, shared with other models. @param ids from `add_tensors`
    Electra(ElectraConfig config, ElectraHeads heads, Parameters<S, Exec> shared, ElectraIds ids)
        : config_(std::move(config)), heads_(heads), ids_(std::move(ids)), parameters_(std::move(shared)) {}

    /// A model as a checkpoint folder holds it: config.json beside safetensors, in Hugging Face's names.
    /// @throws Error naming the file and what is wrong with it
    static Electra load(std::filesystem::path const &folder) {
        auto const checkpoint = electra_checkpoint(folder);
        return load(checkpoint, electra_heads(checkpoint));
    }
    /// The encoder by itself, without heads: what embeddings need. @throws Error as above
    static Electra load_encoder(std::filesystem::path const &folder) {
        return load(electra_checkpoint(folder), {.masked = false});
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

    ElectraConfig const &config() const { return config_; }
    /// The folder that it was loaded from, whose vocabulary is its own; empty: none.
    std::filesystem::path const &origin() const { return origin_; }
    ElectraHeads const &heads() const { return heads_; }
    Parameters<S, Exec> &parameters() { return parameters_; }
    Parameters<S, Exec> const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) { recompute_ = wanted; }

    /// Checks tokens, types and lengths on the host. @throws Error naming sequence, position and the limit
    void validate(PackedView batch) const { check_tokens("Electra", batch, config_.embedding_extents()); }

    /// The last layer's hidden states (T, C).
    /// @param batch validated, and copied by make_packed @param states if given, receives all N + 1 hidden states, the
    /// projected embedding first @param mask which tokens see which; CausalMask makes ELECTRA a causal model
    template <class Context, AttentionMask Mask = FullMask>
    Activations encode(Context &context, PackedTokens<Exec> const &batch, std::vector<Activations> *states = nullptr,
                       Mask const &mask = {}) const {
        return run(context, batch, config_.num_hidden_layers, states, mask);
    }

    /// The hidden states (T, C) behind `layer` layers, 0 for the projected embedding; later layers do not run.
    /// @throws Error when the model has no such layer
    template <class Context>
    Activations hidden_state(Context &context, PackedTokens<Exec> const &batch, index_t layer) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Electra: hidden_state: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        return run(context, batch, layer, {}, FullMask{});
    }

    /// Hands the hidden states (T, C) behind 0, 1, ... `layer` layers to `listener` as they are made, in one pass; the
    /// model keeps none of them. See `hidden_state`. @throws Error when the model has no such layer
    template <class Context>
    void hidden_states(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                       Listener const &listener) const {
        check(layer >= 0 && layer <= config_.num_hidden_layers, "Electra: hidden_states: layer is ", layer,
              ", expected at least 0 and at most ", config_.num_hidden_layers);
        run(context, batch, layer, listener, FullMask{});
    }

    /// Logits (R, V) of the generator's head for hidden states (R, C). Its activation is GELU whatever hidden_act is,
    /// as in the original. @throws Error when the model has no such head
    template <class Context>
    Activations logits(Context &context, Activations const &hidden) const {
        check(heads_.masked, "Electra: logits: the model has no masked language model head");
        Linear<S, Exec> const transform(parameters_, ids_.transform);
        LayerNorm<S, Exec> const norm(parameters_, ids_.transform_norm, config_.layer_norm_eps);
        return linear<Context, S>(context, norm(context, transform(context, hidden, Activation::gelu)),
                                  parameters_.weight(ids_.masked_output), parameters_.weight(ids_.masked_bias));
    }

    /// Cross entropy of the generator's logits for hidden states (R, C). @param labels (R)
    template <class Context>
    Loss<A, Exec> token_loss(Context &context, Activations const &hidden,
                             Buffer<std::int32_t, Exec> const &labels) const {
        return cross_entropy(context, logits(context, hidden), labels);
    }

    /// Logits (R, 1) for hidden states (R, C); above 0: the token was replaced.
    /// @throws Error when the model has no such head
    template <class Context>
    Activations detection_logits(Context &context, Activations const &hidden) const {
        check(heads_.detection, "Electra: detection_logits: the model has no detection head");
        return DetectionHead<S, Exec>(parameters_, ids_.detection, config_.activation())(context, hidden);
    }

    /// Attention map (H L, L) of one layer and sequence: row h L + i is head h, query i.
    template <class Context>
    Activations attention_map(Context &context, PackedTokens<Exec> const &batch, index_t layer,
                              index_t sequence) const {
        check(layer >= 0 && layer < config_.num_hidden_layers, "Electra: attention_map: layer is ", layer,
              ", expected at least 0 and below ", config_.num_hidden_layers);
        auto const x = run(context, batch, layer, {}, FullMask{});
        return layer_attention_map(context, make_layer(layer), x, batch.segments, score(), sequence);
    }

  private:
    static Electra load(CheckpointFolder const &checkpoint, ElectraHeads heads) {
        auto const config = electra_config(read_fields(checkpoint.path() / "config.json"));
        require_tensors(electra_table(config, heads).first, checkpoint, "electra.");
        Electra model(config, heads);
        load_weights(model.parameters_, checkpoint, "electra.");
        model.origin_ = checkpoint.path();
        return model;
    }
    ScaledDot<A> score() const { return {static_cast<A>(1.0 / std::sqrt(static_cast<double>(config_.head_width())))}; }
    PostNormLayer<S, Exec> make_layer(index_t n) const {
        return make_post_norm_layer(parameters_, ids_.layers[static_cast<std::size_t>(n)], config_.num_attention_heads,
                                    config_.activation(), config_.layer_norm_eps);
    }

    /// Embedding, projection and the first `layers` layers.
    template <class Context, class Mask>
    Activations run(Context &context, PackedTokens<Exec> const &batch, index_t layers, Listener const &states,
                    Mask const &mask) const {
        DropoutScope<Context> const scope(context, batch);
        TokenEmbedding<S, Exec> const embed(parameters_, ids_.embeddings, ids_.embedding_norm, config_.layer_norm_eps);
        Activations x = embed(context, batch, config_.hidden_dropout_prob);
        if (ids_.project.weight >= 0)
            x = Linear<S, Exec>(parameters_, ids_.project)(context, x);
        states(0, x);
        for (index_t n = 0; n < layers; ++n) {
            x = run_layer(context, make_layer(n), x, batch.segments, score(), mask,
                          DropoutRates{config_.hidden_dropout_prob, config_.attention_probs_dropout_prob}, recompute_);
            states(n + 1, x);
        }
        return x;
    }

    ElectraConfig config_;
    ElectraHeads heads_;
    ElectraIds ids_;
    Parameters<S, Exec> parameters_;
    std::filesystem::path origin_;
    bool recompute_ = false;
};

} // namespace protlm::inline v0
