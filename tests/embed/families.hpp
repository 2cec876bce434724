#pragma once

// What holds for the embeddings of every family. A family is a struct with
//     Model<S, Exec>  the model's template, small_config(), vocabulary()

#include <embed/models.hpp>
#include <protlm/embed/forecast.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <algorithm>
#include <numeric>

namespace protlm::test {

using HostExec = Kokkos::DefaultHostExecutionSpace;

template <class Family, class S = float, class Exec = Kokkos::DefaultExecutionSpace>
auto made_family(typename Family::Config const &config = Family::small_config()) {
    typename Family::template Model<S, Exec> model(config);
    model.initialise(5);
    return model;
}

/// Numbers 0 ... n-1 in an order by chance, always the same.
inline std::vector<index_t> shuffled(index_t n) {
    std::vector<std::pair<std::uint32_t, index_t>> keyed;
    CounterRandom const random{3, Purpose::sample};
    for (index_t i = 0; i < n; ++i)
        keyed.emplace_back(random(static_cast<std::uint64_t>(i), 0)[0], i);
    std::sort(keyed.begin(), keyed.end());
    std::vector<index_t> order;
    for (auto const &entry : keyed)
        order.push_back(entry.second);
    return order;
}

/// Lengths by chance: half of them below 20, one in a hundred around 256, and one of none.
inline std::vector<index_t> random_lengths(index_t count) {
    CounterRandom const random{11, Purpose::sample};
    std::vector<index_t> lengths{0};
    for (index_t i = 1; i < count; ++i) {
        auto const bits = random(static_cast<std::uint64_t>(i), 0);
        index_t const most = i % 100 == 50 ? 270 : index_t(1) << (2 + uniform_below(bits[0], 6));
        lengths.push_back(1 + uniform_below(bits[1], static_cast<std::uint32_t>(most)));
    }
    return lengths;
}

/// Fails when a member's vectors or residues differ by a bit.
template <class A>
void compare_members(Collected<A> const &actual, Collected<A> const &expected, std::vector<index_t> const &members,
                     char const *what) {
    std::size_t different = 0;
    for (index_t const i : members) {
        auto const p = static_cast<std::size_t>(i);
        auto const same = [](std::vector<A> const &a, std::vector<A> const &b) {
            return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
        };
        different += !same(actual.vectors[p], expected.vectors[p]) || !same(actual.residues[p], expected.residues[p]);
    }
    BOOST_TEST(different == 0u, what << ": " << different << " of " << members.size() << " proteins differ");
}

/// A thousand proteins have the same bits in batches of any size, in any order, on any number of ranks and threads.
template <class Family>
void a_thousand_proteins_have_the_same_bits() {
    auto const vocabulary = Family::vocabulary();
    auto const proteins = random_proteins(random_lengths(1000), 1, vocabulary);
    auto const model = made_family<Family>();
    Embedder alone(model, vocabulary, {.token_budget = 1});
    auto const expected = collect(alone, proteins, proteins.all());
    BOOST_REQUIRE(expected.order.size() == 1000u);
    BOOST_TEST(std::any_of(expected.residues[50].begin(), expected.residues[50].end(), [](float v) { return v != 0; }));
    for (index_t const budget : {700, 100000}) {
        Embedder embedder(model, vocabulary, {.token_budget = budget});
        auto const order = shuffled(proteins.size());
        compare_members(collect(embedder, proteins, order), expected, order, "batches");
        for (index_t rank = 0; budget == 700 && rank < 3; ++rank) {
            auto const mine = embedder.share(proteins, rank, 3);
            compare_members(collect(embedder, proteins, mine), expected, mine, "ranks");
        }
    }
#if defined(KOKKOS_ENABLE_SERIAL) && defined(KOKKOS_ENABLE_OPENMP)
    if constexpr (std::same_as<Kokkos::DefaultExecutionSpace, Kokkos::OpenMP>) {
        auto const single = made_family<Family, float, Kokkos::Serial>();
        Embedder one(single, vocabulary, {.token_budget = 3000});
        compare_members(collect(one, proteins, proteins.all()), expected, proteins.all(), "threads");
    }
#endif
}

/// Several layers in one pass are what each is by itself, in the order asked for; -1 is the last.
template <class Family>
void several_layers_are_each_by_itself() {
    auto const vocabulary = Family::vocabulary();
    auto const proteins = random_proteins({33, 0, 5, 80, 41}, 1, vocabulary);
    auto const model = made_family<Family>();
    index_t const last = encoder_shape(model.config()).layers;
    Embedder together(model, vocabulary, {.layers = {-1, 0, 1}, .token_budget = 60});
    BOOST_TEST(together.options().layers == (std::vector<index_t>{last, 0, 1}), boost::test_tools::per_element());
    std::vector<Collected<float>> all(3);
    for (auto &one : all)
        one.vectors.resize(5), one.residues.resize(5);
    together(proteins, [&](ProteinEmbedding<float> const &result) {
        BOOST_REQUIRE(result.slots() == 3);
        for (std::size_t slot = 0; slot < 3; ++slot) {
            auto const v = result.vector(static_cast<index_t>(slot)), r = result.residues(static_cast<index_t>(slot));
            all[slot].vectors[static_cast<std::size_t>(result.protein)].assign(v.begin(), v.end());
            all[slot].residues[static_cast<std::size_t>(result.protein)].assign(r.begin(), r.end());
        }
    });
    for (std::size_t slot = 0; slot < 3; ++slot) {
        Embedder single(model, vocabulary, {.layers = {together.options().layers[slot]}});
        compare_members(all[slot], collect(single, proteins, proteins.all()), proteins.all(), "layers");
    }
    BOOST_TEST(all[0].residues[3] != all[2].residues[3]);
    // what Embedder hands out is the model's own state
    Batch batch;
    append_sequence(batch, vocabulary, proteins.tokens(3), std::nullopt, 0);
    Inference<Kokkos::DefaultExecutionSpace> context;
    auto const packed = make_packed(context, {batch.tokens, {}, batch.offsets});
    for (std::size_t slot = 0; slot < 3; ++slot) {
        auto const state = model.hidden_state(context, packed, together.options().layers[slot]);
        std::vector<float> values(state.view().size());
        copy_to_host(context.exec(), values.data(), state.view());
        auto const &actual = all[slot].residues[3];
        auto const begin = values.begin() + leading_tokens(vocabulary) * encoder_shape(model.config()).width;
        BOOST_TEST(std::equal(actual.begin(), actual.end(), begin));
    }
}

/// Only the encoder is read from a checkpoint with everything, and gives the same bits.
template <class Family>
void the_encoder_alone_is_enough() {
    TemporaryFolder const folder;
    auto const model = made_family<Family>();
    model.save(folder.path());
    auto const encoder = decltype(made_family<Family>())::load_encoder(folder.path());
    BOOST_TEST(encoder.parameters().table().extent() < model.parameters().table().extent());
    auto const vocabulary = Family::vocabulary();
    auto const whole = embed(model, {"MKTAYIAKQR"}, {}, vocabulary),
               part = embed(encoder, {"MKTAYIAKQR"}, {}, vocabulary);
    BOOST_TEST(compare_bits("residues", part[0].residues, whole[0].residues));
}

/// The pool's peak is within a quarter of the forecast, for one layer and for several.
template <class Family>
void the_forecast_is_near(typename Family::Config const &config) {
    auto const model = made_family<Family>(config);
    auto const vocabulary = Family::vocabulary();
    for (auto const &layers : {std::vector<index_t>{}, std::vector<index_t>{0, 1, 2}})
        for (auto const &[length, count] : {std::pair<index_t, index_t>{100, 40}, {1500, 1}}) {
            auto const lengths = std::vector<index_t>(static_cast<std::size_t>(count), length);
            auto const proteins = random_proteins(lengths, 1, vocabulary);
            Embedder embedder(model, vocabulary, {.layers = layers});
            auto const forecast =
                forecast_embedding(embedder, proteins, model.parameters().table().extent()).activations;
            embedder(proteins, [](auto const &) {});
            auto const held = static_cast<double>(embedder.context().pool().statistics().reserved_bytes);
            BOOST_TEST((forecast > 0.9 * held && forecast < 1.4 * held), "length " << length << ", " << layers.size()
                                                                                    << " layers: " << forecast
                                                                                    << ", measured " << held);
        }
}

} // namespace protlm::test
