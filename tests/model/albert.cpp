// What only ALBERT has: groups, inner layers, weights that many passes share, its heads and names.

#include <model/electra_models.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

AlbertConfig grouped_config(index_t layers, index_t groups, index_t inner) {
    auto config = small_factored_config<AlbertConfig>();
    config.num_hidden_layers = layers;
    config.num_hidden_groups = groups;
    config.inner_group_num = inner;
    return config;
}

BOOST_AUTO_TEST_SUITE(albert)

BOOST_AUTO_TEST_CASE(passes_go_through_the_groups_in_turn) {
    auto const groups = [](index_t layers, index_t count) {
        auto const config = grouped_config(layers, count, 1);
        std::vector<index_t> result;
        for (index_t n = 0; n < layers; ++n)
            result.push_back(config.group(n));
        return result;
    };
    BOOST_TEST(groups(4, 1) == (std::vector<index_t>{0, 0, 0, 0}), boost::test_tools::per_element());
    BOOST_TEST(groups(4, 2) == (std::vector<index_t>{0, 0, 1, 1}), boost::test_tools::per_element());
    BOOST_TEST(groups(5, 2) == (std::vector<index_t>{0, 0, 0, 1, 1}), boost::test_tools::per_element());
    BOOST_TEST(groups(3, 3) == (std::vector<index_t>{0, 1, 2}), boost::test_tools::per_element());
}

/// A BERT-like stack of layers without any sharing, with weights copied from `model`: its gradients, added up over the
/// copies of a layer, must be the shared ones.
BOOST_AUTO_TEST_CASE(two_groups_of_two_layers_equal_an_unshared_stack) {
    auto const shared_config = grouped_config(4, 2, 2);
    auto const flat_config = grouped_config(8, 8, 1);
    Albert<double> shared(shared_config), flat(flat_config);
    shared.initialise(3);
    std::string const layers = "albert.encoder.albert_layer_groups.";
    /// The shared tensor that a tensor of the flat model is a copy of: step s is pass s / 2, inner layer s % 2.
    auto const origin = [&](std::string name) {
        if (name.starts_with(layers)) {
            auto const dot = name.find('.', layers.size());
            index_t const step = std::stol(name.substr(layers.size(), dot - layers.size()));
            auto const rest = name.substr(name.find('.', name.find("albert_layers.") + 14));
            name = layers + std::to_string(step / 2 / 2) + ".albert_layers." + std::to_string(step % 2) + rest;
        }
        auto const id = shared.parameters().table().find(name);
        BOOST_REQUIRE(id >= 0);
        return shared.parameters().table()[id];
    };
    for (auto const &entry : flat.parameters().table().entries()) {
        auto const from = origin(entry.name);
        for (index_t i = 0; i < entry.size(); ++i)
            flat.parameters().values()(static_cast<std::size_t>(entry.offset + i)) =
                shared.parameters().values()(static_cast<std::size_t>(from.offset + i));
    }
    shared.parameters().enable_gradients();
    flat.parameters().enable_gradients();
    Training<Exec> context;
    Example const example;
    auto const a = masked_pass(shared, context, example), b = masked_pass(flat, context, example);
    BOOST_TEST(a.loss == b.loss);
    std::vector<double> sums(a.gradients.size());
    for (auto const &entry : flat.parameters().table().entries()) {
        auto const to = origin(entry.name);
        for (index_t i = 0; i < entry.size(); ++i)
            sums[static_cast<std::size_t>(to.offset + i)] += b.gradients[static_cast<std::size_t>(entry.offset + i)];
    }
    BOOST_TEST(compare("gradients", a.gradients, sums, {.relative = 1e-9, .absolute = 1e-11}));

    Inference<Exec> inference;
    auto const packed = make_packed(inference, example.view());
    for (index_t layer = 0; layer < 8; ++layer) // maps count the inner layers, too
        BOOST_TEST(compare_bits("map", to_vector(shared.attention_map(inference, packed, layer, 0).view()),
                                to_vector(flat.attention_map(inference, packed, layer, 0).view())));
    for (index_t pass = 0; pass <= 4; ++pass)
        BOOST_TEST(compare_bits("hidden", to_vector(shared.hidden_state(inference, packed, pass).view()),
                                to_vector(flat.hidden_state(inference, packed, 2 * pass).view())));
    BOOST_TEST(message_of([&] { shared.attention_map(inference, packed, 8, 0); }) ==
               "Albert: attention_map: layer is 8, expected at least 0 and below 8");
}

