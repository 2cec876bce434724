// What held-out proteins are judged by: residues that the model cannot see, and nothing else.

#include "support.hpp"

#include <protlm/objective/causal.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/span_corruption.hpp>

#include <algorithm>

using namespace protlm;
using namespace protlm::test;

namespace {

using Host = Kokkos::DefaultHostExecutionSpace;

/// Takes part in causal training and notes what it is asked.
struct Listener {
    using scalar_type = float;
    using execution_space = Host;
    using A = float;
    using Activations = Tensor<float, Host>;
    std::vector<std::int32_t> *asked;

    void validate(PackedView) const {}
    template <class Context, class... Rest>
    Activations encode(Context &context, PackedTokens<Host> const &packed, Rest const &...) const {
        return context.template tensor<float>(packed.size(), 1);
    }
    template <class Context>
    Loss<float, Host> token_loss(Context &context, Activations const &hidden,
                                 Buffer<std::int32_t, Host> const &labels) const {
        BOOST_TEST(hidden.rows() == labels.size());
        asked->assign(labels.data(), labels.data() + labels.size());
        return {context.template tensor<float>(1, 1), labels.size(), 0};
    }
};

bool all_residues(Vocabulary const &vocabulary, std::vector<std::int32_t> const &tokens) {
    return !tokens.empty() &&
           std::none_of(tokens.begin(), tokens.end(), [&](std::int32_t t) { return vocabulary.is_special(t); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(evaluation)

BOOST_AUTO_TEST_CASE(masked_residues_cannot_be_seen) {
    auto const vocabulary = Vocabulary::protbert();
    auto const batch = random_batch(vocabulary, 30, 60);
    MaskedLanguageModel const objective{.rate = 0.3};
    auto const trained = objective.apply(batch, vocabulary, 5),
               judged = objective.evaluation().apply(batch, vocabulary, 5);
    BOOST_TEST(judged.rows == trained.rows); // the same residues
    BOOST_TEST(judged.labels == trained.labels);
    auto const is_mask = [&](index_t row) { return judged.tokens[static_cast<std::size_t>(row)] == vocabulary.mask; };
    BOOST_TEST(std::all_of(judged.rows.begin(), judged.rows.end(), is_mask));
    BOOST_TEST(std::count(trained.tokens.begin(), trained.tokens.end(), vocabulary.mask) <
               static_cast<std::ptrdiff_t>(trained.rows.size()));
}

BOOST_AUTO_TEST_CASE(spans_count_by_their_residues) {
    auto const vocabulary = Vocabulary::prott5();
    auto const batch = random_batch(vocabulary, 30, 60);
    SpanCorruption const objective{.density = 0.2, .mean_span = 2};
    auto const trained = objective.apply(batch, vocabulary, 5),
               judged = objective.evaluation().apply(batch, vocabulary, 5);
    BOOST_TEST(judged.tokens == trained.tokens); // the model sees the same
    BOOST_TEST(judged.decoder_tokens == trained.decoder_tokens);
    BOOST_TEST(!all_residues(vocabulary, trained.labels));
    BOOST_TEST(all_residues(vocabulary, judged.labels));
    std::vector<std::int32_t> expected;
    for (std::int32_t const label : trained.labels)
        if (!vocabulary.is_special(label))
            expected.push_back(label);
    BOOST_TEST(judged.labels == expected);
    for (std::size_t i = 0; i < judged.rows.size(); ++i) {
        auto const at = std::find(trained.rows.begin(), trained.rows.end(), judged.rows[i]);
        BOOST_REQUIRE((at != trained.rows.end()));
        BOOST_TEST(trained.labels[static_cast<std::size_t>(at - trained.rows.begin())] == judged.labels[i]);
    }
}

BOOST_AUTO_TEST_CASE(denoising_counts_by_its_chosen_residues) {
    auto const vocabulary = Vocabulary::prott5();
    auto const batch = random_batch(vocabulary, 30, 60);
    ProteinDenoising const objective{.rate = 0.3};
    auto const trained = objective.apply(batch, vocabulary, 5),
               judged = objective.evaluation().apply(batch, vocabulary, 5);
    BOOST_TEST(judged.tokens == trained.tokens);
    BOOST_TEST(all_residues(vocabulary, judged.labels));
    for (index_t const row : judged.rows) { // hidden, or a residue drawn at random, which may be the true one
        std::int32_t const seen = judged.tokens[static_cast<std::size_t>(row)];
        BOOST_TEST((seen == vocabulary.sentinels.front() || !vocabulary.is_special(seen)));
    }
    std::size_t changed = 0;
    for (std::size_t t = 0; t < batch.tokens.size(); ++t)
        changed += judged.tokens[t] != batch.tokens[t];
    BOOST_TEST(changed <= judged.rows.size());
    BOOST_TEST(changed > judged.rows.size() * 9 / 10);
}

BOOST_AUTO_TEST_CASE(causal_training_counts_special_tokens_evaluation_does_not) {
    auto const vocabulary = Vocabulary::protbert();
    auto const batch = batch_of(vocabulary, "MKTAYI");
    std::vector<std::int32_t> asked;
    Listener const model{&asked};
    Inference<Host> context;
    CausalLanguageModel const objective;
    objective.loss(context, model, batch, vocabulary, 0);
    BOOST_TEST(text(vocabulary, asked) == "MKTAYI[SEP]");
    auto const loss = objective.evaluation().loss(context, model, batch, vocabulary, 0);
    BOOST_TEST(text(vocabulary, asked) == "MKTAYI");
    BOOST_TEST(loss.labelled == 6);
    Batch empty; // [CLS] [SEP] has nothing to predict but [SEP]
    append_sequence(empty, vocabulary, {}, {}, 1);
    BOOST_TEST(objective.loss(context, model, empty, vocabulary, 0).labelled == 1);
    BOOST_TEST(objective.evaluation().loss(context, model, empty, vocabulary, 0).labelled == 0);
}

BOOST_AUTO_TEST_SUITE_END()
