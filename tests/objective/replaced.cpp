#include <protlm/model/albert.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/objective/replaced.hpp>
#include <support/compare.hpp>

#include <cmath>
#include <string>
#include <vector>

using namespace protlm;
using namespace protlm::test;

namespace {

using Exec = Kokkos::DefaultExecutionSpace;
Vocabulary const vocabulary = Vocabulary::protbert();

ElectraConfig small_electra(index_t width, index_t heads) {
    ElectraConfig config;
    config.embedding_size = 12;
    config.hidden_size = width;
    config.num_hidden_layers = 2;
    config.num_attention_heads = heads;
    config.intermediate_size = 24;
    config.max_position_embeddings = 64;
    config.initializer_range = 0.3;
    return config;
}

template <class S = double>
auto small_pair() {
    GeneratorDiscriminator<Electra<S>, Electra<S>> pair(small_electra(8, 2), small_electra(16, 4));
    pair.initialise(7);
    pair.parameters().enable_gradients();
    return pair;
}

Batch protein_batch(std::vector<std::uint64_t> const &samples, std::uint64_t epoch = 0) {
    Batch batch;
    batch.epoch = epoch;
    for (std::uint64_t const sample : samples) {
        CounterRandom const random{3, Purpose::sample};
        std::vector<std::uint8_t> residues(20 + sample % 23);
        for (std::size_t i = 0; i < residues.size(); ++i)
            residues[i] = vocabulary.residues[uniform_below(random(sample, static_cast<std::uint32_t>(i))[0],
                                                            static_cast<std::uint32_t>(vocabulary.residues.size()))];
        append_sequence(batch, vocabulary, residues, {}, sample);
    }
    return batch;
}

template <class T>
double value(T const &scalar) {
    return static_cast<double>(Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), scalar.view()).data()[0]);
}

BOOST_AUTO_TEST_SUITE(replaced)

BOOST_AUTO_TEST_CASE(the_example_of_the_documentation) {
    Batch batch;
    append_sequence(batch, vocabulary, encode(vocabulary, "MKTAYIAKQRQISFVKSHFSRQ"), {}, 7);
    MaskedBatch const it = ReplacedTokenDetection{}.apply(batch, vocabulary, 298);
    std::string masked;
    for (std::int32_t const token : it.tokens)
        masked += vocabulary.pieces[static_cast<std::size_t>(token)];
    BOOST_TEST(masked == "[CLS]MKT[MASK]YIAKQRQI[MASK]FVKSHFS[MASK][MASK][SEP]");
}

BOOST_AUTO_TEST_CASE(all_chosen_residues_are_masked) {
    Batch const batch = protein_batch({1, 2, 3, 4, 5, 6, 7, 8});
    ReplacedTokenDetection const objective{.rate = 0.4};
    MaskedBatch const it = objective.apply(batch, vocabulary, 5);
    BOOST_TEST(it.rows.size() > 50u);
    for (index_t const row : it.rows)
        BOOST_TEST(it.tokens[static_cast<std::size_t>(row)] == vocabulary.mask);
    auto const counts = objective.counts(batch, vocabulary, 5);
    BOOST_TEST(counts[0] == batch.size() - 2 * batch.sequences());
    BOOST_TEST(counts[1] == static_cast<index_t>(it.rows.size()));
}

BOOST_AUTO_TEST_CASE(the_discriminator_judges_what_the_generator_drew) {
    auto const pair = small_pair();
    Batch const batch = protein_batch({11, 12, 13});
    Inference<Exec> context;
    ReplacedTokenDetection const objective{.rate = 0.5, .weight = 7};
    auto const loss = objective.loss(context, pair, batch, vocabulary, 5);
    auto const counts = objective.counts(batch, vocabulary, 5);
    BOOST_TEST(loss.labelled == counts[0]);
    BOOST_TEST(loss.auxiliary.labelled == counts[1]);
    BOOST_TEST(loss.weight == 7.0);
    BOOST_TEST(loss.majority < loss.labelled);
    BOOST_TEST(loss.majority >= loss.labelled - counts[1]); // no residue is replaced that was not masked

    // the same by hand
    auto const masked = objective.apply(batch, vocabulary, 5);
    auto const &generator = pair.generator();
    auto const hidden = generator.encode(context, make_packed(context, {masked.tokens, {}, batch.offsets}));
    auto const logits = generator.logits(context, gather_rows(context, hidden, context.upload<index_t>(masked.rows)));
    std::vector<std::uint64_t> samples;
    std::vector<std::int32_t> positions, tokens = batch.tokens, labels;
    for (index_t const row : masked.rows)
        for (std::size_t b = 0; b < 3; ++b)
            if (row >= batch.offsets[b] && row < batch.offsets[b + 1]) {
                samples.push_back(batch.samples[b]);
                positions.push_back(static_cast<std::int32_t>(row - batch.offsets[b]));
            }
    auto const drawn = sample_tokens(
        context, logits, {5, 0, context.upload<std::uint64_t>(samples), context.upload<std::int32_t>(positions)});
    for (std::size_t i = 0; i < masked.rows.size(); ++i)
        tokens[static_cast<std::size_t>(masked.rows[i])] = drawn.view()(i);
    auto const &discriminator = pair.discriminator();
    auto const judged = discriminator.detection_logits(
        context, discriminator.encode(context, make_packed(context, {tokens, {}, batch.offsets})));
    double sum = 0;
    index_t correct = 0, original = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        if (vocabulary.is_special(batch.tokens[t]))
            continue;
        bool const replaced = tokens[t] != batch.tokens[t];
        double const x = judged.view()(t, 0);
        sum += std::log1p(std::exp(replaced ? -x : x));
        correct += (x > 0) == replaced;
        original += !replaced;
    }
    BOOST_TEST(std::abs(value(loss.sum) - sum) < 1e-10 * sum);
    BOOST_TEST(loss.correct == correct);
    BOOST_TEST(loss.majority == original);
}

