#include <embed/models.hpp>
#include <io/full_disk.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/embed/agreement.hpp>
#include <protlm/embed/output_file.hpp>
#include <protlm/embed/report.hpp>

#include <atomic>
#include <barrier>
#include <fstream>
#include <thread>

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

struct Choice {
    EmbedOptions options{.token_budget = 100};
    DataType precision = DataType::f32;
    EmbeddingLayout layout = EmbeddingLayout::packed;
    int gzip = 0;
    bool force = false;
    std::uint64_t weights = 1;
    std::string activation = "gelu";
    Vocabulary vocabulary = Vocabulary::protbert();

    JobModel model() const { return {"float32", weights, {{"hidden_act", activation}}, vocabulary}; }
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

EmbeddingInfo info_of(Embedder<Bert<float>> const &embedder, Choice const &setting) {
    auto info = embedding_info(embedder.options(), embedder.shape(), setting.precision, setting.layout, setting.gzip);
    info.model = "a model";
    return info;
}

/// A job by `ranks` processes one after the other. @returns whether it came to its end
bool run(std::filesystem::path const &path, Proteins const &proteins, Choice const &setting, index_t ranks = 1,
         index_t most = 1000) {
    auto const model = small_bert();
    Embedder embedder(model, Vocabulary::protbert(), setting.options);
    auto const info = info_of(embedder, setting);
    std::vector<std::unique_ptr<EmbeddingJob>> jobs;
    for (index_t rank = 0; rank < ranks; ++rank)
        jobs.push_back(std::make_unique<EmbeddingJob>(path, info, proteins, setting.model()));
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

/// The message of the Error that `f` throws; empty when it throws none.
template <class F>
std::string what_of(F &&f) {
    try {
        f();
    } catch (Error const &error) {
        return error.what();
    }
    return {};
}

bool has(std::string const &text, std::string const &part) { return text.find(part) != text.npos; }

BOOST_AUTO_TEST_SUITE(write_embeddings_suite)

BOOST_AUTO_TEST_CASE(a_file_holds_what_the_embedder_gives_in_the_order_of_the_input) {
    TemporaryFolder const folder;
    auto const model = small_bert();
    auto const proteins = random_proteins(lengths);
    Choice const setting{.options = {.pooling = Pooling::max, .layers = {1}, .token_budget = 100}};
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
         {Choice{}, Choice{.options = {.layers = {0, 2, 1}, .token_budget = 100}, .precision = DataType::bf16},
          Choice{.options = {.pooling = Pooling::none}, .layout = EmbeddingLayout::per_id, .gzip = 1},
          Choice{.options = {.per_residue = false}, .precision = DataType::f16, .gzip = 2}}) {
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
    auto const message = [&](Proteins const &input, Choice const &setting) {
        return message_of([&] { run(path, input, setting); });
    };
    BOOST_TEST(!run(path, proteins, {}, 1, 3));
    BOOST_TEST(has(message(others, {}), "a.h5.job: was begun with something else: sequences was "));
    BOOST_TEST(
        has(message(proteins, {.precision = DataType::f16}),
            "precision was float32 and is float16. Finish it with what it was begun with; force decides: begins anew"));
    BOOST_TEST(has(message(proteins, {.options = {.pooling = Pooling::max}}), "pooling was mean and is max"));
    BOOST_TEST(has(message(proteins, {.options = {.layers = {0}}}), "layers was 2 and is 0"));
    BOOST_TEST(run(path, proteins, {.precision = DataType::f16, .force = true}));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f16));
    BOOST_TEST(has(message(proteins, {}),
                   "a.h5: exists, made with another model, input or other options, or by an earlier "
                   "protlm; force decides"));
    BOOST_TEST(!run(path, proteins, {.force = true}, 1, 3));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f16)); // until the new one is complete
    // the command of the file that is there must not remove what the new job has finished
    BOOST_TEST(
        has(message(proteins, {.precision = DataType::f16}),
            "a.h5.job belongs to an unfinished job that is to replace it: precision was float32 and is float16"));
    BOOST_TEST(std::filesystem::exists(path.string() + ".partial"));
    BOOST_TEST(run(path, proteins, {.force = true}));
    BOOST_TEST((EmbeddingReader(path).info().precision == DataType::f32));
}

