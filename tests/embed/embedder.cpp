// The law of the whole: a protein's embedding is a function of protein and model alone, to the last bit.

#include <embed/models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

#include <protlm/embed/model_folder.hpp>
#include <support/temporary_folder.hpp>

#include <algorithm>
#include <cmath>

#ifdef KOKKOS_ENABLE_OPENMP
#include <omp.h>
#endif

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double, bfloat16>;

std::vector<index_t> const lengths{33, 1, 257, 64, 400, 2, 0, 129, 33, 385, 12, 7};

BOOST_AUTO_TEST_SUITE(embedder)

BOOST_AUTO_TEST_CASE_TEMPLATE(a_protein_has_the_same_bits_in_any_company, Case, Cases) {
    auto const model = small_bert<typename Case::scalar, typename Case::device>();
    auto const proteins = random_proteins(lengths);
    Embedder alone(model, Vocabulary::protbert(), {.token_budget = 1});
    auto const expected = collect(alone, proteins, proteins.all());
    for (index_t const budget : {50, 500, 100000})
        for (bool const reversed : {false, true}) {
            auto members = proteins.all();
            if (reversed)
                std::reverse(members.begin(), members.end());
            Embedder embedder(model, Vocabulary::protbert(), {.token_budget = budget});
            auto const actual = collect(embedder, proteins, members);
            for (std::size_t i = 0; i < lengths.size(); ++i) {
                BOOST_TEST(compare_bits("vector", actual.vectors[i], expected.vectors[i]));
                if (lengths[i] > 0)
                    BOOST_TEST(compare_bits("residues", actual.residues[i], expected.residues[i], 48));
            }
        }
}

BOOST_AUTO_TEST_CASE(ranks_do_not_change_a_bit_and_embed_every_protein_once) {
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 300});
    auto const expected = collect(embedder, proteins, proteins.all());
    for (index_t const ranks : {2, 3, 20}) {
        std::vector<int> times(lengths.size(), 0);
        for (index_t rank = 0; rank < ranks; ++rank) {
            auto const mine = embedder.share(proteins, rank, ranks);
            auto const actual = collect(embedder, proteins, mine);
            for (index_t const i : mine) {
                ++times[static_cast<std::size_t>(i)];
                BOOST_TEST(compare_bits("vector", actual.vectors[static_cast<std::size_t>(i)],
                                        expected.vectors[static_cast<std::size_t>(i)]));
            }
        }
        BOOST_TEST(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
    }
}

#ifdef KOKKOS_ENABLE_OPENMP
BOOST_AUTO_TEST_CASE(one_thread_and_many_give_the_same_bits) {
    auto const proteins = random_proteins(lengths);
    auto const many_model = small_bert<float, Kokkos::OpenMP>();
    Embedder many(many_model, Vocabulary::protbert(), {.token_budget = 400});
    auto const expected = collect(many, proteins, proteins.all());
#ifdef KOKKOS_ENABLE_SERIAL
    auto const one_model = small_bert<float, Kokkos::Serial>();
    Embedder one(one_model, Vocabulary::protbert(), {.token_budget = 400});
    auto const actual = collect(one, proteins, proteins.all());
    for (std::size_t i = 0; i < lengths.size(); ++i)
        BOOST_TEST(compare_bits("vector", actual.vectors[i], expected.vectors[i]));
#endif
    BOOST_TEST(expected.order.size() == lengths.size());
}
#endif

BOOST_AUTO_TEST_CASE(long_proteins_come_first) {
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 300});
    auto const order = collect(embedder, proteins, proteins.all()).order;
    BOOST_REQUIRE(order.size() == lengths.size());
    BOOST_TEST(std::is_sorted(order.begin(), order.end(),
                              [&](index_t a, index_t b) { return proteins.length(a) > proteins.length(b); }));
}

