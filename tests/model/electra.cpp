// What only ELECTRA has: generator and discriminator, by themselves and in one table; and pairs of other models.

#include <model/electra_models.hpp>
#include <protlm/train/training_options.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <cmath>
#include <filesystem>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

ElectraConfig electra(index_t width, index_t embedding = 16) {
    auto config = small_factored_config<ElectraConfig>();
    config.embedding_size = embedding;
    config.hidden_size = width;
    config.num_hidden_layers = 2;
    return config;
}
AlbertConfig albert(index_t width) {
    auto config = small_factored_config<AlbertConfig>();
    config.hidden_size = width;
    return config;
}
BertConfig bert(index_t width) {
    auto config = small_config();
    config.hidden_size = width;
    config.num_hidden_layers = 2;
    return config;
}

BOOST_AUTO_TEST_SUITE(electra_models)

BOOST_AUTO_TEST_CASE(the_embedding_is_projected_where_widths_differ) {
    auto const narrow = electra_table(electra(24), {.masked = true, .detection = false}).first;
    auto const equal = electra_table(electra(24, 24), {.masked = false, .detection = true}).first;
    BOOST_TEST(narrow.find("electra.embeddings_project.weight") >= 0);
    BOOST_TEST(equal.find("electra.embeddings_project.weight") < 0);
    BOOST_TEST(narrow.find("generator_lm_head.bias") >= 0);
    BOOST_TEST(narrow.find("generator_lm_head.weight") == narrow.find("electra.embeddings.word_embeddings.weight"));
    BOOST_TEST(narrow.find("generator_predictions.LayerNorm.weight") >= 0);
    BOOST_TEST(narrow.find("electra.encoder.layer.1.attention.output.LayerNorm.bias") >= 0);
    BOOST_TEST(equal.find("discriminator_predictions.dense_prediction.weight") >= 0);
    BOOST_TEST(equal.find("generator_predictions.dense.weight") < 0);
}

BOOST_AUTO_TEST_CASE(missing_fields_have_the_defaults_of_transformers) {
    auto const c = electra_config(Fields(nlohmann::json::object(), "config.json"));
    BOOST_TEST(c.vocab_size == 30522);
    BOOST_TEST(c.embedding_size == 128);
    BOOST_TEST(c.hidden_size == 256);
    BOOST_TEST(c.num_hidden_layers == 12);
    BOOST_TEST(c.num_attention_heads == 4);
    BOOST_TEST(c.intermediate_size == 1024);
    BOOST_TEST(c.hidden_dropout_prob == 0.1);
}

BOOST_AUTO_TEST_CASE(the_generators_head_has_gelu_whatever_the_layers_have) {
    auto config = electra(24);
    config.hidden_act = "relu";
    config.num_hidden_layers = 1;
    Electra<double> with_relu(config);
    config.hidden_act = "gelu";
    Electra<double> with_gelu(config);
    with_relu.initialise(3);
    with_gelu.initialise(3);
    Inference<Exec> context;
    auto const hidden = with_gelu.encode(context, make_packed(context, Example().view()));
    BOOST_TEST(compare_bits("logits", to_vector(with_relu.logits(context, hidden).view()),
                            to_vector(with_gelu.logits(context, hidden).view())));
}

BOOST_AUTO_TEST_CASE(a_pair_file_holds_both_configs) {
    nlohmann::json file;
    file["generator"] = to_json(electra(12));
    BOOST_TEST(message_of([&] { electra_pair_config(Fields(file, "pair.json")); }) ==
               "pair.json: discriminator: is missing, expected an object {...}");
    file["discriminator"] = to_json(electra(24));
    auto const pair = electra_pair_config(Fields(file, "pair.json"));
    BOOST_TEST(pair.generator.hidden_size == 12);
    BOOST_TEST(pair.discriminator.hidden_size == 24);
    file["generator"]["hidden_size"] = 0;
    BOOST_TEST(message_of([&] {
                   electra_pair_config(Fields(file, "pair.json"));
               }).starts_with("pair.json: generator: hidden_size: "));
}

