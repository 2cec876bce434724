// Embeddings of the families whose positions are learned: BERT, ALBERT, ELECTRA.

#include <embed/windows.hpp>
#include <protlm/albert.hpp>
#include <protlm/bert.hpp>
#include <protlm/electra.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

/// Fields that the three have in common; weights far from zero, so that differences show.
template <class Config>
Config sized(index_t width = 24, index_t heads = 3, index_t inner = 40) {
    Config config;
    config.hidden_size = width;
    config.num_hidden_layers = 2;
    config.num_attention_heads = heads;
    config.intermediate_size = inner;
    config.max_position_embeddings = 2048;
    config.initializer_range = 0.2;
    return config;
}

struct BertFamily {
    using Config = BertConfig;
    template <class S, class E>
    using Model = Bert<S, E>;
    static Config small_config() { return sized<Config>(); }
    static Vocabulary vocabulary() { return Vocabulary::protbert(); }
};
struct AlbertFamily {
    using Config = AlbertConfig;
    template <class S, class E>
    using Model = Albert<S, E>;
    static Config small_config() {
        auto config = sized<Config>();
        config.embedding_size = 10;
        config.vocab_size = 34;
        return config;
    }
    static Vocabulary vocabulary() { return Vocabulary::protalbert(); }
};
struct ElectraFamily {
    using Config = ElectraConfig;
    template <class S, class E>
    using Model = Electra<S, E>;
    static Config small_config() {
        auto config = sized<Config>();
        config.embedding_size = 16;
        return config;
    }
    static Vocabulary vocabulary() { return Vocabulary::protbert(); }
};
using Families = std::tuple<BertFamily, AlbertFamily, ElectraFamily>;

BOOST_AUTO_TEST_SUITE(families_encoders)

BOOST_AUTO_TEST_CASE_TEMPLATE(thousand, Family, Families) { a_thousand_proteins_have_the_same_bits<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(layers, Family, Families) { several_layers_are_each_by_itself<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(encoder_only, Family, Families) { the_encoder_alone_is_enough<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(forecast, Family, Families) {
    auto config = Family::small_config();
    config.hidden_size = 96;
    config.num_attention_heads = 4;
    config.intermediate_size = 384;
    the_forecast_is_near<Family>(config);
}

template <class Family>
typename Family::Config with_positions(index_t positions) {
    auto config = Family::small_config();
    config.max_position_embeddings = positions;
    return config;
}
BOOST_AUTO_TEST_CASE_TEMPLATE(windows_average, Family, Families) {
    for (index_t const overlap : {-1, 0, 7, 29})
        windows_are_averaged_as_stated<Family>(30, {0, overlap}, with_positions<Family>(32));
}
BOOST_AUTO_TEST_CASE_TEMPLATE(windows_bits, Family, Families) {
    windows_have_the_same_bits<Family>(with_positions<Family>(32), {});
}

BOOST_AUTO_TEST_CASE(none_pools_nothing_and_results_can_stay_on_the_device) {
    auto const model = made_family<BertFamily>();
    auto const pieces = Vocabulary::protbert();
    std::vector<std::string> const sequences{"MKTAYIAKQR", "", "SKT", "GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG"};
    auto const both = embed(model, sequences, {.layers = {1, 2}, .token_budget = 16}, pieces);
    auto const none = embed(model, sequences, {.pooling = Pooling::none, .layers = {1, 2}}, pieces);
    auto const device = embed_on_device(model, sequences, {.layers = {1, 2}, .token_budget = 20}, pieces);
    BOOST_REQUIRE(device.vectors.size() == 2u && device.residues.size() == 2u);
    BOOST_TEST(device.offsets == (std::vector<index_t>{0, 10, 10, 13, 52}), boost::test_tools::per_element());
    for (std::size_t p = 0; p < sequences.size(); ++p) {
        BOOST_TEST(none[p].vector.empty());
        BOOST_TEST(none[p].width == 24);
        BOOST_TEST((none[p].residues == both[p].residues));
        for (std::size_t slot = 0; slot < 2; ++slot) {
            auto const copied = [&](auto const &view, index_t row, index_t rows) {
                auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
                return std::vector<float>(host.data() + row * 24, host.data() + (row + rows) * 24);
            };
            auto const vector = both[p].protein(static_cast<index_t>(slot));
            BOOST_TEST(compare_bits("vector", copied(device.vectors[slot], static_cast<index_t>(p), 1),
                                    std::vector<float>(vector.begin(), vector.end())));
            auto const part = both[p].residues.begin() + static_cast<std::ptrdiff_t>(slot) * both[p].length * 24;
            BOOST_TEST((copied(device.residues[slot], device.offsets[p], both[p].length) ==
                        std::vector<float>(part, part + both[p].length * 24)));
        }
    }
    auto const bare = embed_on_device(model, sequences, {.pooling = Pooling::none}, pieces);
    BOOST_TEST(bare.vectors.empty());
    BOOST_TEST(message_of([&] { both[0].residue(0, 2); }) == "Embedding: layer 2 was not asked for");
    BOOST_TEST(message_of([&] { none[0].protein(); }) == "Embedding: layer 0 was not asked for");
}

BOOST_AUTO_TEST_CASE(layers_that_cannot_be_are_errors) {
    auto const model = made_family<BertFamily>();
    auto const error = [&](EmbedOptions const &options) {
        return message_of([&] { Embedder embedder(model, Vocabulary::protbert(), options); });
    };
    BOOST_TEST(error({.layers = {-4}}) == "Embedder: layer is -4, but the model has 2");
    BOOST_TEST(error({.layers = {2, 0, -1}}) == "Embedder: layer 2 is asked for twice");
    BOOST_TEST(error({.pooling = Pooling::none, .per_residue = false}) ==
               "Embedder: pooling is none, and no residues are asked for: there is nothing to embed");
    BOOST_TEST((resolve_layers({-3, -2, -1}, 2) == std::vector<index_t>{0, 1, 2}));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
