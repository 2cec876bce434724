#pragma once

// Embeddings with weights of bfloat16 beside those of float, for a checkpoint of any family.

#include <protlm/core/philox.hpp>
#include <protlm/embed/embedding_model.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace protlm::test {

using States = std::vector<std::vector<double>>; // (T) rows of C

inline double cosine(std::vector<double> const &a, std::vector<double> const &b) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    return ab / std::sqrt(aa * bb);
}

/// The last layer's states of sequences of random tokens.
template <class Model>
States last_states(std::filesystem::path const &folder, std::vector<index_t> const &offsets) {
    using Exec = typename Model::execution_space;
    auto const model = Model::load_encoder(folder);
    std::vector<std::int32_t> tokens;
    CounterRandom const random{7, Purpose::sample};
    for (index_t t = 0; t < offsets.back(); ++t)
        tokens.push_back(static_cast<std::int32_t>(uniform_below(
            random(static_cast<std::uint64_t>(t), 0)[0], static_cast<std::uint32_t>(model.config().vocab_size))));
    Inference<Exec> context;
    auto const packed = make_packed(context, {tokens, {}, offsets});
    auto const state = model.hidden_state(context, packed, encoder_shape(model.config()).layers);
    std::vector<float> values(state.view().size());
    copy_to_host(context.exec(), values.data(), state.view());
    States rows;
    for (index_t t = 0; t < state.rows(); ++t)
        rows.emplace_back(values.begin() + t * state.cols(), values.begin() + (t + 1) * state.cols());
    return rows;
}

/// Each protein's mean vector has a cosine of at least 0.999, each residue's one of at least 0.99.
template <template <class, class> class Model>
void check_bfloat16(std::string const &name) {
    using Exec = Kokkos::DefaultExecutionSpace;
    auto const folder = std::filesystem::path(PROTLM_TEST_FIXTURES) / "reference" / name;
    std::vector<index_t> const offsets{0, 1, 8, 38, 38, 98, 218};
    auto const in_float = last_states<Model<float, Exec>>(folder, offsets);
    auto const in_bfloat16 = last_states<Model<bfloat16, Exec>>(folder, offsets);
    BOOST_TEST_REQUIRE(in_float.size() == in_bfloat16.size());
    double lowest_residue = 1, lowest_protein = 1;
    std::size_t equal = 0;
    for (std::size_t b = 0; b + 1 < offsets.size(); ++b) {
        std::vector<double> sum(in_float[0].size()), sum_bfloat16(sum.size());
        for (auto t = static_cast<std::size_t>(offsets[b]); t < static_cast<std::size_t>(offsets[b + 1]); ++t) {
            lowest_residue = std::min(lowest_residue, cosine(in_float[t], in_bfloat16[t]));
            equal += in_float[t] == in_bfloat16[t];
            for (std::size_t j = 0; j < sum.size(); ++j)
                sum[j] += in_float[t][j], sum_bfloat16[j] += in_bfloat16[t][j];
        }
        if (offsets[b + 1] > offsets[b])
            lowest_protein = std::min(lowest_protein, cosine(sum, sum_bfloat16));
    }
    BOOST_TEST_MESSAGE(name << ": lowest cosine of a residue " << lowest_residue << ", of a protein "
                            << lowest_protein);
    BOOST_TEST(lowest_residue >= 0.99, name << ": " << lowest_residue);
    BOOST_TEST(lowest_protein >= 0.999, name << ": " << lowest_protein);
    BOOST_TEST(equal == 0u, name << ": " << equal << " residues are those of float: nothing was rounded");
}

} // namespace protlm::test