// Heads, activation and the like change no tensor, and the order of a vocabulary changes no shape.
BOOST_AUTO_TEST_CASE(config_vocabulary_and_special_tokens_belong_to_a_job) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths);
    auto const path = folder / "a.h5";
    auto const message = [&](Choice const &setting) { return message_of([&] { run(path, proteins, setting); }); };
    auto swapped = Vocabulary::protbert().pieces;
    std::swap(swapped[5], swapped[6]);
    Choice framed{};
    framed.vocabulary.separator = -1;
    std::vector<std::pair<Choice, std::string>> const others{
        {{.weights = 2}, "weights was 0000000000000001 and is 0000000000000002"},
        {{.activation = "relu"}, R"(config.hidden_act was "gelu" and is "relu")"},
        {{.vocabulary = Vocabulary::from_pieces(swapped)}, "vocabulary was "},
        {framed, "special_tokens was [CLS] ... [SEP] and is [CLS] ..."}};
    BOOST_TEST(!run(path, proteins, {}, 1, 3));
    for (auto const &[other, difference] : others)
        BOOST_TEST(has(message(other), "was begun with something else: " + difference), message(other));
    BOOST_TEST(run(path, proteins, {}));
    BOOST_TEST(run(path, proteins, {})); // complete already
    for (auto const &[other, difference] : others)
        BOOST_TEST(has(message(other), "a.h5: exists, made with another model"), difference);
}

BOOST_AUTO_TEST_CASE(notes_of_another_job_do_not_count) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths);
    run(folder / "one.h5", proteins, {});
    BOOST_TEST(!run(folder / "a.h5", proteins, {}, 1, 2));
    auto const key = JobDescription::read(folder / "a.h5.job" / "job.json").key();
    auto const before = EmbeddingJournal::read(folder / "a.h5.job", key).size();
    BOOST_TEST(before >= 2u);
    std::vector<JournalEntry> entries;
    {
        EmbeddingWorkFile file(folder / "a.h5.partial"); // what is in it now, in the words of another job
        for (index_t i = 0; i < proteins.size(); ++i)
            entries.push_back({i, file.checksum(i)});
    }
    EmbeddingJournal(folder / "a.h5.job", key + 1).append(entries);
    index_t others = 0;
    BOOST_TEST(EmbeddingJournal::read(folder / "a.h5.job", key, &others).size() == before);
    BOOST_TEST(others == 1);
    auto const model = small_bert();
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 100});
    {
        EmbeddingJob job(folder / "a.h5", info_of(embedder, {}), proteins, Choice{}.model());
        job.begin(hash(), false);
        BOOST_TEST(job.foreign_journals() == 1);
    }
    BOOST_TEST(run(folder / "a.h5", proteins, {}));
    check_same(EmbeddingReader(folder / "one.h5"), EmbeddingReader(folder / "a.h5"));
}

BOOST_AUTO_TEST_CASE(a_job_of_an_earlier_protlm_is_refused_or_begun_anew) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins(lengths);
    BOOST_TEST(!run(folder / "a.h5", proteins, {}, 1, 3));
    auto document = read_json(folder / "a.h5.job" / "job.json");
    document.erase("format");
    write_json(folder / "a.h5.job" / "job.json", document);
    BOOST_TEST(has(message_of([&] { run(folder / "a.h5", proteins, {}); }),
                   "a.h5.job: was begun by an earlier protlm, which did not note all that its values depend on; finish "
                   "it with that; force decides: begins anew"));
    BOOST_TEST(run(folder / "a.h5", proteins, {.force = true}));
}

