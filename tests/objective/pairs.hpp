#pragma once

#include <protlm/data/batch.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/gradient_step.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace protlm::test {

using Host = Kokkos::DefaultHostExecutionSpace;

/// Proteins with something to learn: "LAGV" again and again, from any of its letters on, 8 to 40 residues.
inline Batch learnable_batch(Vocabulary const &vocabulary, std::uint64_t first, std::size_t count = 12) {
    CounterRandom const random{3, Purpose::sample};
    Batch batch;
    for (std::uint64_t i = first; i < first + count; ++i) {
        auto const bits = random(i, 0);
        std::string protein;
        for (std::uint32_t t = 0; t < 8 + bits[0] % 33; ++t)
            protein += "LAGV"[(bits[1] + t) % 4];
        append_sequence(batch, vocabulary, encode(vocabulary, protein), {}, i);
    }
    return batch;
}

/// An objective's loss of a model as GradientStep takes it.
template <class Objective, class Model>
struct LossOf {
    Objective const &objective;
    Model const &model;
    Vocabulary const &vocabulary;

    template <class Context>
    auto operator()(Context &context, Batch const &batch) const {
        return objective.loss(context, model, batch, vocabulary, 1);
    }
    auto counts(Batch const &batch) const requires requires { objective.counts(batch, vocabulary, std::uint64_t(1)); }
    { return objective.counts(batch, vocabulary, 1); }
};

/// Trains a tiny model for some steps and passes when the loss falls to `share` of what it was; means over five steps.
template <class Objective, class Model>
void test_learns(Objective const &objective, Model &model, Vocabulary const &vocabulary, double share,
                 index_t steps = 40) {
    using S = typename Model::scalar_type;
    objective.validate(vocabulary);
    model.initialise(11);
    GradientStep<S, Host> step(model.parameters(), 1.0);
    AdamW<S, Host> optimizer(model.parameters(), {});
    Training<Host> context;
    NoExchange exchange;
    LossOf<Objective, Model> const loss{objective, model, vocabulary};
    double first = 0, last = 0;
    for (index_t n = 0; n < steps; ++n) {
        std::vector<Batch> const batches{learnable_batch(vocabulary, static_cast<std::uint64_t>(n) * 24),
                                         learnable_batch(vocabulary, static_cast<std::uint64_t>(n) * 24 + 12)};
        auto const result = step(context, batches, loss, optimizer, exchange, n + 1, 0.01, [] { return RankNews{}; });
        BOOST_REQUIRE(result.labelled > 0);
        (n < 5 ? first : last) += n < 5 || n >= steps - 5 ? result.loss / 5 : 0.0;
    }
    BOOST_TEST(last < share * first, Objective::predicts << ": loss " << first << " fell to " << last
                                                         << ", expected below " << share * first);
}

/// Rows of `logits` (R, V) as bytes of numbers, to compare exactly.
template <class Tensor>
std::vector<std::vector<double>> rows_of_values(Tensor const &logits) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), logits.view());
    std::vector<std::vector<double>> rows(host.extent(0));
    for (std::size_t i = 0; i < host.extent(0); ++i)
        for (std::size_t j = 0; j < host.extent(1); ++j)
            rows[i].push_back(static_cast<double>(host(i, j)));
    return rows;
}

/// Which rows differ in any bit.
inline std::set<std::size_t> changed_rows(std::vector<std::vector<double>> const &a,
                                          std::vector<std::vector<double>> const &b) {
    BOOST_REQUIRE_EQUAL(a.size(), b.size());
    std::set<std::size_t> changed;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i])
            changed.insert(i);
    return changed;
}

/// The batch with another residue in one row.
inline Batch with_another_token(Batch batch, Vocabulary const &vocabulary, std::size_t row) {
    auto &token = batch.tokens[row];
    token = token == vocabulary.residues[0] ? vocabulary.residues[1] : vocabulary.residues[0];
    return batch;
}

/// Passes when a token's change reaches exactly the rows of its own sequence from `reach(row)` on.
/// @param logits  of a batch, one row a token
template <class Logits, class Reach>
void test_reach(Batch const &batch, Vocabulary const &vocabulary, Logits logits, Reach reach) {
    auto const before = logits(batch);
    for (index_t b = 0; b < batch.sequences(); ++b)
        for (auto row = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)]);
             row < static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b) + 1]); ++row) {
            std::set<std::size_t> expected;
            for (auto other = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)]);
                 other < static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b) + 1]); ++other)
                if (reach(row, other))
                    expected.insert(other);
            auto const changed = changed_rows(before, logits(with_another_token(batch, vocabulary, row)));
            BOOST_TEST(changed == expected, boost::test_tools::per_element());
        }
}

} // namespace protlm::test