BOOST_AUTO_TEST_CASE(a_protein_has_its_loss_in_any_batch) {
    auto const pair = small_pair();
    Inference<Exec> context;
    ReplacedTokenDetection const objective{.rate = 0.3};
    auto const whole = objective.loss(context, pair, protein_batch({4, 9, 30, 31}), vocabulary, 2);
    double sum = 0, auxiliary = 0;
    index_t majority = 0;
    for (std::uint64_t const sample : {31, 9, 4, 30}) {
        auto const one = objective.loss(context, pair, protein_batch({sample}), vocabulary, 2);
        sum += value(one.sum);
        auxiliary += value(one.auxiliary.sum);
        majority += one.majority;
    }
    BOOST_TEST(std::abs(sum - value(whole.sum)) < 1e-10 * sum);
    BOOST_TEST(std::abs(auxiliary - value(whole.auxiliary.sum)) < 1e-10 * auxiliary);
    BOOST_TEST(majority == whole.majority);
    auto const other = objective.loss(context, pair, protein_batch({4, 9, 30, 31}, 1), vocabulary, 2);
    BOOST_TEST(value(other.auxiliary.sum) != value(whole.auxiliary.sum)); // another epoch, other masks
}

BOOST_AUTO_TEST_CASE(no_gradient_flows_through_the_draw) {
    auto pair = small_pair();
    Training<Exec> context;
    auto const loss = ReplacedTokenDetection{.rate = 0.3}.loss(context, pair, protein_batch({4, 9}), vocabulary, 2);
    context.backward(loss.sum); // the discriminator's only
    auto const &table = pair.parameters().table();
    auto const gradients = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), pair.parameters().gradients());
    for (auto const &entry : table.entries()) {
        double largest = 0;
        for (index_t i = 0; i < entry.size(); ++i)
            largest = std::max(largest, std::abs(gradients(static_cast<std::size_t>(entry.offset + i))));
        BOOST_TEST((largest > 0) == !entry.name.starts_with("generator."), entry.name);
    }
}

BOOST_AUTO_TEST_CASE(nothing_masked_and_nothing_at_all) {
    auto pair = small_pair();
    Training<Exec> context;
    Batch const batch = protein_batch({1});
    auto const loss = ReplacedTokenDetection{.rate = 1e-30}.loss(context, pair, batch, vocabulary, 2);
    BOOST_TEST(loss.auxiliary.labelled == 0);
    BOOST_TEST(loss.labelled == batch.size() - 2);
    BOOST_TEST(loss.majority == loss.labelled);
    context.backward(loss.sum);
    Batch specials;
    append_sequence(specials, vocabulary, std::vector<std::uint8_t>{}, {}, 1);
    BOOST_TEST(ReplacedTokenDetection{}.loss(context, pair, specials, vocabulary, 2).labelled == 0);
}

BOOST_AUTO_TEST_CASE(wrong_settings_are_errors) {
    auto const message = [](ReplacedTokenDetection const &objective, Vocabulary const &words) -> std::string {
        try {
            objective.validate(words);
        } catch (Error const &error) {
            return error.what();
        }
        return "no error";
    };
    BOOST_TEST(message({.rate = 1.5}, vocabulary) ==
               "ReplacedTokenDetection: rate is 1.5, expected above 0 and at most 1");
    BOOST_TEST(message({.rate = 0}, vocabulary) == "ReplacedTokenDetection: rate is 0, expected above 0 and at most 1");
    BOOST_TEST(message({.weight = -1}, vocabulary) == "ReplacedTokenDetection: weight is -1, expected at least 0");
    BOOST_TEST(message({}, Vocabulary::from_pieces({"A"})).find("no mask token") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