BOOST_AUTO_TEST_CASE(a_second_job_on_one_file_is_refused_and_leaves_no_trace) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins({5});
    auto const model = small_bert();
    Embedder embedder(model, Vocabulary::protbert());
    auto const info = info_of(embedder, {});
    {
        EmbeddingJob first(folder / "a.h5", info, proteins, JobModel());
        first.begin(hash(), false);
        EmbeddingJob second(folder / "a.h5", info, proteins, JobModel());
        auto const text = message_of([&] { second.begin(hash(), false); });
        BOOST_TEST(has(text, "a.h5: process " + std::to_string(::getpid()) + " on "), text);
        BOOST_TEST(has(text, " is at work on it"), text);
        first.open();
        work(embedder, proteins, first, {}, 1000);
        first.finish();
    }
    BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    {
        EmbeddingLock const lock(folder / "b.h5");
        BOOST_TEST(std::filesystem::exists(folder / "b.h5.job"));
    }
    BOOST_TEST(!std::filesystem::exists(folder / "b.h5.job"));
    // the lock passes on while a job ends and removes its folder
    std::optional<EmbeddingLock> held(folder / "a.h5");
    auto waiting = std::async(std::launch::async, [&] { EmbeddingLock(folder / "a.h5"); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.reset();
    BOOST_CHECK_NO_THROW(waiting.get());
}

BOOST_AUTO_TEST_CASE(outputs_that_cannot_be_are_refused_before_any_work) {
    TemporaryFolder const folder;
    auto const proteins = random_proteins({5});
    EmbeddingInfo wanted;
    auto const message = [&](char const *name, bool force = false) {
        return what_of([&] {
            check_embedding_output(folder / name, {folder / "in.h5", folder / "model"}, force, wanted);
        });
    };
    BOOST_TEST(message_of([&] { check_embedding_output("-", {}, true, wanted); }) ==
               "an embedding file cannot go to standard output: give it a name that ends in .h5");
    BOOST_TEST(has(message("a.csv", true), "a.csv: embedding files are HDF5, but .csv says something else"));
    BOOST_TEST(has(message("a.NPY"), "but .npy says something else"));
    folder.write("in.h5", ">a\nM\n");
    BOOST_TEST(has(message("in.h5", true), "in.h5: is an input and cannot be the output"));
    folder.write("other.h5", "text");
    BOOST_TEST(has(message("other.h5"), "other.h5: exists"));
    BOOST_TEST(message("other.h5", true) == "");
    BOOST_TEST(has(message("no/a.h5"), "cannot be used: No such file"));
    run(folder / "done.h5", proteins, {});
    BOOST_TEST(message("done.h5") == ""); // perhaps what is wanted: the job knows
    wanted.pooling = "max";
    BOOST_TEST(has(message("done.h5"), "done.h5: exists"));
}

/// Several processes, each a thread here, that can talk.
template <class Work>
std::vector<std::string> together(std::size_t ranks, Work work) {
    std::vector<std::string> texts(ranks), messages(ranks);
    std::barrier barrier(static_cast<std::ptrdiff_t>(ranks));
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < ranks; ++rank)
        threads.emplace_back([&, rank] {
            EmbeddingTeam const team({static_cast<index_t>(rank), static_cast<index_t>(ranks)},
                                     [&, rank](std::string const &text) {
                                         texts[rank] = text;
                                         barrier.arrive_and_wait();
                                         auto const all = texts;
                                         barrier.arrive_and_wait();
                                         return all;
                                     });
            messages[rank] = what_of([&] { work(team); });
        });
    for (auto &thread : threads)
        thread.join();
    return messages;
}