BOOST_AUTO_TEST_CASE(residues_are_the_encoders_rows_without_special_tokens) {
    auto const model = small_bert<double>();
    auto const proteins = random_proteins({19});
    for (index_t const layer : {0, 1, 2}) {
        Embedder embedder(model, Vocabulary::protbert(), {.layers = {layer}});
        auto const actual = collect(embedder, proteins, proteins.all());
        Batch batch;
        append_sequence(batch, Vocabulary::protbert(), proteins.tokens(0), std::nullopt, 0);
        Inference<Kokkos::DefaultExecutionSpace> context;
        std::vector<Bert<double>::Activations> states;
        model.encode(context, make_packed(context, {batch.tokens, batch.token_types, batch.offsets}), &states);
        auto const state = states[static_cast<std::size_t>(layer)];
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), state.view());
        BOOST_REQUIRE(host.extent(0) == 21u);
        std::vector<double> const expected(host.data() + 48, host.data() + 20 * 48);
        BOOST_TEST(compare_bits("residues", actual.residues[0], expected, 48));
        std::vector<double> mean(48, 0.0);
        for (std::size_t t = 0; t < 19; ++t)
            for (std::size_t j = 0; j < 48; ++j)
                mean[j] += expected[t * 48 + j] / 19;
        BOOST_TEST(compare("mean", actual.vectors[0], mean, {.relative = 1e-13, .absolute = 1e-13}));
    }
}

BOOST_AUTO_TEST_CASE(without_residues_there_are_none) {
    auto const model = small_bert();
    auto const proteins = random_proteins({5, 9});
    Embedder embedder(model, Vocabulary::protbert(), {.per_residue = false});
    auto const result = collect(embedder, proteins, proteins.all());
    BOOST_TEST(result.residues[1].empty());
    BOOST_TEST(result.vectors[1].size() == 48u);
}

BOOST_AUTO_TEST_CASE(a_protein_that_is_too_long_is_named_with_both_lengths) {
    auto const model = small_bert(64);
    auto const proteins = random_proteins({62, 3, 63});
    Embedder embedder(model, Vocabulary::protbert(), {.windows = std::nullopt});
    int embedded = 0;
    auto const text = message_of([&] { embedder(proteins, [&](auto const &) { ++embedded; }); });
    BOOST_TEST(text == "protein protein 2 has 63 residues, but the model has 64 positions, which is 62 residues and 2 "
                       "special tokens");
    BOOST_TEST(embedded == 0);
    embedder(proteins, {0, 1}, [&](auto const &) { ++embedded; });
    BOOST_TEST(embedded == 2);
}

BOOST_AUTO_TEST_CASE(options_that_cannot_be_are_errors) {
    auto const model = small_bert();
    BOOST_TEST(message_of([&] { Embedder embedder(model, Vocabulary::protbert(), {.layers = {3}}); }) ==
               "Embedder: layer is 3, but the model has 2");
    auto const bare = Vocabulary::from_pieces({"<pad>", "</s>", "A", "C", "X"});
    BOOST_TEST(message_of([&] { Embedder embedder(model, bare, {.pooling = Pooling::cls}); }) ==
               "Embedder: pooling is cls, but the vocabulary has no [CLS]");
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 0});
    BOOST_TEST(message_of([&] { embedder(random_proteins({3}), [](auto const &) {}); }) ==
               "plan_batches: the token budget is 0, expected at least 1");
}

BOOST_AUTO_TEST_CASE(text_in_vectors_out) {
    auto const model = small_bert();
    auto const pieces = Vocabulary::protbert();
    auto const result = embed(model, {"MKTAYIAKQR", "sk tz\np", ""}, {}, pieces);
    BOOST_REQUIRE(result.size() == 3u);
    BOOST_TEST(result[0].length == 10);
    BOOST_TEST(result[1].length == 5);
    BOOST_TEST(result[2].length == 0);
    BOOST_TEST(result[0].residues.size() == 480u);
    BOOST_TEST(compare_bits("alone", embed(model, {"SKTZP"}, {}, pieces)[0].vector, result[1].vector));
    BOOST_TEST(std::all_of(result[2].vector.begin(), result[2].vector.end(), [](float v) { return v == 0; }));
    auto const last = result[1].residue(4);
    std::vector<float> const expected(result[1].residues.end() - 48, result[1].residues.end());
    BOOST_TEST(compare_bits("residue", last, expected));
    BOOST_TEST(message_of([&] { result[1].residue(5); }) == "Embedding: residue 5 of 5");
    BOOST_TEST(message_of([&] {
                   embed(model, {"MKT", "MK1"}, {}, pieces);
               }) == "embed: protein number 2: encode: letter '1' at position 3 is not in the alphabet");
}

