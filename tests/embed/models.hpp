#pragma once

#include <protlm/bert.hpp>
#include <support/message_of.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace protlm::test {

/// A BERT with weights far from zero, so that differences show.
template <class S = float, class Exec = Kokkos::DefaultExecutionSpace>
Bert<S, Exec> small_bert(index_t positions = 2048) {
    BertConfig config;
    config.hidden_size = 48;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 3;
    config.intermediate_size = 80;
    config.max_position_embeddings = positions;
    config.initializer_range = 0.3;
    Bert<S, Exec> model(config);
    model.initialise(7);
    return model;
}

/// Proteins of these lengths with residues by chance.
inline Proteins random_proteins(std::vector<index_t> const &lengths, std::uint64_t seed = 1,
                                Vocabulary const &vocabulary = Vocabulary::protbert()) {
    CounterRandom const random{seed, Purpose::sample};
    Proteins proteins;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        std::vector<std::uint8_t> tokens;
        for (index_t t = 0; t < lengths[i]; ++t)
            tokens.push_back(vocabulary.residues[uniform_below(random(i, static_cast<std::uint32_t>(t))[0], 20)]);
        proteins.add("protein " + std::to_string(i), tokens);
    }
    return proteins;
}

/// What an embedder gave for each protein of the input.
template <class A>
struct Collected {
    std::vector<std::vector<A>> vectors, residues;
    std::vector<index_t> order;
};

template <class Model>
auto collect(Embedder<Model> &embedder, Proteins const &proteins, std::vector<index_t> members) {
    using A = typename Embedder<Model>::value_type;
    Collected<A> result;
    result.vectors.resize(static_cast<std::size_t>(proteins.size()));
    result.residues.resize(static_cast<std::size_t>(proteins.size()));
    embedder(proteins, std::move(members), [&](ProteinEmbedding<A> const &one) {
        auto const i = static_cast<std::size_t>(one.protein);
        BOOST_TEST(result.vectors[i].empty()); // each protein once
        result.vectors[i].assign(one.vector().begin(), one.vector().end());
        result.residues[i].assign(one.residues().begin(), one.residues().end());
        result.order.push_back(one.protein);
    });
    return result;
}

} // namespace protlm::test