/// A pair of G and D: table, files, outputs and gradients.
template <class G, class D, class GConfig, class DConfig>
void check_pair(GConfig const &generator, DConfig const &discriminator, bool shared) {
    using Pair = GeneratorDiscriminator<G, D>;
    Pair pair(generator, discriminator);
    pair.initialise(5);
    BOOST_TEST(pair.shared() == shared);
    auto const &table = pair.parameters().table();
    index_t const tables = shared ? 3 : 0;
    BOOST_TEST(static_cast<index_t>(table.entries().size()) ==
               static_cast<index_t>(pair.generator().parameters().table().entries().size()));
    ParameterTable g_table, d_table;
    add_tensors(g_table, generator, pair.generator().heads());
    add_tensors(d_table, discriminator, pair.discriminator().heads());
    BOOST_TEST(static_cast<index_t>(table.entries().size()) ==
               static_cast<index_t>(g_table.entries().size() + d_table.entries().size()) - tables);
    for (auto const &entry : table.entries())
        BOOST_TEST((entry.name.starts_with("generator.") || entry.name.starts_with("discriminator.")), entry.name);

    // what is saved is two models by themselves, which give the same numbers, and a pair again
    TemporaryFolder const folder;
    pair.save(folder.path());
    auto const g = G::load(folder / "generator");
    auto const d = D::load(folder / "discriminator");
    Inference<Exec> context;
    auto const packed = make_packed(context, Example().view());
    BOOST_TEST(
        compare_bits("generator", to_vector(g.logits(context, g.encode(context, packed)).view()),
                     to_vector(pair.generator().logits(context, pair.generator().encode(context, packed)).view())));
    auto const judged =
        to_vector(pair.discriminator().detection_logits(context, pair.discriminator().encode(context, packed)).view());
    BOOST_TEST(compare_bits("discriminator", to_vector(d.detection_logits(context, d.encode(context, packed)).view()),
                            judged));
    auto const again = Pair::load(folder.path());
    BOOST_TEST(compare_bits("pair", to_vector(again.parameters().values()), to_vector(pair.parameters().values())));
    pair.validate(Example().view());

    // gradients of both add up in what they share, and only there
    pair.parameters().enable_gradients();
    Training<Exec> training;
    Example const example;
    auto const of_generator = masked_loss(pair.generator(), training, example);
    training.backward(of_generator.sum);
    auto const first = to_vector(pair.parameters().gradients());
    auto const hidden = pair.discriminator().encode(training, make_packed(training, example.view()));
    training.backward(pair.discriminator().detection_logits(
        training, gather_rows(training, hidden, training.template upload<index_t>(std::vector<index_t>{0}))));
    auto const both = to_vector(pair.parameters().gradients());
    for (auto const &entry : table.entries()) {
        double by_generator = 0, by_discriminator = 0;
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i) {
            by_generator += std::abs(first[static_cast<std::size_t>(i)]);
            by_discriminator += std::abs(both[static_cast<std::size_t>(i)] - first[static_cast<std::size_t>(i)]);
        }
        bool const own = entry.name.starts_with("generator."), embedding = entry.name.ends_with("_embeddings.weight");
        BOOST_TEST((by_generator > 0) == (own || (shared && embedding)), entry.name);
        if (own)
            BOOST_TEST(by_discriminator == 0.0, entry.name);
    }
}

BOOST_AUTO_TEST_CASE(two_electras) {
    check_pair<Electra<>, Electra<>>(electra(12), electra(24), true);
    check_pair<Electra<>, Electra<>>(electra(12), electra(24, 24), false);
}
BOOST_AUTO_TEST_CASE(two_alberts) { check_pair<Albert<>, Albert<>>(albert(12), albert(24), true); }
BOOST_AUTO_TEST_CASE(two_berts) {
    check_pair<Bert<>, Bert<>>(bert(12), bert(24), false);
    check_pair<Bert<>, Bert<>>(bert(24), bert(24), true);
}
BOOST_AUTO_TEST_CASE(mixed_pairs) {
    check_pair<Electra<>, Albert<>>(electra(12), albert(24), true);
    check_pair<Bert<>, Electra<>>(bert(24), electra(36, 24), true); // BERT's embedding is as wide as its layers
}

