#pragma once

#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/model/config_fields.hpp>

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
    bool tie_word_embeddings = true;        // logits by the word embedding, not by a matrix of their own
    bool scale_decoder_outputs = true;      // logits behind a factor d_model^-0.5: T5, but not T5 1.1
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
        detail::check_count(name, "vocab_size", vocab_size, detail::most_rows);
        detail::check_count(name, "d_model", d_model, detail::most_width);
        detail::check_count(name, "d_kv", d_kv, detail::most_width);
        detail::check_count(name, "d_ff", d_ff, detail::most_width);
        detail::check_count(name, "num_layers", num_layers, detail::most_layers);
        check(num_decoder_layers >= 0 && num_decoder_layers <= detail::most_layers, name, ": num_decoder_layers: is ",
              num_decoder_layers, ", expected at least 0 and at most ", detail::most_layers);
        detail::check_count(name, "num_heads", num_heads, detail::most_width);
        check(num_heads * d_kv <= detail::most_width, name, ": num_heads: is ", num_heads, " times d_kv ", d_kv,
              ", expected at most ", detail::most_width, " in all");
        index_t const buckets = relative_attention_num_buckets;
        check(buckets >= 4 && buckets % 2 == 0 && buckets <= detail::most_width, name,
              ": relative_attention_num_buckets: is ", buckets, ", expected an even number from 4 to ",
              detail::most_width);
        check(relative_attention_max_distance > buckets / 2, name, ": relative_attention_max_distance: is ",
              relative_attention_max_distance, ", expected more than half of relative_attention_num_buckets ", buckets);
        check(relative_attention_max_distance <= detail::most_rows, name, ": relative_attention_max_distance: is ",
              relative_attention_max_distance, ", expected at most ", detail::most_rows);
        detail::check_probability(name, "dropout_rate", dropout_rate);
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

/// The family's name in config.json.
inline std::string model_type(T5Config const &) { return "t5"; }

namespace detail {

/// The end's token, which newer configs may write as a list. @throws Error for more than one
inline std::int32_t t5_end_token(Fields const &fields) {
    auto const token = at_least<std::int32_t>(0);
    auto const place = fields.json().find("eos_token_id");
    if (place == fields.json().end() || !place->is_array())
        return fields.optional<std::int32_t>("eos_token_id", 1, token);
    check(place->size() == 1, fields.name(), ": eos_token_id: is a list of ", place->size(), ", expected one token");
    return Fields({{"eos_token_id", (*place)[0]}}, fields.name()).required<std::int32_t>("eos_token_id", token);
}

/// transformers writes what it derives from feed_forward_proj, too, and believes it. @throws Error when they differ
inline void check_t5_activation(Fields const &fields, T5Config const &c) {
    check(fields.optional("is_gated_act", c.gated()) == c.gated(), fields.name(), ": is_gated_act: is ",
          c.gated() ? "false" : "true", ", but feed_forward_proj is \"", c.feed_forward_proj, '"');
    auto const name = fields.maybe<std::string>("dense_act_fn");
    check(!name || activation_from_name(*name, fields.name() + ": dense_act_fn") == c.activation(fields.name()),
          fields.name(), ": dense_act_fn: is \"", name.value_or(""), "\", but feed_forward_proj is \"",
          c.feed_forward_proj, '"');
}

} // namespace detail

/// Reads the model's part of a config.json; fields that T5 has not are left alone, as transformers does.
/// @throws Error naming file and field
inline T5Config t5_config(Fields const &fields) {
    T5Config c;
    auto const type = fields.optional("model_type", "t5");
    check(type == "t5", fields.name(), ": model_type: is \"", type, "\", expected \"t5\"");
    auto const positive = at_least<index_t>(1);
    auto const token = at_least<std::int32_t>(0);
    detail::refuse_unsupported(fields);
    // transformers leaves out what equals its own defaults
    c.vocab_size = fields.optional<index_t>("vocab_size", 32128, positive);
    c.d_model = detail::extent_field(fields, "d_model", "hidden_size", 512);
    c.d_kv = detail::extent_field(fields, "d_kv", "head_dim", 64);
    c.d_ff = fields.optional<index_t>("d_ff", 2048, positive);
    c.num_layers = detail::extent_field(fields, "num_layers", "num_hidden_layers", 6);
    c.num_decoder_layers = fields.optional<index_t>("num_decoder_layers", c.num_layers, at_least<index_t>(0));
    c.num_heads = detail::extent_field(fields, "num_heads", "num_attention_heads", 8);
    c.relative_attention_num_buckets = fields.optional<index_t>("relative_attention_num_buckets", 32, positive);
    c.relative_attention_max_distance = fields.optional<index_t>("relative_attention_max_distance", 128, positive);
    c.feed_forward_proj = fields.optional("feed_forward_proj", "relu");
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", true);
    c.scale_decoder_outputs = fields.optional("scale_decoder_outputs", c.tie_word_embeddings);
    c.dropout_rate = fields.optional<double>("dropout_rate", 0.1);
    c.layer_norm_epsilon = fields.optional<double>("layer_norm_epsilon", 1e-6);
    c.initializer_factor = fields.optional<double>("initializer_factor", 1.0);
    c.pad_token_id = fields.optional<std::int32_t>("pad_token_id", 0, token);
    c.eos_token_id = detail::t5_end_token(fields);
    c.decoder_start_token_id = fields.optional<std::int32_t>("decoder_start_token_id", c.pad_token_id, token);
    c.validate(fields.name());
    detail::check_t5_activation(fields, c);
    return c;
}

/// The config of a checkpoint. An output matrix that differs from the word embedding is one of its own, whatever
/// config.json says: transformers 5 writes `"tie_word_embeddings": true` for every T5.
inline T5Config with_output_of(T5Config config, CheckpointFolder const &checkpoint) {
    for (char const *shared : {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
        if (config.tie_word_embeddings && checkpoint.contains(shared) && checkpoint.contains("lm_head.weight"))
            config.tie_word_embeddings = checkpoint.same_values(shared, "lm_head.weight");
    return config;
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
            {"scale_decoder_outputs", c.scale_decoder_outputs}, // of transformers 5, which ties by the file
            {"dropout_rate", c.dropout_rate},
            {"layer_norm_epsilon", c.layer_norm_epsilon},
            {"initializer_factor", c.initializer_factor},
            {"pad_token_id", c.pad_token_id},
            {"eos_token_id", c.eos_token_id},
            {"decoder_start_token_id", c.decoder_start_token_id},
            {"torch_dtype", "float32"}};
}

} // namespace protlm::inline v0
