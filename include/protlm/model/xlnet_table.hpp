#pragma once

#include <protlm/core/parameter_table.hpp>
#include <protlm/layers/output_matrix.hpp>
#include <protlm/layers/xlnet_layer.hpp>
#include <protlm/model/weights.hpp>
#include <protlm/model/xlnet_config.hpp>

#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Which heads an XLNet has beside its layers; a checkpoint's own are kept.
struct XlnetHeads {
    bool language_model = true;
};

/// Where XLNet's tensors lie in its table.
struct XlnetIds {
    ParameterId mask = -1, word = -1, output = -1, output_bias = -1;
    std::vector<XlnetLayerIds> layers;
};

inline XlnetShape xlnet_shape(XlnetConfig const &c) { return {c.d_model, c.n_head, c.d_head, c.d_inner}; }

/// Adds XLNet's tensors under Hugging Face's names, in their order, to a table that may hold other models, too.
/// @param prefix before every name @throws Error naming the field of a config that cannot be
inline XlnetIds add_tensors(ParameterTable &table, XlnetConfig const &c, XlnetHeads heads,
                            std::string const &prefix = "") {
    c.validate();
    auto const normal = Initialiser::truncated_normal(c.initializer_range);
    XlnetIds ids;
    ids.mask = table.add(prefix + "transformer.mask_emb", {1, 1, c.d_model}, normal);
    ids.word = table.add(prefix + "transformer.word_embedding.weight", {c.vocab_size, c.d_model}, normal);
    for (index_t n = 0; n < c.n_layer; ++n)
        ids.layers.push_back(add_xlnet_layer(table, prefix + "transformer.layer." + std::to_string(n), xlnet_shape(c),
                                             c.initializer_range));
    if (heads.language_model) {
        ids.output = add_output_matrix(table, prefix + "lm_loss.weight", ids.word, c.tie_word_embeddings);
        ids.output_bias = table.add(prefix + "lm_loss.bias", {c.vocab_size}, Initialiser::zeros());
    }
    return ids;
}

/// XLNet's table and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, XlnetIds> xlnet_table(XlnetConfig const &config, XlnetHeads heads = {}) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder xlnet_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "transformer.", {"word_embedding.weight"});
}

/// The heads that a checkpoint has tensors for.
inline XlnetHeads xlnet_heads(CheckpointFolder const &checkpoint) { return {checkpoint.contains("lm_loss.bias")}; }

} // namespace protlm::inline v0
