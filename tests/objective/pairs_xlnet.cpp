// Masked, causal and permutation training of XLNet, with and without memory, and that nothing leaks.

#include <protlm/model/xlnet.hpp>

#include "objective/pairs_recurrent.hpp"

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::protxlnet();

Xlnet<float, Host> tiny(std::string const &attention = "bi") {
    XlnetConfig config;
    config.vocab_size = vocabulary.size();
    config.d_model = 32;
    config.n_layer = 2;
    config.n_head = 2;
    config.d_head = 16;
    config.d_inner = 64;
    config.attn_type = attention;
    config.initializer_range = 0.05;
    return Xlnet<float, Host>(config);
}

} // namespace

BOOST_AUTO_TEST_SUITE(pairs_xlnet)

BOOST_AUTO_TEST_CASE(masked) {
    auto model = tiny();
    test_learns(MaskedLanguageModel{}, model, vocabulary, 0.6);
}

BOOST_AUTO_TEST_CASE(causal) {
    auto model = tiny("uni");
    test_learns(CausalLanguageModel{}, model, vocabulary, 0.4);
    test_learns(CausalLanguageModel{.segment_length = 8}, model, vocabulary, 0.4);
}

BOOST_AUTO_TEST_CASE(permutation) {
    auto model = tiny();
    test_learns(PermutationLanguageModel{}, model, vocabulary, 0.6);
}

BOOST_AUTO_TEST_CASE(a_causal_mask_leaks_nothing_also_from_a_model_that_looks_both_ways) {
    for (char const *attention : {"uni", "bi"}) {
        auto model = tiny(attention);
        test_segments_leak_nothing(model, vocabulary);
        Inference<Host> context;
        auto const logits = [&](Batch const &batch) {
            auto const packed = make_packed(context, {batch.tokens, batch.token_types, batch.offsets});
            return rows_of_values(model.logits(context, model.encode(context, packed, nullptr, CausalMask{})));
        };
        test_reach(random_batch(vocabulary, 4, 6), vocabulary, logits,
                   [](std::size_t from, std::size_t to) { return to >= from; });
    }
}

BOOST_AUTO_TEST_CASE(permutations_leak_nothing) {
    auto model = tiny();
    test_permutations_leak_nothing(model, vocabulary);
}

BOOST_AUTO_TEST_SUITE_END()
