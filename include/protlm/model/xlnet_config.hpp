#pragma once

#include <protlm/model/config_fields.hpp>

#include <optional>
#include <string>

namespace protlm::inline v0 {

/// XLNet's hyperparameters under the names of Hugging Face's config.json. The defaults are those of a small ProtXLNet.
struct XlnetConfig {
    index_t vocab_size = 37;
    index_t d_model = 256;  // C
    index_t n_layer = 6;    // N
    index_t n_head = 8;     // H
    index_t d_head = 32;    // D; transformers wants heads times d_head to be d_model, the original does not
    index_t d_inner = 1024; // F
    std::string ff_activation = "gelu";
    bool untie_r = true; // kept for other readers: as in transformers, every layer has biases of its own either way
    std::string attn_type = "bi"; // "uni": a token sees those before it only, in every stream
    /// Tokens that a memory keeps; none or 0: all.
    std::optional<index_t> mem_len;
    /// Of each segment, so many tokens from its start enter the memory; none or 0: all.
    std::optional<index_t> reuse_len;
    bool use_mems_eval = true, use_mems_train = false; // kept for other readers: here a memory is given or not
    bool bi_data = false;     // the second half of a batch's sequences runs backward, as the original's data does
    index_t clamp_len = -1;   // farther keys count as so far; up to 0: no limit
    bool same_length = false; // "uni": every token sees as many keys, those of the memory and itself
    /// Of the embedding, the position encodings, attention probabilities, what each attention and feed-forward block
    /// adds, the feed-forward's inner activations, and behind the last layer.
    double dropout = 0.0;
    double initializer_range = 0.02;
    double layer_norm_eps = 1e-12;
    bool tie_word_embeddings = true; // the output matrix is the word embedding
    index_t pad_token_id = 5, bos_token_id = 1, eos_token_id = 2;

    bool unidirectional() const { return attn_type == "uni"; }

    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "XlnetConfig") const {
        detail::check_count(name, "vocab_size", vocab_size, detail::most_rows);
        detail::check_count(name, "d_model", d_model, detail::most_width);
        detail::check_count(name, "n_layer", n_layer, detail::most_layers);
        detail::check_count(name, "n_head", n_head, detail::most_width);
        detail::check_count(name, "d_head", d_head, detail::most_width);
        detail::check_count(name, "d_inner", d_inner, detail::most_width);
        check(n_head * d_head <= detail::most_width, name, ": n_head: is ", n_head, " times d_head ", d_head,
              ", expected at most ", detail::most_width, " in all");
        check(d_model % 2 == 0, name, ": d_model: is ", d_model,
              ", expected an even number: half of a position's "
              "encoding are sines, half cosines");
        for (auto const &[field, value] : {std::pair{"mem_len", mem_len}, {"reuse_len", reuse_len}})
            check(value.value_or(0) >= 0 && value.value_or(0) <= detail::most_rows, name, ": ", field, ": is ",
                  value.value_or(0), ", expected at least 0 and at most ", detail::most_rows);
        check(attn_type == "bi" || attn_type == "uni", name, ": attn_type: is \"", attn_type,
              "\", expected \"bi\" or \"uni\"");
        detail::check_probability(name, "dropout", dropout);
        check(layer_norm_eps > 0, name, ": layer_norm_eps: is ", layer_norm_eps, ", expected a positive number");
        check(initializer_range >= 0, name, ": initializer_range: is ", initializer_range, ", expected at least 0");
        activation_from_name(ff_activation, name + ": ff_activation");
    }
};

/// The family's name in config.json.
inline std::string model_type(XlnetConfig const &) { return "xlnet"; }

/// Reads the model's part of a config.json; fields that XLNet has not are left alone, as transformers does.
/// @throws Error naming file and field
inline XlnetConfig xlnet_config(Fields const &fields) {
    XlnetConfig c;
    auto const type = fields.optional("model_type", "xlnet");
    check(type == "xlnet", fields.name(), ": model_type: is \"", type, "\", expected \"xlnet\"");
    auto const positive = at_least<index_t>(1), natural = at_least<index_t>(0);
    detail::refuse_unsupported(fields);
    // transformers leaves out what equals its own defaults; it takes no mem_len for 512, but null for none
    c.vocab_size = detail::extent_field(fields, "vocab_size", "n_token", 32000);
    c.d_model = detail::extent_field(fields, "d_model", "hidden_size", 1024);
    c.n_layer = detail::extent_field(fields, "n_layer", "num_hidden_layers", 24);
    c.n_head = detail::extent_field(fields, "n_head", "num_attention_heads", 16);
    check(fields.has("d_head") || c.d_model % c.n_head == 0, fields.name(), ": d_model: is ", c.d_model,
          ", expected a multiple of n_head ", c.n_head, ", or a field d_head");
    c.d_head = fields.optional<index_t>("d_head", c.d_model / c.n_head, positive);
    c.d_inner = fields.optional<index_t>("d_inner", 4096, positive);
    c.ff_activation = fields.optional("ff_activation", "gelu");
    c.untie_r = fields.optional("untie_r", true);
    c.attn_type = fields.optional("attn_type", "bi");
    c.mem_len = fields.json().contains("mem_len") ? fields.maybe<index_t>("mem_len", natural) : 512;
    c.reuse_len = fields.maybe<index_t>("reuse_len", natural);
    c.use_mems_eval = fields.optional("use_mems_eval", true);
    c.use_mems_train = fields.optional("use_mems_train", false);
    c.bi_data = fields.optional("bi_data", false);
    c.clamp_len = fields.optional<index_t>("clamp_len", -1);
    c.same_length = fields.optional("same_length", false);
    c.dropout = fields.optional<double>("dropout", 0.1);
    c.initializer_range = fields.optional<double>("initializer_range", 0.02);
    c.layer_norm_eps = fields.optional<double>("layer_norm_eps", 1e-12);
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", true);
    c.pad_token_id = fields.optional<index_t>("pad_token_id", 5, natural);
    c.bos_token_id = fields.optional<index_t>("bos_token_id", 1, natural);
    c.eos_token_id = fields.optional<index_t>("eos_token_id", 2, natural);
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads.
inline nlohmann::ordered_json to_json(XlnetConfig const &c) {
    auto const or_null = [](std::optional<index_t> value) {
        return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
    };
    return {{"architectures", {"XLNetLMHeadModel"}},
            {"model_type", "xlnet"},
            {"vocab_size", c.vocab_size},
            {"d_model", c.d_model},
            {"n_layer", c.n_layer},
            {"n_head", c.n_head},
            {"d_head", c.d_head},
            {"d_inner", c.d_inner},
            {"ff_activation", c.ff_activation},
            {"untie_r", c.untie_r},
            {"attn_type", c.attn_type},
            {"mem_len", or_null(c.mem_len)},
            {"reuse_len", or_null(c.reuse_len)},
            {"use_mems_eval", c.use_mems_eval},
            {"use_mems_train", c.use_mems_train},
            {"bi_data", c.bi_data},
            {"clamp_len", c.clamp_len},
            {"same_length", c.same_length},
            {"dropout", c.dropout},
            {"initializer_range", c.initializer_range},
            {"layer_norm_eps", c.layer_norm_eps},
            {"tie_word_embeddings", c.tie_word_embeddings},
            {"pad_token_id", c.pad_token_id},
            {"bos_token_id", c.bos_token_id},
            {"eos_token_id", c.eos_token_id},
            {"torch_dtype", "float32"}};
}

} // namespace protlm::inline v0
