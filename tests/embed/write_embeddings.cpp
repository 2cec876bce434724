#include <embed/models.hpp>
#include <io/full_disk.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/embed/report.hpp>

#include <fstream>

namespace {

using namespace protlm;
using namespace protlm::test;

std::vector<index_t> const lengths{33, 1, 257, 0, 64, 12, 64};

std::shared_future<std::string> hash(std::string const &text = "1234") {
    std::promise<std::string> promise;
    promise.set_value(text);
    return promise.get_future().share();
}

/// What a process that stops in the middle throws.
struct Stopped {};

struct Setting {
    EmbedOptions options{.token_budget = 100};
    DataType precision = DataType::f32;
    EmbeddingLayout layout = EmbeddingLayout::packed;
    int gzip = 0;
    bool force = false;
};

/// One process's work, which ends after `most` proteins as if it were stopped.
void work(Embedder<Bert<float>> &embedder, Proteins const &proteins, EmbeddingJob &job, EmbeddingShare share,
          index_t most) {
    auto const mine = share_of(proteins, job.missing(), embedder.shape(), embedder.special(), share);
    write_embeddings(embedder, proteins, mine, job, [&](EmbeddingProgress const &now) {
        if (now.proteins > most)
            throw Stopped();
    });
}

EmbeddingInfo info_of(Embedder<Bert<float>> const &embedder, Setting const &setting) {
    auto info = embedding_info(embedder.options(), embedder.shape(), setting.precision, setting.layout, setting.gzip);
    info.model = "a model";
    return info;
}

/// A job by `ranks` processes one after the other. @returns whether it came to its end
bool run(std::filesystem::path const &path, Proteins const &proteins, Setting const &setting, index_t ranks = 1,
         index_t most = 1000) {
    auto const model = small_bert();
    Embedder embedder(model, Vocabulary::protbert(), setting.options);
    auto const info = info_of(embedder, setting);
    std::vector<std::unique_ptr<EmbeddingJob>> jobs;
    for (index_t rank = 0; rank < ranks; ++rank)
        jobs.push_back(std::make_unique<EmbeddingJob>(path, info, proteins, "float32"));
    jobs[0]->begin(hash(), setting.force);
    try {
        for (index_t rank = 0; rank < ranks; ++rank)
            if (auto &job = *jobs[std::size_t(rank)]; job.open())
                work(embedder, proteins, job, {rank, ranks}, most);
    } catch (Stopped const &) {
        return false;
    }
    jobs[0]->finish();
    return true;
}

void check_same(EmbeddingReader const &one, EmbeddingReader const &other) {
    BOOST_TEST((one.info() == other.info()));
    BOOST_TEST(one.ids() == other.ids(), boost::test_tools::per_element());
    for (index_t i = 0; i < one.size(); ++i)
        for (index_t slot = 0; slot < one.info().slots(); ++slot) {
            if (one.info().per_protein())
                BOOST_TEST(compare_bits("vector", one.protein(i, slot), other.protein(i, slot)));
            if (one.info().per_residue && one.lengths()[std::size_t(i)] > 0)
                BOOST_TEST(compare_bits("residues", one.residues(i, slot), other.residues(i, slot)));
        }
}

bool has(std::string const &text, std::string const &part) { return text.find(part) != text.npos; }

BOOST_AUTO_TEST_SUITE(write_embeddings_suite)

BOOST_AUTO_TEST_CASE(a_file_holds_what_the_embedder_gives_in_the_order_of_the_input) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    Setting const setting{.options = {.pooling = Pooling::max, .layers = {1}, .token_budget = 100}};
    Embedder embedder(model, Vocabulary::protbert(), setting.options);
    auto const expected = collect(embedder, proteins, proteins.all());
    BOOST_TEST(run(folder / "a.h5", proteins, setting));
    EmbeddingReader const file(folder / "a.h5");
    BOOST_TEST(file.ids() == proteins.ids(), boost::test_tools::per_element());
    BOOST_TEST(file.lengths() == lengths, boost::test_tools::per_element());
    BOOST_TEST(file.info().pooling == "max");
    BOOST_TEST(file.info().layers == std::vector<index_t>{1}, boost::test_tools::per_element());
    BOOST_TEST(file.info().width == 48);
    BOOST_TEST(file.info().model == "a model");
    BOOST_TEST(file.info().model_sha256 == "1234");
    for (index_t i = 0; i < file.size(); ++i) {
        auto const at = static_cast<std::size_t>(i);
        BOOST_TEST(compare_bits("vector", file.protein(i), expected.vectors[at]));
        if (lengths[at] > 0)
            BOOST_TEST(compare_bits("residues", file.residues(i), expected.residues[at], 48));
    }
    BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

BOOST_AUTO_TEST_CASE(stopped_again_and_again_by_any_number_of_processes_it_ends_as_if_never_stopped) {
    auto const proteins = random_proteins(lengths);
    for (auto const &setting :
         {Setting{}, Setting{.options = {.layers = {0, 2, 1}, .token_budget = 100}, .precision = DataType::bf16},
          Setting{.options = {.pooling = Pooling::none}, .layout = EmbeddingLayout::per_id, .gzip = 1},
          Setting{.options = {.per_residue = false}, .precision = DataType::f16, .gzip = 2}}) {
        TemporaryFolder const folder;
        BOOST_TEST(run(folder / "one.h5", proteins, setting));
        EmbeddingReader const one(folder / "one.h5");
        index_t stops = 0;
        for (index_t ranks = 1; !run(folder / "many.h5", proteins, setting, ranks, 1); ranks = ranks % 3 + 1) {
            BOOST_REQUIRE(++stops < 20);
            BOOST_TEST(!std::filesystem::exists(folder / "many.h5"));
            BOOST_TEST(has(message_of([&] { EmbeddingReader(folder / "many.h5.partial"); }), "is incomplete"));
        }
        BOOST_TEST(stops > 1);
        check_same(one, EmbeddingReader(folder / "many.h5"));
        BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
        BOOST_TEST(run(folder / "many.h5", proteins, setting)); // complete: nothing is done again
    }
}

BOOST_AUTO_TEST_CASE(values_that_were_lost_are_computed_again) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths);
    run(folder / "one.h5", proteins, {});
    BOOST_TEST(!run(folder / "a.h5", proteins, {}, 1, 4));
    {
        auto const file = Hdf5File::open_writable(folder / "a.h5.partial");
        std::vector<float> const zeros(48 * 7);
        file.root().dataset("proteins").write(0, 7, zeros.data());
    }
    BOOST_TEST(run(folder / "a.h5", proteins, {}));
    check_same(EmbeddingReader(folder / "one.h5"), EmbeddingReader(folder / "a.h5"));
}