BOOST_AUTO_TEST_CASE(ranks_that_would_do_something_else_are_named_with_what_differs) {
    auto const proteins = random_proteins(lengths), others = random_proteins(lengths, 2);
    EmbeddingInfo info;
    info.width = 48;
    auto const of = [&](index_t odd, Proteins const &input, JobModel const &model, EmbeddingInfo const &file) {
        return [&, odd](EmbeddingTeam const &team) {
            bool const differs = team.share().rank == odd;
            require_agreement(team, differs ? JobDescription(file, model, input)
                                            : JobDescription(info, JobModel(), proteins));
        };
    };
    EmbeddingInfo pooled = info;
    pooled.pooling = "max";
    JobModel trained{}, configured{};
    trained.weights = 5;
    configured.config["num_attention_heads"] = 8;
    for (std::size_t const ranks : {1, 2, 3, 4}) {
        for (auto const &text : together(ranks, of(-1, others, trained, pooled)))
            BOOST_TEST(text == "");
        auto const last = static_cast<index_t>(ranks) - 1;
        std::string const who =
            "ranks disagree about what they embed with what: rank " + std::to_string(last) + " has ";
        for (auto const &[work, difference] :
             {std::pair(together(ranks, of(last, others, JobModel(), info)), "sequences "),
              std::pair(together(ranks, of(last, proteins, trained, info)), "weights 0000000000000005 instead of"),
              std::pair(together(ranks, of(last, proteins, configured, info)),
                        "config.num_attention_heads 8 instead of not known"),
              std::pair(together(ranks, of(last, proteins, JobModel(), pooled)), "pooling max instead of mean")})
            for (auto const &text : work)
                BOOST_TEST((ranks == 1 ? text == "" : has(text, who + difference)), text);
    }
}

BOOST_AUTO_TEST_CASE(all_ranks_open_the_model_that_the_first_has_found) {
    TemporaryFolder const folder;
    auto const step = [&](index_t number) {
        CheckpointWriter checkpoint(folder / "run" / step_folder_name(number));
        checkpoint.write("config.json", "{}");
        checkpoint.commit();
    };
    step(20);
    std::vector<std::string> opened(3);
    std::atomic<int> calls = 0;
    auto const messages = together(3, [&](EmbeddingTeam const &team) {
        auto const rank = static_cast<std::size_t>(team.share().rank);
        opened[rank] = team.open_model(folder / "run", [&](std::filesystem::path const &found) {
            if (rank == 1 && ++calls == 1) { // the run goes on and removes what the others have opened
                step(30);
                std::filesystem::remove_all(found);
                fail("no such folder");
            }
            return found.filename().string();
        });
    });
    for (std::size_t rank = 0; rank < 3; ++rank) {
        BOOST_TEST(messages[rank] == "");
        BOOST_TEST(opened[rank] == "step-00000030");
    }
    BOOST_TEST(has(message_of([&] {
                       EmbeddingTeam().open_model(
                           folder / "run", [](std::filesystem::path const &) -> int { fail("weights are damaged"); });
                   }),
                   "weights are damaged"));
}

BOOST_AUTO_TEST_CASE(errors_say_what_is_wrong) {
    TemporaryFolder const folder;
    auto const model = small_bert(64);
    auto const proteins = random_proteins({10, 100});
    Embedder embedder(model, Vocabulary::protbert(), {.windows = std::nullopt});
    {
        EmbeddingJob job(folder / "a.h5", info_of(embedder, {}), proteins, JobModel());
        job.begin(hash(), false);
        job.open();
        auto const text = message_of([&] { work(embedder, proteins, job, {}, 9); });
        BOOST_TEST(has(text, "protein protein 1 has 100 residues, but the model has 64 positions"));
        BOOST_TEST(has(message_of([&] { job.finish(); }), "a.h5: 2 proteins are not finished, for example protein 0"));
    }
    folder.write("file", "");
    EmbeddingJob job(folder / "file" / "a.h5", info_of(embedder, {}), proteins, JobModel());
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
    BOOST_TEST(EmbeddingJournal::read(folder / "a.h5.job", JobDescription::read(folder / "a.h5.job" / "job.json").key())
                   .size() >= 2u);
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
