#pragma once

#include <protlm/core/parameter_table.hpp>
#include <protlm/layers/transformer_xl_layer.hpp>
#include <protlm/model/open_checkpoint.hpp>
#include <protlm/model/transformer_xl_config.hpp>

#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What a Transformer-XL has beside its layers; a checkpoint's own are kept.
struct TransformerXlHeads {
    bool language_model = true;
    bool mask_embedding = false; // where a query stream begins, to train it with permutations as XLNet
};

/// Where Transformer-XL's tensors lie in its table.
struct TransformerXlIds {
    ParameterId mask_embedding = -1;                  // (1, 1, C)
    std::vector<ParameterId> embeddings, projections; // of each cluster, or one for all of them
    std::vector<TransformerXlLayerIds> layers;
    ParameterId cluster_weight = -1, cluster_bias = -1;     // of the softmax's head
    std::vector<ParameterId> output_weights, output_biases; // of each cluster, or one for all of them
    std::vector<ParameterId> output_projections;            // of each cluster
};

namespace detail {

/// Number of embedding tables: one for each cluster where they have widths of their own.
inline index_t transformer_xl_tables(TransformerXlConfig const &c) { return c.div_val > 1 ? c.clusters() : 1; }

inline TransformerXlStart transformer_xl_start(TransformerXlConfig const &c) {
    return {c.init == "uniform" ? Initialiser::uniform(c.init_range) : Initialiser::normal(c.init_std), c.init_std};
}

inline void add_transformer_xl_embedding(ParameterTable &table, TransformerXlConfig const &c, std::string const &name,
                                         TransformerXlIds &ids) {
    index_t const tables = transformer_xl_tables(c);
    for (index_t i = 0; i < tables; ++i) {
        index_t const rows = tables == 1 ? c.vocab_size : c.first_token(i + 1) - c.first_token(i);
        ids.embeddings.push_back(table.add(name + "emb_layers." + std::to_string(i) + ".weight",
                                           {rows, c.embedding_width(i)}, transformer_xl_start(c).weights));
    }
    for (index_t i = 0; c.projected() && i < tables; ++i)
        ids.projections.push_back(table.add(name + "emb_projs." + std::to_string(i), {c.d_model, c.embedding_width(i)},
                                            Initialiser::normal(c.proj_init_std)));
}

inline void add_transformer_xl_softmax(ParameterTable &table, TransformerXlConfig const &c, std::string const &name,
                                       TransformerXlIds &ids) {
    auto const weights = transformer_xl_start(c).weights;
    index_t const tables = transformer_xl_tables(c);
    if (c.clusters() > 1) {
        ids.cluster_weight = table.add(name + "cluster_weight", {c.clusters() - 1, c.d_embed}, weights);
        ids.cluster_bias = table.add(name + "cluster_bias", {c.clusters() - 1}, Initialiser::zeros());
    }
    for (index_t i = 0; i < tables; ++i) {
        std::string const layer = name + "out_layers." + std::to_string(i);
        auto const &embedding = table[ids.embeddings[static_cast<std::size_t>(i)]];
        index_t const rows = embedding.shape[0];
        if (c.tie_word_embeddings) {
            ids.output_weights.push_back(ids.embeddings[static_cast<std::size_t>(i)]);
            table.alias(ids.output_weights.back(), layer + ".weight");
        } else {
            ids.output_weights.push_back(table.add(layer + ".weight", {rows, c.embedding_width(i)}, weights));
        }
        ids.output_biases.push_back(table.add(layer + ".bias", {rows}, Initialiser::zeros()));
    }
    for (index_t i = 0; c.projected() && i < c.clusters(); ++i) {
        std::string const projection = name + "out_projs." + std::to_string(i);
        index_t const source = tables == 1 ? 0 : i;
        if (c.projection_tied(i)) {
            ids.output_projections.push_back(ids.projections[static_cast<std::size_t>(source)]);
            table.alias(ids.output_projections.back(), projection);
        } else {
            ids.output_projections.push_back(
                table.add(projection, {c.d_model, c.embedding_width(source)}, Initialiser::normal(c.proj_init_std)));
        }
    }
}

} // namespace detail

/// Adds Transformer-XL's tensors under Hugging Face's names, in their order, to a table that may hold other models,
/// too. @param prefix before every name
inline TransformerXlIds add_tensors(ParameterTable &table, TransformerXlConfig const &c, TransformerXlHeads heads,
                                    std::string const &prefix = "") {
    c.validate();
    TransformerXlIds ids;
    auto const start = detail::transformer_xl_start(c);
    std::string const transformer = prefix + "transformer.";
    if (heads.mask_embedding)
        ids.mask_embedding = table.add(transformer + "mask_emb", {1, 1, c.d_model}, start.weights);
    TransformerXlLayerIds shared;
    if (!c.untie_r) {
        shared.r_w_bias = table.add(transformer + "r_w_bias", {c.n_head, c.d_head}, start.weights);
        shared.r_r_bias = table.add(transformer + "r_r_bias", {c.n_head, c.d_head}, start.weights);
    }
    detail::add_transformer_xl_embedding(table, c, transformer + "word_emb.", ids);
    for (index_t n = 0; n < c.n_layer; ++n)
        ids.layers.push_back(add_transformer_xl_layer(table, transformer + "layers." + std::to_string(n),
                                                      {c.d_model, c.n_head, c.d_head, c.d_inner}, start, shared));
    if (heads.language_model)
        detail::add_transformer_xl_softmax(table, c, prefix + "crit.", ids);
    return ids;
}

/// Transformer-XL's table by itself and where everything is in it; takes no memory for values.
inline std::pair<ParameterTable, TransformerXlIds> transformer_xl_table(TransformerXlConfig const &config,
                                                                        TransformerXlHeads heads) {
    ParameterTable table;
    auto ids = add_tensors(table, config, heads);
    table.layout();
    return {std::move(table), std::move(ids)};
}

/// Opens weights of this family under any of their names: see `open_checkpoint`.
inline CheckpointFolder transformer_xl_checkpoint(std::filesystem::path const &path) {
    return open_checkpoint(path, "transformer.", {"word_emb.emb_layers.0.weight"});
}

/// What a checkpoint has tensors for.
inline TransformerXlHeads transformer_xl_heads(CheckpointFolder const &checkpoint) {
    return {.language_model = checkpoint.contains("crit.out_layers.0.bias"),
            .mask_embedding = checkpoint.contains("transformer.mask_emb") || checkpoint.contains("mask_emb")};
}

} // namespace protlm::inline v0