/// Tables take no memory for values, so the largest models can be counted.
BOOST_AUTO_TEST_CASE(presets_have_the_published_sizes) {
    auto const preset = [](std::string const &name) {
        return read_fields(std::string(PROTLM_TEST_FIXTURES) + "/../../examples/configs/" + name + ".json");
    };
    auto const options = [&](std::string const &name) {
        TrainingOptions training;
        read_training_options(preset(name).object("training"), training);
        training.validate();
        return training;
    };
    auto const electra_size = [](ElectraConfig const &c, ElectraHeads heads) {
        return electra_table(c, heads).first.parameter_count();
    };
    ElectraHeads const generates{.masked = true, .detection = false}, judges{.masked = false, .detection = true};
    // counted by hand from the extents, heads included: 419.9 M and 65.2 M
    BOOST_TEST(electra_size(electra_config(preset("protelectra_discriminator")), judges) == 419'932'161);
    BOOST_TEST(electra_size(electra_config(preset("protelectra_generator")), generates) == 65'215'262);
    auto const pair = electra_pair_config(preset("protelectra"));
    BOOST_TEST(to_json(pair.generator).dump() == to_json(electra_config(preset("protelectra_generator"))).dump());
    BOOST_TEST(to_json(pair.discriminator).dump() ==
               to_json(electra_config(preset("protelectra_discriminator"))).dump());
    // ProtAlbert's 224.35 M are all heads of AlbertForPreTraining: pooler, masked language model and sentence order
    auto const albert = albert_config(preset("protalbert"));
    BOOST_TEST(albert_table(albert, {.pooler = true, .masked = true, .sentence_order = true}).first.parameter_count() ==
               224'347'300);
    BOOST_TEST(albert_table(albert, {.pooler = true, .masked = false}).first.parameter_count() == 223'814'400);
    for (char const *name : {"protalbert", "protelectra", "protelectra_generator", "protelectra_discriminator"}) {
        BOOST_TEST(options(name).optimizer == "lamb");
        BOOST_TEST(options(name).learning_rate == 2e-3);
        BOOST_TEST(options(name).warmup == 40000.0);
    }
    for (char const *name : {"albert_small", "albert_medium"}) {
        options(name);
        auto const config = albert_config(preset(name));
        BOOST_TEST(config.vocab_size == 34);
        BOOST_TEST(albert_table(config, {}).first.parameter_count() > 0);
    }
    for (char const *name : {"electra_small", "electra_medium"}) {
        options(name);
        auto const both = electra_pair_config(preset(name));
        BOOST_TEST(both.generator.embedding_size == both.discriminator.embedding_size); // so that they are shared
        BOOST_TEST(both.generator.hidden_size < both.discriminator.hidden_size);
    }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_an_error) {
    using Pair = GeneratorDiscriminator<Electra<>, Electra<>>;
    auto other = electra(24);
    other.vocab_size = 31;
    BOOST_TEST(message_of([&] { Pair(electra(12), other); }) ==
               "GeneratorDiscriminator: vocab_size: is 30 in the generator, but 31 in the discriminator");
    BOOST_TEST(message_of([&] { Pair(electra(12), {.masked = false}, electra(24), {.detection = true}); }) ==
               "GeneratorDiscriminator: the generator has no masked language model head");
    BOOST_TEST(message_of([&] { Pair(electra(12), {}, electra(24), {}); }) ==
               "GeneratorDiscriminator: the discriminator has no detection head");
    TemporaryFolder const folder;
    std::filesystem::create_directories(folder / "generator");
    std::filesystem::create_directories(folder / "discriminator");
    Electra<> model(electra(12));
    model.save(folder / "generator");
    model.save(folder / "discriminator");
    BOOST_TEST(message_of([&] { Pair::load(folder.path()); }) ==
               (folder / "discriminator").string() + ": has no detection head");
}

BOOST_AUTO_TEST_CASE(prefixes_of_wrappers_are_left_out) {
    Electra<> discriminator(electra(24), {.masked = false, .detection = true});
    discriminator.initialise(1);
    check_prefixes(discriminator);
    Albert<> albert(small_factored_config<AlbertConfig>(), {});
    albert.initialise(1);
    check_prefixes(albert);
}

BOOST_AUTO_TEST_CASE(embeddings_that_differ_before_they_are_shared_are_told) {
    using Pair = GeneratorDiscriminator<Electra<>, Electra<>>;
    TemporaryFolder const one, other;
    std::uint64_t seed = 1;
    for (auto const *folder : {&one, &other}) {
        Pair pair(electra(12), electra(24));
        pair.initialise(seed++);
        pair.save(folder->path());
        BOOST_TEST(Pair::load(folder->path()).parameters().notes().empty());
    }
    std::filesystem::remove_all(one / "generator");
    std::filesystem::copy(other / "generator", one / "generator");
    auto const notes = Pair::load(one.path()).parameters().notes();
    BOOST_REQUIRE(notes.size() == 1u);
    BOOST_TEST((notes[0].find("electra.embeddings.word_embeddings.weight of the generator has other values") !=
                std::string::npos),
               notes[0]);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
