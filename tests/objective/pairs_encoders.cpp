// Masked and causal training of BERT, ALBERT and ELECTRA, and that causal models see nothing ahead.

#include <protlm/model/albert.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/objective/masked.hpp>

#include "objective/pairs.hpp"
#include "objective/support.hpp"
#include "support/message_of.hpp"

#include <tuple>

using namespace protlm;
using namespace protlm::test;

namespace {

template <class Config>
Config tiny(Config config, Vocabulary const &vocabulary) {
    config.vocab_size = vocabulary.size();
    config.hidden_size = 32;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2;
    config.intermediate_size = 64;
    config.max_position_embeddings = 64;
    config.initializer_range = 0.05;
    if constexpr (requires { config.embedding_size; })
        config.embedding_size = 16;
    return config;
}

struct BertFamily {
    static Vocabulary vocabulary() { return Vocabulary::protbert(); }
    static auto model() { return Bert<float, Host>(tiny(BertConfig(), vocabulary())); }
};
struct AlbertFamily {
    static Vocabulary vocabulary() { return Vocabulary::protalbert(); }
    static auto model() { return Albert<float, Host>(tiny(AlbertConfig(), vocabulary())); }
};
struct ElectraFamily {
    static Vocabulary vocabulary() { return Vocabulary::protbert(); }
    static auto model() { return Electra<float, Host>(tiny(ElectraConfig(), vocabulary())); }
};
using Families = std::tuple<BertFamily, AlbertFamily, ElectraFamily>;

} // namespace

BOOST_AUTO_TEST_SUITE(pairs_encoders)

BOOST_AUTO_TEST_CASE_TEMPLATE(masked, Family, Families) {
    auto model = Family::model();
    test_learns(MaskedLanguageModel{}, model, Family::vocabulary(), 0.6);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(causal, Family, Families) {
    auto model = Family::model();
    test_learns(CausalLanguageModel{}, model, Family::vocabulary(), 0.4);
    Training<Host> context;
    Batch const batch = learnable_batch(Family::vocabulary(), 0);
    BOOST_TEST(message_of([&] {
                   CausalLanguageModel{.segment_length = 8}.loss(context, model, batch, Family::vocabulary(), 1);
               }) == "CausalLanguageModel: segment_length is 8, but the model has no memory to carry from segment to "
                     "segment");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(causal_evaluation_asks_for_residues_only, Family, Families) {
    auto model = Family::model();
    model.initialise(5);
    Inference<Host> context;
    Batch const batch = learnable_batch(Family::vocabulary(), 0);
    auto const labelled = [&](CausalLanguageModel const &objective) {
        return objective.loss(context, model, batch, Family::vocabulary(), 1).labelled;
    };
    BOOST_TEST(labelled(CausalLanguageModel{}) == batch.size() - batch.sequences());
    BOOST_TEST(labelled(CausalLanguageModel{}.evaluation()) == batch.size() - 2 * batch.sequences());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_causal_mask_leaks_nothing, Family, Families) {
    auto model = Family::model();
    model.initialise(5);
    Inference<Host> context;
    auto const logits = [&](Batch const &batch) {
        auto const packed = make_packed(context, {batch.tokens, batch.token_types, batch.offsets});
        return rows_of_values(model.logits(context, model.encode(context, packed, nullptr, CausalMask{})));
    };
    test_reach(random_batch(Family::vocabulary(), 4, 8), Family::vocabulary(), logits,
               [](std::size_t from, std::size_t to) { return to >= from; });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(without_labels_there_is_no_loss, Family, Families) {
    auto const model = Family::model();
    Inference<Host> context;
    Batch batch;
    append_sequence(batch, Family::vocabulary(), {}, {}, 0);
    auto const none = MaskedLanguageModel{}.loss(context, model, batch, Family::vocabulary(), 1);
    BOOST_TEST(none.labelled == 0);
    BOOST_TEST(!none.sum);
    BOOST_TEST(CausalLanguageModel{}.loss(context, model, batch, Family::vocabulary(), 1).labelled == 1); // [SEP]
}

BOOST_AUTO_TEST_SUITE_END()
