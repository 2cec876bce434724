#pragma once

#include <protlm/model/config_fields.hpp>

#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Transformer-XL's hyperparameters under the names of Hugging Face's config.json. The defaults are those of a small
/// ProtTXL, whose vocabulary of 30 needs neither cutoffs nor narrower embeddings.
struct TransformerXlConfig {
    index_t vocab_size = 30;
    std::vector<index_t> cutoffs;    // first tokens of the clusters of rarer ones; empty: a plain softmax
    index_t d_model = 256;           // C
    index_t d_embed = 256;           // width of the embeddings of the first cluster
    index_t n_head = 8;              // H
    index_t d_head = 32;             // D; heads times d_head need not be d_model
    index_t d_inner = 1024;          // F
    index_t div_val = 1;             // each cluster's embeddings are narrower by this factor than those before
    index_t n_layer = 6;             // N
    bool pre_lnorm = false;          // norms before attention and feed-forward instead of behind their residuals
    index_t mem_len = 512;           // tokens that a memory keeps
    index_t clamp_len = -1;          // farther keys count as so far; up to 0: no limit
    bool same_length = false;        // every token sees as many keys, the last mem_len up to itself
    bool untie_r = true;             // biases of its own for each layer
    bool tie_word_embeddings = true; // the softmax's matrices are those of the embedding
    std::vector<bool> tie_projs;     // for each cluster: so are its projections; missing entries are false
    /// Of the embedding, the position encodings, what each attention and feed-forward block adds, the feed-forward's
    /// inner activations, and behind the last layer.
    double dropout = 0.0;
    double dropatt = 0.0;        // of attention probabilities
    std::string init = "normal"; // or "uniform" with bound init_range
    double init_range = 0.01;    // of "uniform"
    double init_std = 0.02;      // of "normal", and of norms' weights around 1
    double proj_init_std = 0.01; // of projections between d_embed and d_model
    double layer_norm_epsilon = 1e-5;
    bool adaptive = true; // kept for other readers: cutoffs decide
    index_t eos_token_id = 0;

    /// Number of clusters, the first of which is the shortlist.
    index_t clusters() const { return static_cast<index_t>(cutoffs.size()) + 1; }
    /// First token of cluster `i`; clusters(): the vocabulary's end.
    index_t first_token(index_t i) const {
        return i == 0 ? 0 : i == clusters() ? vocab_size : cutoffs[static_cast<std::size_t>(i) - 1];
    }
    /// Width of the embeddings of cluster `i`.
    index_t embedding_width(index_t i) const {
        index_t width = d_embed;
        while (i-- > 0)
            width /= div_val;
        return width;
    }
    /// True when embeddings are projected to d_model.
    bool projected() const { return div_val > 1 || d_embed != d_model; }
    /// True when cluster `i` shares its projection with the embedding.
    bool projection_tied(index_t i) const {
        return static_cast<std::size_t>(i) < tie_projs.size() && tie_projs[static_cast<std::size_t>(i)];
    }

    /// @throws Error naming the field, what it is and what was expected
    void validate(std::string const &name = "TransformerXlConfig") const {
        detail::check_count(name, "vocab_size", vocab_size, detail::most_rows);
        for (auto const &[field, value] : {std::pair{"d_model", d_model},
                                           {"d_embed", d_embed},
                                           {"n_head", n_head},
                                           {"d_head", d_head},
                                           {"d_inner", d_inner},
                                           {"div_val", div_val}})
            detail::check_count(name, field, value, detail::most_width);
        check(n_head * d_head <= detail::most_width, name, ": n_head: is ", n_head, " times d_head ", d_head,
              ", expected at most ", detail::most_width, " in all");
        detail::check_count(name, "n_layer", n_layer, detail::most_layers);
        check(clusters() <= 1000, name, ": cutoffs: are ", cutoffs.size(), ", expected at most 999");
        check(d_model % 2 == 0, name, ": d_model: is ", d_model,
              ", expected an even number: half of a position's encoding are sines, half cosines");
        for (index_t i = 1; i < clusters(); ++i)
            check(first_token(i) > first_token(i - 1) && first_token(i) < vocab_size, name, ": cutoffs: are at ", i - 1,
                  ": ", first_token(i), ", expected more than ", first_token(i - 1), " and less than vocab_size ",
                  vocab_size);
        check(embedding_width(clusters() - 1) >= 1, name, ": div_val: is ", div_val, ", too large for d_embed ",
              d_embed, " and ", clusters(), " clusters");
        check(static_cast<index_t>(tie_projs.size()) <= clusters(), name, ": tie_projs: has ", tie_projs.size(),
              " entries, expected at most ", clusters(), ", one a cluster");
        check(mem_len >= 0 && mem_len <= detail::most_rows, name, ": mem_len: is ", mem_len,
              ", expected at least 0 and at most ", detail::most_rows);
        check(!same_length || mem_len >= 1, name, ": same_length: is true with mem_len ", mem_len,
              ", but a token sees mem_len keys then");
        for (auto const &[field, value] : {std::pair{"dropout", dropout}, {"dropatt", dropatt}})
            detail::check_probability(name, field, value);
        check(init == "normal" || init == "uniform", name, ": init: is \"", init,
              "\", expected \"normal\" or \"uniform\"");
        for (auto const &[field, value] :
             {std::pair{"init_range", init_range}, {"init_std", init_std}, {"proj_init_std", proj_init_std}})
            check(value >= 0, name, ": ", field, ": is ", value, ", expected at least 0");
        check(layer_norm_epsilon > 0, name, ": layer_norm_epsilon: is ", layer_norm_epsilon,
              ", expected a positive number");
    }
};

