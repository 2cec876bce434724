#pragma once

#include <protlm/model/bert_config.hpp>

namespace protlm::inline v0 {

/// T5's hyperparameters under the names of Hugging Face's config.json. The defaults are those of a small ProtT5.
struct T5Config {
    index_t vocab_size = 128;
    index_t d_model = 256;          // C
    index_t d_kv = 32;              // D; heads times d_kv need not be d_model
    index_t d_ff = 1024;            // F
    index_t num_layers = 4;         // blocks of the encoder
    index_t num_decoder_layers = 4; // blocks of the decoder
    index_t num_heads = 8;          // H
    index_t relative_attention_num_buckets = 32;
    index_t relative_attention_max_distance = 128;
    std::string feed_forward_proj = "relu"; // an activation, or "gated-" and an activation
    bool tie_word_embeddings = true;        // logits by the word embedding, behind a factor d_model^-0.5
    /// Of the embedding, of attention probabilities, of what each attention and feed-forward block adds, of the
    /// feed-forward's inner activations, and behind the last norm.
    double dropout_rate = 0.0;
    double layer_norm_epsilon = 1e-6;
    double initializer_factor = 1.0;
    std::int32_t pad_token_id = 0, eos_token_id = 1, decoder_start_token_id = 0;

    /// True when the feed-forward blocks have two inner maps, one of which gates the other.
    bool gated() const { return feed_forward_proj.starts_with("gated-"); }
    /// The activation of the feed-forward blocks; "gated-gelu" is the gelu with tanh, as in transformers.
    /// @throws Error naming the field for a name that is none
    Activation activation(std::string const &name = "T5Config") const {
        if (feed_forward_proj == "gated-gelu")
            return Activation::gelu_tanh;
        return activation_from_name(gated() ? feed_forward_proj.substr(6) : feed_forward_proj,
                                    name + ": feed_forward_proj");
    }

    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "T5Config") const {
        auto const positive = [&](char const *field, index_t value) {
            check(value >= 1, name, ": ", field, ": is ", value, ", expected at least 1");
        };
        positive("vocab_size", vocab_size);
        positive("d_model", d_model);
        positive("d_kv", d_kv);
        positive("d_ff", d_ff);
        positive("num_layers", num_layers);
        positive("num_decoder_layers", num_decoder_layers);
        positive("num_heads", num_heads);
        index_t const buckets = relative_attention_num_buckets;
        check(buckets >= 4 && buckets % 2 == 0, name, ": relative_attention_num_buckets: is ", buckets,
              ", expected an even number of at least 4");
        check(relative_attention_max_distance > buckets / 2, name, ": relative_attention_max_distance: is ",
              relative_attention_max_distance, ", expected more than half of relative_attention_num_buckets ", buckets);
        check(dropout_rate >= 0 && dropout_rate < 1, name, ": dropout_rate: is ", dropout_rate,
              ", expected at least 0 and below 1");
        check(layer_norm_epsilon > 0, name, ": layer_norm_epsilon: is ", layer_norm_epsilon,
              ", expected a positive number");
        check(initializer_factor >= 0, name, ": initializer_factor: is ", initializer_factor, ", expected at least 0");
        for (auto const &[field, id] : {std::pair{"pad_token_id", pad_token_id},
                                        {"eos_token_id", eos_token_id},
                                        {"decoder_start_token_id", decoder_start_token_id}})
            check(id >= 0 && id < vocab_size, name, ": ", field, ": is ", id,
                  ", expected at least 0 and below vocab_size ", vocab_size);
        activation(name);
    }
};

/// Reads the model's part of a config.json; fields that T5 has not are left alone, as transformers does.
/// @throws Error naming file and field
inline T5Config t5_config(Fields const &fields) {
    T5Config c;
    auto const type = fields.optional("model_type", "t5");
    check(type == "t5", fields.name(), ": model_type: is \"", type, "\", expected \"t5\"");
    auto const positive = at_least<index_t>(1);
    auto const token = at_least<std::int32_t>(0);
    // transformers leaves out what equals its own defaults
    c.vocab_size = fields.optional<index_t>("vocab_size", 32128, positive);
    c.d_model = fields.optional<index_t>("d_model", 512, positive);
    c.d_kv = fields.optional<index_t>("d_kv", 64, positive);
    c.d_ff = fields.optional<index_t>("d_ff", 2048, positive);
    c.num_layers = fields.optional<index_t>("num_layers", 6, positive);
    c.num_decoder_layers = fields.optional<index_t>("num_decoder_layers", c.num_layers, positive);
    c.num_heads = fields.optional<index_t>("num_heads", 8, positive);
    c.relative_attention_num_buckets = fields.optional<index_t>("relative_attention_num_buckets", 32, positive);
    c.relative_attention_max_distance = fields.optional<index_t>("relative_attention_max_distance", 128, positive);
    c.feed_forward_proj = fields.optional("feed_forward_proj", "relu");
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", true);
    c.dropout_rate = fields.optional<double>("dropout_rate", 0.1);
    c.layer_norm_epsilon = fields.optional<double>("layer_norm_epsilon", 1e-6);
    c.initializer_factor = fields.optional<double>("initializer_factor", 1.0);
    c.pad_token_id = fields.optional<std::int32_t>("pad_token_id", 0, token);
    c.eos_token_id = fields.optional<std::int32_t>("eos_token_id", 1, token);
    c.decoder_start_token_id = fields.optional<std::int32_t>("decoder_start_token_id", c.pad_token_id, token);
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads. @param decoder false: of the encoder by itself
inline nlohmann::ordered_json to_json(T5Config const &c, bool decoder = true) {
    return {{"architectures", {decoder ? "T5ForConditionalGeneration" : "T5EncoderModel"}},
            {"model_type", "t5"},
            {"is_encoder_decoder", decoder},
            {"vocab_size", c.vocab_size},
            {"d_model", c.d_model},
            {"d_kv", c.d_kv},
            {"d_ff", c.d_ff},
            {"num_layers", c.num_layers},
            {"num_decoder_layers", c.num_decoder_layers},
            {"num_heads", c.num_heads},
            {"relative_attention_num_buckets", c.relative_attention_num_buckets},
            {"relative_attention_max_distance", c.relative_attention_max_distance},
            {"feed_forward_proj", c.feed_forward_proj},
            {"tie_word_embeddings", c.tie_word_embeddings},
            {"dropout_rate", c.dropout_rate},
            {"layer_norm_epsilon", c.layer_norm_epsilon},
            {"initializer_factor", c.initializer_factor},
            {"pad_token_id", c.pad_token_id},
            {"eos_token_id", c.eos_token_id},
            {"decoder_start_token_id", c.decoder_start_token_id},
            {"torch_dtype", "float32"}};
}

} // namespace protlm::inline v0