BOOST_AUTO_TEST_CASE(another_command_does_not_go_on_with_a_job) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths), others = random_proteins(lengths, 2);
    auto const path = folder / "a.h5";
    auto const message = [&](Proteins const &input, Setting const &setting) {
        return message_of([&] { run(path, input, setting); });
    };
    BOOST_TEST(!run(path, proteins, {}, 1, 3));
    BOOST_TEST(has(message(others, {}), "a.h5.job: was begun with something else: input_sha256 was "));
    BOOST_TEST(has(message(proteins, {.precision = DataType::f16}), "precision was float32 and is float16. Finish"));
    BOOST_TEST(has(message(proteins, {.options = {.pooling = Pooling::max}}), "pooling was mean and is max"));
    BOOST_TEST(has(message(proteins, {.options = {.layers = {0}}}), "layers was 2 and is 0"));
    BOOST_TEST(run(path, proteins, {.precision = DataType::f16, .force = true}));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f16));
    BOOST_TEST(has(message(proteins, {}), "a.h5: exists; --force replaces it"));
    BOOST_TEST(!run(path, proteins, {.force = true}, 1, 3));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f16)); // until the new one is complete
    BOOST_TEST(run(path, proteins, {.force = true}));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f32));
}

BOOST_AUTO_TEST_CASE(a_job_that_another_process_works_on_is_left_alone) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins({5});
    auto const model = small_bert();
    Embedder embedder(model, Vocabulary::protbert());
    EmbeddingJob first(folder / "a.h5", info_of(embedder, {}), proteins, "float32");
    first.begin(hash(), false);
    auto const lock = detail::FileDescriptor(folder / "a.h5.job" / "lock", O_RDWR);
    BOOST_TEST(::flock(lock.get(), LOCK_EX | LOCK_NB) != 0);
}