/// The family's name in config.json.
inline std::string model_type(TransformerXlConfig const &) { return "transfo-xl"; }

/// Reads the model's part of a config.json; fields that Transformer-XL has not are left alone, as transformers does.
/// @throws Error naming file and field
inline TransformerXlConfig transformer_xl_config(Fields const &fields) {
    TransformerXlConfig c;
    auto const type = fields.optional("model_type", "transfo-xl");
    check(type == "transfo-xl", fields.name(), ": model_type: is \"", type, "\", expected \"transfo-xl\"");
    auto const positive = at_least<index_t>(1);
    auto const attention = fields.optional<index_t>("attn_type", 0);
    check(attention == 0, fields.name(), ": attn_type: is ", attention, ", expected 0, Transformer-XL's own");
    auto const sampled = fields.optional<index_t>("sample_softmax", -1);
    check(sampled <= 0, fields.name(), ": sample_softmax: is ", sampled, ", expected at most 0: nothing is sampled");
    // transformers leaves out what equals its own defaults
    c.vocab_size = detail::extent_field(fields, "vocab_size", "n_token", 267735);
    c.cutoffs = fields.optional("cutoffs", std::vector<index_t>{20000, 40000, 200000});
    c.d_model = detail::extent_field(fields, "d_model", "hidden_size", 1024);
    c.d_embed = fields.optional<index_t>("d_embed", 1024, positive);
    c.n_head = detail::extent_field(fields, "n_head", "num_attention_heads", 16);
    c.d_head = fields.optional<index_t>("d_head", 64, positive);
    c.d_inner = fields.optional<index_t>("d_inner", 4096, positive);
    c.div_val = fields.optional<index_t>("div_val", 4, positive);
    c.n_layer = detail::extent_field(fields, "n_layer", "num_hidden_layers", 18);
    c.pre_lnorm = fields.optional("pre_lnorm", false);
    c.mem_len = fields.optional<index_t>("mem_len", 1600, at_least<index_t>(0));
    c.clamp_len = fields.optional<index_t>("clamp_len", 1000);
    c.same_length = fields.optional("same_length", true);
    c.untie_r = fields.optional("untie_r", true);
    c.tie_word_embeddings = fields.optional("tie_word_embeddings", fields.optional("tie_weight", true));
    std::vector<bool> shared(c.cutoffs.size() + 1, fields.optional("proj_share_all_but_first", true));
    shared[0] = false;
    c.tie_projs = fields.optional("tie_projs", shared);
    c.dropout = fields.optional<double>("dropout", 0.1);
    c.dropatt = fields.optional<double>("dropatt", 0.0);
    c.init = fields.optional("init", "normal");
    c.init_range = fields.optional<double>("init_range", 0.01);
    c.init_std = fields.optional<double>("init_std", 0.02);
    c.proj_init_std = fields.optional<double>("proj_init_std", 0.01);
    c.layer_norm_epsilon = fields.optional<double>("layer_norm_epsilon", 1e-5);
    c.adaptive = fields.optional("adaptive", true);
    c.eos_token_id = fields.optional<index_t>("eos_token_id", 0);
    c.validate(fields.name());
    return c;
}

/// The config.json that transformers reads.
inline nlohmann::ordered_json to_json(TransformerXlConfig const &c) {
    return {{"architectures", {"TransfoXLLMHeadModel"}},
            {"model_type", "transfo-xl"},
            {"vocab_size", c.vocab_size},
            {"cutoffs", c.cutoffs},
            {"d_model", c.d_model},
            {"d_embed", c.d_embed},
            {"n_head", c.n_head},
            {"d_head", c.d_head},
            {"d_inner", c.d_inner},
            {"div_val", c.div_val},
            {"n_layer", c.n_layer},
            {"pre_lnorm", c.pre_lnorm},
            {"mem_len", c.mem_len},
            {"clamp_len", c.clamp_len},
            {"same_length", c.same_length},
            {"attn_type", 0},
            {"untie_r", c.untie_r},
            {"tie_word_embeddings", c.tie_word_embeddings},
            {"tie_projs", c.tie_projs},
            {"adaptive", c.adaptive},
            {"sample_softmax", -1},
            {"dropout", c.dropout},
            {"dropatt", c.dropatt},
            {"init", c.init},
            {"init_range", c.init_range},
            {"init_std", c.init_std},
            {"proj_init_std", c.proj_init_std},
            {"layer_norm_epsilon", c.layer_norm_epsilon},
            {"eos_token_id", c.eos_token_id},
            {"torch_dtype", "float32"}};
}

} // namespace protlm::inline v0
