#include <embed/models.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/embed/write_embeddings.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

std::vector<index_t> const lengths{33, 1, 257, 0, 64, 12, 64};

EmbeddingInfo info(DataType precision = DataType::f32) {
    EmbeddingInfo result;
    result.model = "a model";
    result.model_sha256 = "1234";
    result.precision = precision;
    return result;
}

BOOST_AUTO_TEST_SUITE(write_embeddings_suite)

BOOST_AUTO_TEST_CASE(a_file_holds_what_the_embedder_gives_in_the_order_of_the_input) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    Embedder embedder(model, Vocabulary::protbert(), {.pooling = Pooling::max, .layer = 1, .token_budget = 100});
    auto const expected = collect(embedder, proteins, proteins.all());
    index_t last = 0, residues = 0;
    auto const progress = [&](index_t done, index_t so_far) {
        BOOST_TEST(done == last + 1);
        last = done;
        residues = so_far;
    };
    write_embeddings(embedder, proteins, proteins.all(), folder / "a.h5", info(), {}, progress);
    BOOST_TEST(residues == proteins.residues());
    EmbeddingReader const file(folder / "a.h5");
    BOOST_TEST(file.ids() == proteins.ids(), boost::test_tools::per_element());
    BOOST_TEST(file.lengths() == lengths, boost::test_tools::per_element());
    BOOST_TEST(file.info().pooling == "max");
    BOOST_TEST(file.info().layer == 1);
    BOOST_TEST(file.info().width == 48);
    BOOST_TEST(file.info().model == "a model");
    for (index_t i = 0; i < file.size(); ++i) {
        auto const at = static_cast<std::size_t>(i);
        BOOST_TEST(compare_bits("vector", file.protein(i), expected.vectors[at]));
        if (lengths[at] > 0)
            BOOST_TEST(compare_bits("residues", file.residues(i), expected.residues[at], 48));
    }
}

BOOST_AUTO_TEST_CASE(parts_of_any_number_of_processes_merge_to_the_file_of_one) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    auto const quiet = [](index_t, index_t) {};
    for (bool const per_residue : {true, false}) {
        Embedder embedder(model, Vocabulary::protbert(), {.per_residue = per_residue, .token_budget = 100});
        write_embeddings(embedder, proteins, proteins.all(), folder / "one.h5", info(), {}, quiet);
        EmbeddingReader const one(folder / "one.h5");
        for (index_t const ranks : {2, 3, 9}) {
            for (index_t rank = 0; rank < ranks; ++rank)
                write_embeddings(embedder, proteins, embedder.share(proteins, rank, ranks), folder / "many.h5", info(),
                                 {rank, ranks}, quiet);
            merge_embedding_parts(folder / "many.h5", ranks);
            EmbeddingReader const many(folder / "many.h5");
            BOOST_TEST(many.ids() == one.ids(), boost::test_tools::per_element());
            BOOST_TEST((many.info() == one.info()));
            BOOST_TEST(compare_bits("vectors", many.proteins(0, many.size()), one.proteins(0, one.size()), 48));
            for (index_t i = 0; per_residue && i < one.size(); ++i)
                if (proteins.length(i) > 0)
                    BOOST_TEST(compare_bits("residues", many.residues(i), one.residues(i), 48));
        }
    }
}

BOOST_AUTO_TEST_CASE(half_precision_is_the_rounded_value) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    auto const proteins = random_proteins({20});
    Embedder embedder(model, Vocabulary::protbert());
    auto const expected = collect(embedder, proteins, proteins.all());
    write_embeddings(embedder, proteins, proteins.all(), folder / "half.h5", info(DataType::f16), {},
                     [](index_t, index_t) {});
    std::vector<float> rounded;
    for (float const value : expected.residues[0])
        rounded.push_back(static_cast<float>(half(value)));
    BOOST_TEST(compare_bits("residues", EmbeddingReader(folder / "half.h5").residues(0), rounded, 48));
}

BOOST_AUTO_TEST_CASE(an_error_leaves_no_file) {
    TemporaryFolder const folder;
    auto const model = small_bert(64);
    auto const proteins = random_proteins({10, 100});
    Embedder embedder(model, Vocabulary::protbert());
    auto const quiet = [](index_t, index_t) {};
    auto const text =
        message_of([&] { write_embeddings(embedder, proteins, proteins.all(), folder / "a.h5", info(), {}, quiet); });
    BOOST_TEST(text.starts_with("protein protein 1 has 100 residues, but the model has 64 positions"));
    BOOST_TEST(std::filesystem::is_empty(folder.path()));
    BOOST_TEST(message_of([&] { write_embeddings(embedder, proteins, {0}, folder / "a.h5", info(), {}, quiet); }) ==
               "write_embeddings: 1 of 2 proteins for a single process");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