BOOST_AUTO_TEST_CASE(names_are_hugging_faces) {
    auto const [table, ids] = albert_table(grouped_config(4, 2, 2), {.pooler = true, .sentence_order = true});
    for (char const *name : {"albert.embeddings.word_embeddings.weight", "albert.embeddings.LayerNorm.bias",
                             "albert.encoder.embedding_hidden_mapping_in.weight",
                             "albert.encoder.albert_layer_groups.1.albert_layers.1.attention.query.weight",
                             "albert.encoder.albert_layer_groups.0.albert_layers.1.attention.LayerNorm.weight",
                             "albert.encoder.albert_layer_groups.1.albert_layers.0.attention.dense.bias",
                             "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",
                             "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.bias",
                             "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight",
                             "albert.pooler.weight", "predictions.bias", "predictions.LayerNorm.weight",
                             "predictions.dense.bias", "sop_classifier.classifier.weight"})
        BOOST_TEST(table.find(name) >= 0, name);
    BOOST_TEST(table.find("predictions.decoder.weight") == table.find("albert.embeddings.word_embeddings.weight"));
    BOOST_TEST(table.find("predictions.decoder.bias") == table.find("predictions.bias"));
    BOOST_TEST(table.entries().size() == 5u + 2 + 4 * 16 + 2 + 5 + 2);
}

BOOST_AUTO_TEST_CASE(the_heads_of_a_checkpoint_are_kept) {
    for (int bits = 0; bits < 16; ++bits) {
        TemporaryFolder const folder;
        AlbertHeads const heads{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
        Albert<> model(grouped_config(2, 1, 1), heads);
        model.initialise(1);
        model.save(folder.path());
        auto const again = Albert<>::load(folder.path()).heads();
        BOOST_TEST(again.pooler == heads.pooler);
        BOOST_TEST(again.masked == heads.masked);
        BOOST_TEST(again.sentence_order == heads.sentence_order);
        BOOST_TEST(again.detection == heads.detection);
    }
}

BOOST_AUTO_TEST_CASE(sentence_order_comes_from_the_pooled_first_token) {
    Albert<> model(grouped_config(2, 1, 1), {.pooler = true, .sentence_order = true});
    model.initialise(3);
    Inference<Exec> context;
    auto const packed = make_packed(context, Example().view());
    auto const hidden = model.encode(context, packed);
    auto const pooled = model.pooled(context, packed, hidden);
    BOOST_TEST(pooled.rows() == 4);
    auto const &table = model.parameters().table();
    auto const &values = model.parameters().values();
    auto const w = table[table.find("albert.pooler.weight")].offset, b = table[table.find("albert.pooler.bias")].offset;
    for (index_t sequence = 0; sequence < 4; ++sequence)
        for (index_t j = 0; j < 24; ++j) {
            double sum = values(static_cast<std::size_t>(b + j));
            for (index_t k = 0; k < 24; ++k)
                sum += double(values(static_cast<std::size_t>(w + 24 * j + k))) *
                       double(hidden.value()(packed.segments.host[static_cast<std::size_t>(sequence)], k));
            BOOST_TEST(std::abs(pooled.value()(sequence, j) - std::tanh(sum)) < 1e-5);
        }
    BOOST_TEST(model.sentence_order_logits(context, pooled).cols() == 2);
    Albert<> const bare(grouped_config(2, 1, 1));
    BOOST_TEST(message_of([&] { bare.pooled(context, packed, hidden); }) == "Albert: pooled: the model has no pooler");
    BOOST_TEST(message_of([&] { bare.sentence_order_logits(context, pooled); }) ==
               "Albert: sentence_order_logits: the model has no sentence-order head");
}

BOOST_AUTO_TEST_CASE(groups_are_checked) {
    BOOST_TEST(message_of([] { Albert<> model(grouped_config(2, 3, 1)); }) ==
               "AlbertConfig: num_hidden_groups: is 3, expected at least 1 and at most num_hidden_layers 2");
    BOOST_TEST(message_of([] { Albert<> model(grouped_config(2, 1, 0)); }) ==
               "AlbertConfig: inner_group_num: is 0, expected at least 1");
    auto const c = albert_config(Fields(nlohmann::json::object(), "config.json")); // transformers' defaults
    BOOST_TEST(c.vocab_size == 30000);
    BOOST_TEST(c.embedding_size == 128);
    BOOST_TEST(c.hidden_size == 4096);
    BOOST_TEST(c.num_attention_heads == 64);
    BOOST_TEST(c.intermediate_size == 16384);
    BOOST_TEST(c.hidden_act == "gelu_new");
    BOOST_TEST(c.hidden_dropout_prob == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
