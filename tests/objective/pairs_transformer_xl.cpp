// Masked, causal and permutation training of Transformer-XL, and that nothing leaks.

#include <protlm/model/transformer_xl.hpp>

#include "objective/pairs_recurrent.hpp"

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::protbert();

TransformerXl<float, Host> tiny(bool mask_embedding = false) {
    TransformerXlConfig config;
    config.vocab_size = vocabulary.size();
    config.d_model = config.d_embed = 32;
    config.n_layer = 2;
    config.n_head = 2;
    config.d_head = 16;
    config.d_inner = 64;
    config.mem_len = 64;
    config.init_std = 0.05;
    return TransformerXl<float, Host>(config, {.mask_embedding = mask_embedding});
}

} // namespace

BOOST_AUTO_TEST_SUITE(pairs_transformer_xl)

BOOST_AUTO_TEST_CASE(masked) {
    auto model = tiny();
    test_learns(MaskedLanguageModel{}, model, vocabulary, 0.6);
}

BOOST_AUTO_TEST_CASE(causal) {
    auto model = tiny();
    test_learns(CausalLanguageModel{}, model, vocabulary, 0.4);
    test_learns(CausalLanguageModel{.segment_length = 8}, model, vocabulary, 0.4);
    Inference<Host> context;
    Batch const batch = learnable_batch(vocabulary, 0);
    auto const judged =
        CausalLanguageModel{.segment_length = 8}.evaluation().loss(context, model, batch, vocabulary, 1);
    BOOST_TEST(judged.labelled == batch.size() - 2 * batch.sequences()); // residues
}

BOOST_AUTO_TEST_CASE(permutation) {
    auto model = tiny(true);
    test_learns(PermutationLanguageModel{}, model, vocabulary, 0.6);
}

BOOST_AUTO_TEST_CASE(masked_training_sees_both_sides) { // though the model is causal by itself
    auto model = tiny();
    model.initialise(5);
    Inference<Host> context;
    auto const logits = [&](Batch const &batch) {
        auto const packed = make_packed(context, {batch.tokens, batch.token_types, batch.offsets});
        return rows_of_values(model.logits(context, protlm::detail::encode_all(context, model, packed)));
    };
    test_reach(random_batch(vocabulary, 3, 6), vocabulary, logits, [](std::size_t, std::size_t) { return true; });
}

BOOST_AUTO_TEST_CASE(segments_leak_nothing) {
    auto model = tiny();
    test_segments_leak_nothing(model, vocabulary);
}

BOOST_AUTO_TEST_CASE(permutations_leak_nothing) {
    auto model = tiny(true);
    test_permutations_leak_nothing(model, vocabulary);
}

BOOST_AUTO_TEST_SUITE_END()
