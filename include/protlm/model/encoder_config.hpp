#pragma once

#include <protlm/layers/embedding_ids.hpp>
#include <protlm/model/config_fields.hpp>

#include <string>

namespace protlm::inline v0 {

/// Hyperparameters that BERT-like encoders with factored embeddings share, under the names of Hugging Face's
/// config.json. ElectraConfig and AlbertConfig add their own.
struct EncoderConfig {
    index_t vocab_size = 30;
    index_t embedding_size = 128;     // E
    index_t hidden_size = 256;        // C
    index_t num_hidden_layers = 6;    // N
    index_t num_attention_heads = 8;  // H
    index_t intermediate_size = 1024; // F
    index_t max_position_embeddings = 2048;
    index_t type_vocab_size = 2;
    index_t pad_token_id = 0;
    std::string hidden_act = "gelu";
    double hidden_dropout_prob = 0.0;
    double attention_probs_dropout_prob = 0.0;
    double layer_norm_eps = 1e-12;
    double initializer_range = 0.02;
    bool tie_word_embeddings = true; // the output matrix is the word embedding

    index_t head_width() const { return hidden_size / num_attention_heads; }
    Activation activation() const { return activation_from_name(hidden_act, "hidden_act"); }
    EmbeddingExtents embedding_extents() const {
        return {vocab_size, max_position_embeddings, type_vocab_size, embedding_size};
    }
};

namespace detail {

/// Calls `f(name, field, most)` for every integer field, all of which are at least 1.
template <class Config, class F>
void for_each_extent(Config &c, F &&f) {
    f("vocab_size", c.vocab_size, most_rows);
    f("embedding_size", c.embedding_size, most_width);
    f("hidden_size", c.hidden_size, most_width);
    f("num_hidden_layers", c.num_hidden_layers, most_layers);
    f("num_attention_heads", c.num_attention_heads, most_width);
    f("intermediate_size", c.intermediate_size, most_width);
    f("max_position_embeddings", c.max_position_embeddings, most_rows);
    f("type_vocab_size", c.type_vocab_size, most_width);
}

/// @throws Error naming the field, what it is and what was expected
inline void validate_encoder(EncoderConfig const &c, std::string const &name) {
    for_each_extent(c, [&](char const *field, index_t value, index_t most) { check_count(name, field, value, most); });
    check(c.hidden_size % c.num_attention_heads == 0, name, ": hidden_size: is ", c.hidden_size,
          ", expected a multiple of num_attention_heads ", c.num_attention_heads);
    check_probability(name, "hidden_dropout_prob", c.hidden_dropout_prob);
    check_probability(name, "attention_probs_dropout_prob", c.attention_probs_dropout_prob);
    check(c.layer_norm_eps > 0, name, ": layer_norm_eps: is ", c.layer_norm_eps, ", expected a positive number");
    check(c.initializer_range >= 0, name, ": initializer_range: is ", c.initializer_range, ", expected at least 0");
    activation_from_name(c.hidden_act, name + ": hidden_act");
}

/// Reads the fields into `c`, which holds transformers' defaults: those it leaves out. @throws Error naming the field
inline void read_encoder(Fields const &fields, std::string const &model_type, EncoderConfig &c) {
    auto const type = fields.optional<std::string>("model_type", model_type);
    check(type == model_type, fields.name(), ": model_type: is \"", type, "\", expected \"", model_type, '"');
    auto const positions = fields.optional("position_embedding_type", "absolute");
    check(positions == "absolute", fields.name(), ": position_embedding_type: is \"", positions,
          "\", expected \"absolute\"");
    refuse_unsupported(fields);
    for_each_extent(c, [&](char const *field, index_t &value, index_t) {
        value = fields.optional<index_t>(field, value, at_least<index_t>(1));
    });
    c.pad_token_id = fields.optional<index_t>("pad_token_id", c.pad_token_id, at_least<index_t>(0));
    c.hidden_act = fields.optional("hidden_act", c.hidden_act);
    c.hidden_dropout_prob = fields.optional("hidden_dropout_prob", c.hidden_dropout_prob);
    c.attention_probs_dropout_prob = fields.optional("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
    c.layer_norm_eps = fields.optional("layer_norm_eps", c.layer_norm_eps);
    c.initializer_range = fields.optional("initializer_range", c.initializer_range);
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", true);
}

/// The config.json that transformers reads, without what a model adds.
inline nlohmann::ordered_json encoder_json(EncoderConfig const &c, std::string const &architecture,
                                           std::string const &model_type) {
    nlohmann::ordered_json json{{"architectures", {architecture}}, {"model_type", model_type}};
    for_each_extent(c, [&](char const *field, index_t value, index_t) { json[field] = value; });
    json["hidden_act"] = c.hidden_act;
    json["hidden_dropout_prob"] = c.hidden_dropout_prob;
    json["attention_probs_dropout_prob"] = c.attention_probs_dropout_prob;
    json["initializer_range"] = c.initializer_range;
    json["layer_norm_eps"] = c.layer_norm_eps;
    json["pad_token_id"] = c.pad_token_id;
    json["position_embedding_type"] = "absolute";
    json["tie_word_embeddings"] = c.tie_word_embeddings;
    json["torch_dtype"] = "float32";
    return json;
}

} // namespace detail

} // namespace protlm::inline v0