BOOST_AUTO_TEST_CASE(a_loaded_model_has_the_vocabulary_of_its_folder) {
    TemporaryFolder const folder;
    std::filesystem::create_directories(folder / "model");
    auto const made = small_bert();
    made.save(folder / "model");
    auto pieces = Vocabulary::protbert().pieces;
    std::swap(pieces[5], pieces[17]); // other numbers for two residues
    auto const own = Vocabulary::from_pieces(pieces);
    folder.write("model/vocab.txt", vocabulary_text(own));
    auto const model = Bert<>::load_encoder(folder / "model");
    BOOST_TEST((vocabulary_of(model) == own));
    auto const expected = embed(made, {"MKTALIAKQR"}, {}, own)[0].residues;
    BOOST_TEST(compare_bits("embed", embed(model, {"MKTALIAKQR"})[0].residues, expected));
    BOOST_TEST((embed(made, {"MKTALIAKQR"}, {}, Vocabulary::protbert())[0].residues != expected));
    auto const device = embed_on_device(model, {"MKTALIAKQR"});
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), device.residues[0]);
    BOOST_TEST(compare_bits("device", std::vector<float>(host.data(), host.data() + host.size()), expected));
    BOOST_TEST(message_of([&] { embed(made, {"MK"}); }) ==
               "embed: the model was not loaded from a folder, so its vocabulary is not known; give it");
    folder.write("model/vocab.txt", "[UNK]\nA\nA\n");
    BOOST_TEST(message_of([&] { embed(model, {"MK"}); }).find("vocab.txt: line 3: piece \"A\" is already") !=
               std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_allocation_once_batches_have_been_seen) {
    auto const model = small_bert();
    auto const proteins = random_proteins({300, 280, 250, 200, 150, 100});
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 600});
    embedder(proteins, [](auto const &) {});
    auto const before = embedder.context().pool().statistics().allocations;
    embedder(proteins, [](auto const &) {});
    BOOST_TEST(before > 0u);
    BOOST_TEST(embedder.context().pool().statistics().allocations == before);
}

BOOST_AUTO_TEST_CASE(a_models_folder_or_a_runs_folder_names_a_model) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    std::filesystem::create_directories(folder / "model");
    model.save(folder / "model");
    BOOST_TEST(find_model(folder / "model") == folder / "model");
    BOOST_TEST(message_of([&] {
                   read_model_vocabulary(folder / "model", 37, "xlnet");
               }).ends_with("tokenizer.json, and the vocabulary of a released xlnet is not built in"));
    BOOST_TEST((read_model_vocabulary(folder / "model", 30) == Vocabulary::protbert()));
    BOOST_TEST(message_of([&] {
                   read_model_vocabulary(folder / "model", 31);
               }).ends_with("tokenizer.json, and a model of 31 tokens does not have ProtBert's vocabulary"));
    folder.write("model/vocab.txt", "[PAD]\n[CLS]\n[SEP]\nA\nC\nX\n");
    BOOST_TEST(read_model_vocabulary(folder / "model", 6).size() == 6);
    BOOST_TEST(message_of([&] {
                   read_model_vocabulary(folder / "model", 5);
               }).ends_with("has 6 pieces, but the model's vocab_size is 5"));
    for (index_t const step : {20, 100}) {
        CheckpointWriter checkpoint(folder / "run" / step_folder_name(step));
        checkpoint.write("config.json", "{}");
        checkpoint.commit();
    }
    BOOST_TEST(find_model(folder / "run") == folder / "run" / "step-00000100");
    std::filesystem::create_directories(folder / "pair" / "discriminator");
    folder.write("pair/discriminator/config.json", "{}");
    BOOST_TEST(find_model(folder / "pair") == folder / "pair" / "discriminator");
    BOOST_TEST(message_of([&] { find_model(folder / "nowhere"); }).ends_with("nowhere: no such folder"));
    auto const hash = model_sha256(CheckpointFolder(folder / "model"));
    BOOST_TEST(hash == sha256_file(folder / "model" / "model.safetensors"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