BOOST_AUTO_TEST_CASE(errors_say_what_is_wrong) {
    TemporaryFolder const folder;
    auto const model = small_bert(64);
    auto const proteins = random_proteins({10, 100});
    Embedder embedder(model, Vocabulary::protbert());
    {
        EmbeddingJob job(folder / "a.h5", info_of(embedder, {}), proteins, "float32");
        job.begin(hash(), false);
        job.open();
        auto const text = message_of([&] { work(embedder, proteins, job, {}, 9); });
        BOOST_TEST(has(text, "protein protein 1 has 100 residues, but the model has 64 positions"));
        BOOST_TEST(has(message_of([&] { job.finish(); }), "a.h5: 2 proteins are not finished, for example protein 0"));
    }
    folder.write("file", "");
    EmbeddingJob job(folder / "file" / "a.h5", info_of(embedder, {}), proteins, "float32");
    BOOST_TEST(
        has(message_of([&] { job.begin(hash(), false); }), "file/a.h5.job: cannot make folder: Not a directory"));
}

BOOST_AUTO_TEST_CASE(a_disk_that_is_too_small_is_noticed_before_and_a_full_one_keeps_what_is_finished) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths);
    {
        FullDisk const full(40000); // 431 residues of 192 bytes do not fit
        BOOST_TEST(has(message_of([&] { run(folder / "a.h5", proteins, {}); }), "a.h5.partial: needs "));
        BOOST_TEST(std::filesystem::is_empty(folder.path()));
    }
    run(folder / "one.h5", proteins, {});
    BOOST_TEST(!run(folder / "a.h5", proteins, {}, 1, 2));
    {
        FullDisk const full(40000);
        BOOST_TEST(
            has(message_of([&] { run(folder / "a.h5", proteins, {}); }), "a.h5.partial: cannot write: File too"));
    }
    BOOST_TEST(EmbeddingJournal::read(folder / "a.h5.job").size() >= 2u);
    BOOST_TEST(run(folder / "a.h5", proteins, {}));
    check_same(EmbeddingReader(folder / "one.h5"), EmbeddingReader(folder / "a.h5"));
}

BOOST_AUTO_TEST_CASE(shares_of_what_is_missing_cost_the_same) {
    std::vector<index_t> many;
    for (index_t i = 0; i < 3000; ++i)
        many.push_back(30 + (i * 7919) % 1000);
    auto const proteins = random_proteins(many);
    std::vector<index_t> missing;
    for (index_t i = 0; i < proteins.size(); i += 1 + i % 3)
        missing.push_back(i);
    EncoderShape const shape{.width = 64, .layers = 2, .heads = 4, .inner = 128};
    std::vector<index_t> all;
    double most = 0, least = 1e300;
    for (index_t rank = 0; rank < 4; ++rank) {
        auto const mine = share_of(proteins, missing, shape, 2, {rank, 4});
        all.insert(all.end(), mine.begin(), mine.end());
        double const cost = detail::cost_of(proteins, mine, shape, 2);
        most = std::max(most, cost);
        least = std::min(least, cost);
    }
    std::sort(all.begin(), all.end());
    BOOST_TEST(all == missing, boost::test_tools::per_element());
    BOOST_TEST(most / least < 1.01);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
