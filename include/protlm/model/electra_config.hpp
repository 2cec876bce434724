#pragma once

#include <protlm/model/encoder_config.hpp>

namespace protlm::inline v0 {

/// ELECTRA's hyperparameters under the names of Hugging Face's config.json, of a generator or of a discriminator.
/// The embedding is projected to the hidden size where embedding_size differs from it.
struct ElectraConfig : EncoderConfig {
    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "ElectraConfig") const { detail::validate_encoder(*this, name); }
};

/// The family's name in config.json.
inline std::string model_type(ElectraConfig const &) { return "electra"; }

/// Reads the model's part of a config.json; fields that ELECTRA has not are left alone, as transformers does.
/// @throws Error naming file and field
inline ElectraConfig electra_config(Fields const &fields) {
    ElectraConfig c; // transformers leaves out what equals its own defaults
    c.vocab_size = 30522;
    c.embedding_size = 128;
    c.hidden_size = 256;
    c.num_hidden_layers = 12;
    c.num_attention_heads = 4;
    c.intermediate_size = 1024;
    c.max_position_embeddings = 512;
    c.hidden_dropout_prob = c.attention_probs_dropout_prob = 0.1;
    detail::read_encoder(fields, "electra", c);
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads. @param architecture its class for the heads that the model has
inline nlohmann::ordered_json to_json(ElectraConfig const &c, std::string const &architecture = "ElectraForMaskedLM") {
    return detail::encoder_json(c, architecture, "electra");
}

/// Both halves of an ELECTRA, as a pair file holds them: {"generator": {...}, "discriminator": {...}}, each in the
/// terms of config.json. What else is in the file, for example "training", is left to others.
struct ElectraPairConfig {
    ElectraConfig generator, discriminator;
};

/// Reads a pair file. @throws Error naming file and field
inline ElectraPairConfig electra_pair_config(Fields const &fields) {
    for (char const *part : {"generator", "discriminator"})
        check(fields.has(part), fields.name(), ": ", part, ": is missing, expected an object {...}");
    return {electra_config(fields.object("generator")), electra_config(fields.object("discriminator"))};
}

} // namespace protlm::inline v0
