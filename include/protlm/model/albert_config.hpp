#pragma once

#include <protlm/model/encoder_config.hpp>

namespace protlm::inline v0 {

/// ALBERT's hyperparameters under the names of Hugging Face's config.json. The defaults are those of a small
/// ProtAlbert.
struct AlbertConfig : EncoderConfig {
    index_t num_hidden_groups = 1; // groups of layers with weights of their own
    index_t inner_group_num = 1;   // layers in a group, which run one after the other

    /// The group that pass `n` of num_hidden_layers goes through; rounded as transformers does.
    index_t group(index_t n) const {
        return static_cast<index_t>(static_cast<double>(n) /
                                    (static_cast<double>(num_hidden_layers) / static_cast<double>(num_hidden_groups)));
    }

    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "AlbertConfig") const {
        detail::validate_encoder(*this, name);
        check(num_hidden_groups >= 1 && num_hidden_groups <= num_hidden_layers, name, ": num_hidden_groups: is ",
              num_hidden_groups, ", expected at least 1 and at most num_hidden_layers ", num_hidden_layers);
        detail::check_count(name, "inner_group_num", inner_group_num, detail::most_layers);
        check(num_hidden_layers * inner_group_num <= detail::most_layers, name, ": inner_group_num: is ",
              inner_group_num, " in each of ", num_hidden_layers, " num_hidden_layers, expected at most ",
              detail::most_layers, " layers in all");
    }
};

/// The family's name in config.json.
inline std::string model_type(AlbertConfig const &) { return "albert"; }

/// Reads the model's part of a config.json; fields that ALBERT has not are left alone, as transformers does.
/// @throws Error naming file and field
inline AlbertConfig albert_config(Fields const &fields) {
    AlbertConfig c; // transformers leaves out what equals its own defaults
    c.vocab_size = 30000;
    c.embedding_size = 128;
    c.hidden_size = 4096;
    c.num_hidden_layers = 12;
    c.num_attention_heads = 64;
    c.intermediate_size = 16384;
    c.max_position_embeddings = 512;
    c.hidden_act = "gelu_new";
    detail::read_encoder(fields, "albert", c);
    c.num_hidden_groups = fields.optional<index_t>("num_hidden_groups", 1, at_least<index_t>(1));
    c.inner_group_num = fields.optional<index_t>("inner_group_num", 1, at_least<index_t>(1));
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads. @param architecture its class for the heads that the model has
inline nlohmann::ordered_json to_json(AlbertConfig const &c, std::string const &architecture = "AlbertForMaskedLM") {
    auto json = detail::encoder_json(c, architecture, "albert");
    json["num_hidden_groups"] = c.num_hidden_groups;
    json["inner_group_num"] = c.inner_group_num;
    return json;
}

} // namespace protlm::inline v0
