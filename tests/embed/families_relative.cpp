// Embeddings of the families whose positions are relative: T5, XLNet, Transformer-XL.

#include <embed/windows.hpp>
#include <protlm/t5.hpp>
#include <protlm/transformer_xl.hpp>
#include <protlm/xlnet.hpp>

#include <sys/resource.h>

namespace {

using namespace protlm;
using namespace protlm::test;

struct T5Family {
    using Config = T5Config;
    template <class S, class E>
    using Model = T5<S, E>;
    static Config small_config() {
        Config config;
        config.d_model = 24;
        config.d_kv = 10; // 30, not d_model
        config.num_heads = 3;
        config.d_ff = 40;
        config.num_layers = config.num_decoder_layers = 2;
        config.initializer_factor = 0.3;
        return config;
    }
    static Vocabulary vocabulary() { return Vocabulary::prott5(); }
};
struct XlnetFamily {
    using Config = XlnetConfig;
    template <class S, class E>
    using Model = Xlnet<S, E>;
    static Config small_config() {
        Config config;
        config.d_model = 24;
        config.n_layer = 2;
        config.n_head = 3;
        config.d_head = 8;
        config.d_inner = 40;
        config.initializer_range = 0.2;
        return config;
    }
    static Vocabulary vocabulary() { return Vocabulary::protxlnet(); }
};
struct TransformerXlFamily {
    using Config = TransformerXlConfig;
    template <class S, class E>
    using Model = TransformerXl<S, E>;
    static Config small_config() {
        Config config;
        config.d_model = config.d_embed = 24;
        config.n_layer = 2;
        config.n_head = 3;
        config.d_head = 7;
        config.d_inner = 40;
        config.init_std = config.proj_init_std = 0.2;
        return config;
    }
    static Vocabulary vocabulary() { return Vocabulary::protbert(); }
};
using Families = std::tuple<T5Family, XlnetFamily, TransformerXlFamily>;

/// 96 wide, 4 heads, 384 inner columns.
T5Config widened(T5Config config) {
    config.d_model = 96;
    config.num_heads = 4;
    config.d_kv = 32;
    config.d_ff = 384;
    return config;
}
XlnetConfig widened(XlnetConfig config) {
    config.d_model = 96;
    config.n_head = 4;
    config.d_head = 24;
    config.d_inner = 384;
    return config;
}
TransformerXlConfig widened(TransformerXlConfig config) {
    config.d_model = config.d_embed = 96;
    config.n_head = 4;
    config.d_head = 24;
    config.d_inner = 384;
    return config;
}

BOOST_AUTO_TEST_SUITE(families_relative)

BOOST_AUTO_TEST_CASE_TEMPLATE(thousand, Family, Families) { a_thousand_proteins_have_the_same_bits<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(layers, Family, Families) { several_layers_are_each_by_itself<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(encoder_only, Family, Families) { the_encoder_alone_is_enough<Family>(); }
BOOST_AUTO_TEST_CASE_TEMPLATE(forecast, Family, Families) {
    the_forecast_is_near<Family>(widened(Family::small_config()));
}

// Without a limit there are no windows unless their length is given.
BOOST_AUTO_TEST_CASE_TEMPLATE(windows, Family, Families) {
    auto const config = Family::small_config();
    auto const model = made_family<Family>(config);
    BOOST_TEST(Embedder(model, Family::vocabulary()).windows().length == 0);
    windows_are_averaged_as_stated<Family>(30, {30, 10}, config);
}

BOOST_AUTO_TEST_CASE(shapes_are_those_of_the_configs) {
    auto config = T5Family::small_config();
    config.feed_forward_proj = "gated-gelu";
    auto const t5 = encoder_shape(config);
    BOOST_TEST((t5.width == 24 && t5.layers == 2 && t5.heads == 3 && t5.inner == 40));
    BOOST_TEST((t5.attention() == 30 && t5.gated && t5.positions == 0 && t5.distances == 0));
    auto const xl = encoder_shape(TransformerXlFamily::small_config());
    BOOST_TEST((xl.attention() == 21 && xl.distances == 1 && xl.positions == 0));
    auto both = XlnetFamily::small_config();
    BOOST_TEST(encoder_shape(both).distances == 2);
    both.attn_type = "uni";
    BOOST_TEST(encoder_shape(both).distances == 1);
    // by hand: 8 c a + 6 c f + 4 a t of 2 layers and 5 tokens
    BOOST_TEST(t5.cost(5) == 2 * 5 * (8 * 24 * 30 + 6 * 24 * 40 + 4 * 30 * 5));
    BOOST_TEST(xl.cost(5) == 2 * 5 * (8 * 24 * 21 + 4 * 24 * 40 + 6 * 21 * 5));
}

// Titin, the longest human protein, in a narrow T5: a matrix of length x length alone would have 5 GB.
BOOST_AUTO_TEST_CASE(titin_needs_memory_of_its_length_only) {
    T5Config config;
    config.d_model = 16;
    config.d_kv = 8;
    config.num_heads = config.num_layers = 1;
    config.d_ff = 32;
    auto const model = made_family<T5Family>(config);
    index_t const residues = 35213;
    auto const proteins = random_proteins({residues}, 1, Vocabulary::prott5());
    auto const peak_of_process = [] {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return 1024.0 * static_cast<double>(usage.ru_maxrss);
    };
    double const before = peak_of_process();
    Embedder embedder(model, Vocabulary::prott5());
    std::size_t values = 0;
    bool finite = true;
    embedder(proteins, [&](ProteinEmbedding<float> const &result) {
        values += result.residues().size();
        for (float const value : result.residues())
            finite = finite && std::isfinite(value);
    });
    BOOST_TEST(values == static_cast<std::size_t>(residues * 16));
    BOOST_TEST(finite);
    auto const peak = static_cast<double>(embedder.context().pool().statistics().peak_bytes);
    BOOST_TEST_MESSAGE("pool " << peak * 1e-6 << " MB, process " << (peak_of_process() - before) * 1e-6 << " MB more");
    BOOST_TEST(peak < 16e6);
    BOOST_TEST(peak_of_process() - before < 64e6);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
