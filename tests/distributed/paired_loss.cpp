// A loss of two means over ranks and micro-batches of any size against one batch in one process.

#include "support/compare.hpp"

#include <protlm/distributed.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/objective/replaced.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/dropout_keys.hpp>
#include <protlm/train/gradient_step.hpp>
#include <protlm/train/pretraining.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;
using Host = Kokkos::DefaultHostExecutionSpace;

namespace {

using Pair = GeneratorDiscriminator<Electra<double, Host>, Electra<double, Host>>;
Vocabulary const vocabulary = Vocabulary::protbert();

Pair small_pair() {
    ElectraConfig generator;
    generator.embedding_size = 8;
    generator.hidden_size = 4;
    generator.num_hidden_layers = 1;
    generator.num_attention_heads = 2;
    generator.intermediate_size = 8;
    generator.max_position_embeddings = 40;
    generator.initializer_range = 0.3;
    ElectraConfig discriminator = generator;
    discriminator.hidden_size = 8;
    Pair pair(generator, discriminator);
    pair.initialise(3);
    return pair;
}

/// The proteins first, first + stride, ... of 11, of very different lengths; every second one so short that
/// nothing of it may be masked.
Batch proteins(int first, int stride) {
    Batch batch;
    for (int i = first; i < 11; i += stride) {
        std::vector<std::uint8_t> residues(i % 2 ? 2u : 3u * static_cast<unsigned>(i) + 1u);
        for (std::size_t j = 0; j < residues.size(); ++j)
            residues[j] = vocabulary.residues[(static_cast<std::size_t>(i) + j * j) % vocabulary.residues.size()];
        append_sequence(batch, vocabulary, residues, {}, static_cast<std::uint64_t>(i));
    }
    return batch;
}

struct Run {
    std::vector<double> losses, norms, accuracies, weights;
};

template <class X>
Run run(Pair &pair, X &exchange, std::vector<Batch> const &micro) {
    auto &parameters = pair.parameters();
    AdamW<double, Host> optimizer(parameters, {});
    GradientStep<double, Host> step(parameters, 1.0);
    Training<Host> context;
    ReplacedTokenDetection const objective{.rate = 0.2};
    ObjectiveLoss<ReplacedTokenDetection, Pair> const loss{objective, pair, vocabulary};
    Run result;
    for (index_t s = 1; s <= 4; ++s) {
        KeyedLoss<ObjectiveLoss<ReplacedTokenDetection, Pair> const> const keyed{loss, static_cast<std::uint64_t>(s)};
        StepResult const done = step(context, micro, keyed, optimizer, exchange, s, 1e-2, [] { return RankNews(); });
        result.losses.push_back(done.loss);
        result.norms.push_back(done.gradient_norm);
        result.accuracies.push_back(done.accuracy);
    }
    result.weights.assign(parameters.values().data(), parameters.values().data() + parameters.values().extent(0));
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(distributed_paired_loss)

BOOST_AUTO_TEST_CASE(both_means_are_over_all_ranks_and_micro_batches) {
    Pair serial = small_pair();
    NoExchange none;
    Run const expected = run(serial, none, {proteins(0, 1)});
    for (int parts : {1, 3}) {
        Pair pair = small_pair();
        GradientExchange<double, Host> exchange(Communicator::duplicate(MPI_COMM_WORLD), pair.parameters(),
                                                {.bucket_bytes = 512});
        std::vector<Batch> micro;
        for (int part = 0; part < parts; ++part)
            micro.push_back(proteins(exchange.rank() + part * exchange.size(), exchange.size() * parts));
        Run const actual = run(pair, exchange, micro);
        // only the order of additions differs
        BOOST_TEST(compare("losses", actual.losses, expected.losses, {.relative = 1e-11}));
        BOOST_TEST(compare("gradient norms", actual.norms, expected.norms, {.relative = 1e-9}));
        BOOST_TEST(compare("accuracies", actual.accuracies, expected.accuracies, {.relative = 1e-12}));
        // Adam divides by the gradient's size: a key bias's is rounding
        BOOST_TEST(compare("weights", actual.weights, expected.weights, {.absolute = 1e-4}));
    }
}

BOOST_AUTO_TEST_CASE(the_loss_is_the_sum_of_both_means_with_the_weight) {
    Pair pair = small_pair();
    NoExchange none;
    double const first = run(pair, none, {proteins(0, 1)}).losses[0];
    Pair const fresh = small_pair();
    Inference<Host> context;
    auto const loss = ReplacedTokenDetection{.rate = 0.2}.loss(context, fresh, proteins(0, 1), vocabulary, 1);
    double const expected = 50 * to_host(context.exec(), loss.sum) / static_cast<double>(loss.labelled) +
                            to_host(context.exec(), loss.auxiliary.sum) / static_cast<double>(loss.auxiliary.labelled);
    BOOST_TEST(first == expected, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(counts_that_were_said_wrong_are_an_error) {
    Pair pair = small_pair();
    ReplacedTokenDetection const objective{.rate = 0.2};
    struct Wrong {
        ReplacedTokenDetection const &objective;
        Pair const &pair;
        auto operator()(Training<Host> &context, Batch const &batch) const {
            return objective.loss(context, pair, batch, vocabulary, 1);
        }
        std::array<index_t, 2> counts(Batch const &batch) const { return {batch.size(), 1}; }
    };
    AdamW<double, Host> optimizer(pair.parameters(), {});
    GradientStep<double, Host> step(pair.parameters(), 1.0);
    Training<Host> context;
    NoExchange none;
    Wrong const loss{objective, pair};
    BOOST_CHECK_EXCEPTION(
        step(context, std::vector<Batch>{proteins(0, 1)}, loss, optimizer, none, 1, 1e-2, [] { return RankNews(); }),
        Error, [](Error const &error) {
            return std::string(error.what()).find("labelled tokens, but said") != std::string::npos;
        });
}

BOOST_AUTO_TEST_SUITE_END()
