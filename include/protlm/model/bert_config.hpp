#pragma once

#include <protlm/model/config_fields.hpp>

#include <string>

namespace protlm::inline v0 {

/// BERT's hyperparameters under the names of Hugging Face's config.json. The defaults are those of a small ProtBert.
struct BertConfig {
    index_t vocab_size = 30;
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

    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "BertConfig") const {
        detail::check_count(name, "vocab_size", vocab_size, detail::most_rows);
        detail::check_count(name, "hidden_size", hidden_size, detail::most_width);
        detail::check_count(name, "num_hidden_layers", num_hidden_layers, detail::most_layers);
        detail::check_count(name, "num_attention_heads", num_attention_heads, detail::most_width);
        detail::check_count(name, "intermediate_size", intermediate_size, detail::most_width);
        detail::check_count(name, "max_position_embeddings", max_position_embeddings, detail::most_rows);
        detail::check_count(name, "type_vocab_size", type_vocab_size, detail::most_width);
        check(hidden_size % num_attention_heads == 0, name, ": hidden_size: is ", hidden_size,
              ", expected a multiple of num_attention_heads ", num_attention_heads);
        detail::check_probability(name, "hidden_dropout_prob", hidden_dropout_prob);
        detail::check_probability(name, "attention_probs_dropout_prob", attention_probs_dropout_prob);
        check(layer_norm_eps > 0, name, ": layer_norm_eps: is ", layer_norm_eps, ", expected a positive number");
        check(initializer_range >= 0, name, ": initializer_range: is ", initializer_range, ", expected at least 0");
        activation_from_name(hidden_act, name + ": hidden_act");
    }
};

/// The family's name in config.json.
inline std::string model_type(BertConfig const &) { return "bert"; }

/// Reads the model's part of a config.json; fields that BERT has not are left alone, as transformers does.
/// @throws Error naming file and field
inline BertConfig bert_config(Fields const &fields) {
    BertConfig c;
    auto const type = fields.optional("model_type", "bert");
    check(type == "bert", fields.name(), ": model_type: is \"", type, "\", expected \"bert\"");
    auto const positions = fields.optional("position_embedding_type", "absolute");
    check(positions == "absolute", fields.name(), ": position_embedding_type: is \"", positions,
          "\", expected \"absolute\"");
    detail::refuse_unsupported(fields);
    // transformers leaves out what equals its own defaults
    c.vocab_size = fields.optional<index_t>("vocab_size", 30522, at_least<index_t>(1));
    c.hidden_size = fields.optional<index_t>("hidden_size", 768, at_least<index_t>(1));
    c.num_hidden_layers = fields.optional<index_t>("num_hidden_layers", 12, at_least<index_t>(1));
    c.num_attention_heads = fields.optional<index_t>("num_attention_heads", 12, at_least<index_t>(1));
    c.intermediate_size = fields.optional<index_t>("intermediate_size", 3072, at_least<index_t>(1));
    c.max_position_embeddings = fields.optional<index_t>("max_position_embeddings", 512, at_least<index_t>(1));
    c.type_vocab_size = fields.optional<index_t>("type_vocab_size", 2, at_least<index_t>(1));
    c.pad_token_id = fields.optional<index_t>("pad_token_id", 0, at_least<index_t>(0));
    c.hidden_act = fields.optional("hidden_act", "gelu");
    c.hidden_dropout_prob = fields.optional<double>("hidden_dropout_prob", 0.1);
    c.attention_probs_dropout_prob = fields.optional<double>("attention_probs_dropout_prob", 0.1);
    c.layer_norm_eps = fields.optional<double>("layer_norm_eps", 1e-12);
    c.initializer_range = fields.optional<double>("initializer_range", 0.02);
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", true);
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads.
inline nlohmann::ordered_json to_json(BertConfig const &c) {
    return {{"architectures", {"BertForMaskedLM"}},
            {"model_type", "bert"},
            {"vocab_size", c.vocab_size},
            {"hidden_size", c.hidden_size},
            {"num_hidden_layers", c.num_hidden_layers},
            {"num_attention_heads", c.num_attention_heads},
            {"intermediate_size", c.intermediate_size},
            {"hidden_act", c.hidden_act},
            {"hidden_dropout_prob", c.hidden_dropout_prob},
            {"attention_probs_dropout_prob", c.attention_probs_dropout_prob},
            {"max_position_embeddings", c.max_position_embeddings},
            {"type_vocab_size", c.type_vocab_size},
            {"initializer_range", c.initializer_range},
            {"layer_norm_eps", c.layer_norm_eps},
            {"pad_token_id", c.pad_token_id},
            {"position_embedding_type", "absolute"},
            {"tie_word_embeddings", c.tie_word_embeddings},
            {"torch_dtype", "float32"}};
}

} // namespace protlm::inline v0
