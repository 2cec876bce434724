// Ten steps on 1, 2 and 4 ranks with and without accumulation against ten steps of one process.

#include "support/compare.hpp"
#include "train/bigram.hpp"

#include <protlm/distributed.hpp>
#include <protlm/train/adafactor.hpp>
#include <protlm/train/fingerprint.hpp>
#include <protlm/train/gradient_step.hpp>
#include <protlm/train/lamb.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;
using Host = Kokkos::DefaultHostExecutionSpace;

namespace {

constexpr int sequences = 13; // not divisible by the number of ranks or parts

struct Run {
    std::vector<double> losses, norms;
    std::vector<float> weights;
};

/// Ten steps; rank r of n takes the sequences r, r + n, ... in `parts` micro-batches.
template <template <class, class, Kernels> class O, class Options, class X>
Run run(Bigram<float, Host> &model, X &exchange, int parts, Options const &options, double clip) {
    auto &parameters = model.parameters();
    O<float, Host, Kernels::native> optimizer(parameters, options);
    GradientStep<float, Host> step(parameters, clip);
    Training<Host> context;
    Run result;
    for (index_t s = 1; s <= 10; ++s) {
        auto const data = bigram_sequences(sequences, static_cast<std::uint64_t>(s));
        std::vector<Batch> micro;
        auto const stride = static_cast<std::size_t>(exchange.size() * parts);
        for (int part = 0; part < parts; ++part)
            micro.push_back(
                join(data, static_cast<std::size_t>(exchange.rank() + part * exchange.size()), data.size(), stride));
        auto const loss = [&](auto &c, Batch const &batch) { return model.loss(c, batch); };
        StepResult const done = step(context, micro, loss, optimizer, exchange, s, 1e-2, [] { return RankNews(); });
        result.losses.push_back(done.loss);
        result.norms.push_back(done.gradient_norm);
        BOOST_TEST(done.tokens == join(data, 0, data.size()).size());
    }
    result.weights.assign(parameters.values().data(), parameters.values().data() + parameters.values().extent(0));
    return result;
}

template <template <class, class, Kernels> class O, class Options>
void check_like_serial(Options const &options, double clip = 0) {
    Bigram<float, Host> serial;
    NoExchange none;
    Run const expected = run<O>(serial, none, 1, options, clip);
    BOOST_TEST(expected.losses.back() < 0.97 * expected.losses.front()); // it learns
    for (int parts : {1, 2}) {
        Bigram<float, Host> model;
        GradientExchange<float, Host> exchange(Communicator::duplicate(MPI_COMM_WORLD), model.parameters(),
                                               {.bucket_bytes = 512});
        Run const actual = run<O>(model, exchange, parts, options, clip);
        // Only the order of float additions differs.
        BOOST_TEST(compare("losses", actual.losses, expected.losses, {.relative = 1e-5}));
        BOOST_TEST(compare("gradient norms", actual.norms, expected.norms, {.relative = 1e-5}));
        BOOST_TEST(compare("weights", actual.weights, expected.weights, {.absolute = 1e-5}));
        exchange.require_agreement("the weights after ten steps",
                                   fingerprint(std::as_bytes(std::span(actual.weights))));
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(distributed_training)

BOOST_AUTO_TEST_CASE(adamw) { check_like_serial<AdamW>(AdamWOptions{}); }
BOOST_AUTO_TEST_CASE(lamb_with_clipping) { check_like_serial<Lamb>(LambOptions{}, 0.5); }
BOOST_AUTO_TEST_CASE(adafactor) { check_like_serial<Adafactor>(AdafactorOptions{.relative_step = false}); }

BOOST_AUTO_TEST_CASE(ranks_without_anything_to_do_take_part) {
    Bigram<float, Host> serial, model;
    NoExchange none;
    GradientExchange<float, Host> exchange(Communicator::duplicate(MPI_COMM_WORLD), model.parameters());
    auto const data = bigram_sequences(3, 1);
    auto const one_step = [&](auto &m, auto &x, std::vector<Batch> const &micro) {
        AdamW<float, Host> optimizer(m.parameters(), {});
        GradientStep<float, Host> step(m.parameters(), 1.0);
        Training<Host> context;
        return step(
            context, micro, [&](auto &c, Batch const &b) { return m.loss(c, b); }, optimizer, x, 1, 1e-2,
            [] { return RankNews(); });
    };
    StepResult const expected = one_step(serial, none, {join(data, 0, 3)});
    // The first rank has all, with an empty micro-batch last; the others have an empty one, or none at all.
    std::vector<Batch> micro;
    if (exchange.rank() == 0)
        micro = {join(data, 0, 3), Batch()};
    else if (exchange.rank() == 1)
        micro = {Batch()};
    StepResult const actual = one_step(model, exchange, micro);
    BOOST_TEST(actual.loss == expected.loss);
    BOOST_TEST(actual.labelled == expected.labelled);
    BOOST_TEST(compare_bits("weights", std::span(model.parameters().values().data(), 100),
                            std::span(serial.parameters().values().data(), 100)));
}

BOOST_AUTO_TEST_CASE(a_signal_on_one_rank_reaches_all) {
    Bigram<float, Host> model;
    GradientExchange<float, Host> exchange(Communicator::duplicate(MPI_COMM_WORLD), model.parameters());
    AdamW<float, Host> optimizer(model.parameters(), {});
    GradientStep<float, Host> step(model.parameters(), 1.0);
    Training<Host> context;
    bool const last = exchange.rank() == exchange.size() - 1;
    StepResult const done = step(
        context, std::vector<Batch>{join(bigram_sequences(2, 1), 0, 2)},
        [&](auto &c, Batch const &b) { return model.loss(c, b); }, optimizer, exchange, 1, 1e-2,
        [&] {
            return RankNews{last, exchange.rank() == 0 ? 7.0 : 100.0};
        });
    BOOST_TEST(done.news.signal);
    BOOST_TEST(done.news.elapsed == 7.0); // the first rank's clock counts
}

BOOST_AUTO_TEST_SUITE_END()
