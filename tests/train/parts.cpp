// What a run is made of: log, options, signals, time budget, unigram baseline.

#include "io/full_disk.hpp"
#include "small_run.hpp"
#include "support/compare.hpp"

#include <protlm/io/json.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;

BOOST_AUTO_TEST_SUITE(training_parts)

BOOST_AUTO_TEST_CASE(log_lines_are_flushed_and_later_steps_removed) {
    TemporaryFolder const folder;
    {
        TrainingLog log(folder / "log.jsonl", 0);
        for (index_t step = 1; step <= 5; ++step) {
            LogEntry entry;
            entry.step = step;
            entry.loss = 0.5 * double(step);
            if (step == 2) {
                entry.held_out_loss = std::log(7.0);
                entry.held_out_perplexity = 7.0;
            }
            log.write(entry);
            BOOST_TEST(read_log(folder.path()).size() == std::size_t(step)); // already in the file
        }
    }
    BOOST_TEST(read_log(folder.path())[1]["held_out_perplexity"].get<double>() == 7.0,
               boost::test_tools::tolerance(1e-12));
    BOOST_TEST(!read_log(folder.path())[0].contains("held_out_loss"));
    std::ofstream(folder / "log.jsonl", std::ios::app) << "{\"step\": 3, \"lo"; // a crash cut this off
    TrainingLog log(folder / "log.jsonl", 3);
    auto const lines = read_log(folder.path());
    BOOST_REQUIRE(lines.size() == 3);
    BOOST_TEST(lines[2]["step"].get<int>() == 3);
    BOOST_CHECK_THROW(TrainingLog(folder / "missing" / "log.jsonl", 0), Error);
}

BOOST_AUTO_TEST_CASE(a_line_that_does_not_fit_is_not_begun) {
    TemporaryFolder const folder;
    TrainingLog log(folder / "log.jsonl", 0);
    LogEntry entry;
    entry.step = 1;
    log.write(entry);
    auto const before = read_file(folder / "log.jsonl");
    entry.step = 2;
    {
        FullDisk const full(before.size() + 10);
        BOOST_CHECK_THROW(log.write(entry), Error);
    }
    BOOST_TEST(read_file(folder / "log.jsonl") == before);
    log.write(entry);
    BOOST_TEST(read_log(folder.path()).size() == 2u);
}

BOOST_AUTO_TEST_CASE(options_round_trip_and_refuse_what_they_do_not_know) {
    TrainingOptions options;
    options.steps = 77;
    options.optimizer = "lamb";
    options.recompute = true;
    options.seed = 0xFFFFFFFFFFFFFFFF;
    auto json = to_json(options);
    TrainingOptions read;
    read_training_options(Fields(json, "config.json: training"), read);
    BOOST_TEST(to_json(read) == json);
    json["learning_rat"] = 1;
    BOOST_CHECK_THROW(read_training_options(Fields(json, "config.json: training"), read), Error);
    BOOST_CHECK_NO_THROW(options.validate());
    for (auto const &[field, change] : std::map<std::string, std::function<void(TrainingOptions &)>>{
             {"steps and minutes", [](auto &o) { o.steps = 0; }},
             {"optimizer", [](auto &o) { o.optimizer = "sgd"; }},
             {"precision", [](auto &o) { o.precision = "float16"; }},
             {"schedule", [](auto &o) { o.schedule = "step"; }},
             {"clip", [](auto &o) { o.clip = -1; }},
             {"keep", [](auto &o) { o.keep = 0; }}}) {
        TrainingOptions wrong = options;
        change(wrong);
        BOOST_CHECK_EXCEPTION(wrong.validate(), Error, [&field = field](Error const &error) {
            return std::string(error.what()).find(field) != std::string::npos;
        });
    }
}

BOOST_AUTO_TEST_CASE(warm_up_may_be_steps_or_a_share) {
    TrainingOptions options;
    options.warmup = 0.1;
    BOOST_TEST(options.make_schedule(500).warmup_steps == 50);
    BOOST_TEST(options.make_schedule(0).warmup_steps == 100); // the end is not known yet
    options.warmup = 40;
    BOOST_TEST(options.make_schedule(500).warmup_steps == 40);
}

BOOST_AUTO_TEST_CASE(budget_of_steps) {
    TimeBudget budget(3, 0);
    for (index_t step = 1; step <= 3; ++step) {
        BOOST_TEST(!budget.finished());
        budget.observe(step, double(step) * 1e6);
        BOOST_TEST(budget.total_steps() == 3);
    }
    BOOST_TEST(budget.finished());
    BOOST_CHECK_THROW(TimeBudget(0, 0), Error);
}

BOOST_AUTO_TEST_CASE(budget_of_time_forecasts_its_end) {
    TimeBudget budget(0, 100);
    BOOST_TEST(budget.total_steps() == 0);
    budget.observe(1, 10); // a slow first step
    BOOST_TEST(budget.total_steps() == 0);
    budget.observe(2, 11); // one second a step from now on
    BOOST_TEST(budget.total_steps() == 2 + 89);
    BOOST_TEST(budget.seconds_left() == 89.0, boost::test_tools::tolerance(1e-9));
    index_t step = 2;
    while (!budget.finished() && step < 1000) {
        ++step;
        budget.observe(step, 11 + double(step - 2));
    }
    BOOST_TEST(step == 91);
    TimeBudget resumed(0, 100);
    resumed.resume(40, 80); // two seconds a step
    BOOST_TEST(resumed.total_steps() == 50);
    TimeBudget both(20, 100);
    both.resume(10, 10);
    BOOST_TEST(both.total_steps() == 20);
}

BOOST_AUTO_TEST_CASE(signals_are_heard_and_given_back) {
    static int heard = 0;
    auto const old = std::signal(SIGUSR1, [](int) { ++heard; });
    {
        ScopedSignals const signals({SIGUSR1});
        BOOST_TEST(signals.received() == 0);
        std::raise(SIGUSR1);
        BOOST_TEST(signals.received() == SIGUSR1);
    }
    BOOST_TEST(heard == 0);
    std::raise(SIGUSR1);
    BOOST_TEST(heard == 1);
    ScopedSignals const again({SIGUSR1});
    BOOST_TEST(again.received() == 0);
    std::signal(SIGUSR1, old);
    BOOST_CHECK_THROW(ScopedSignals({SIGKILL}), Error);
}

BOOST_AUTO_TEST_CASE(unigram_perplexity_of_known_frequencies) {
    TemporaryFolder const folder;
    auto const vocabulary = Vocabulary::protbert();
    StoreWriter writer(folder / "s.store", vocabulary);
    std::vector<std::uint8_t> const a(60, 5), b(20, 6), c(16, 7); // A's token is 6, G's 7, L's 5
    writer.add("a", a);
    writer.add("b", b);
    writer.add("c", c);
    writer.commit();
    TokenStore const store(folder / "s.store");
    double const kinds = double(vocabulary.residues.size());
    double const p5 = 61 / (80 + kinds), p6 = 21 / (80 + kinds), p7 = 1 / (80 + kinds); // c is not among the first two
    double const all = std::exp(-(60 * std::log(p5) + 20 * std::log(p6) + 16 * std::log(p7)) / 96);
    BOOST_TEST(unigram_perplexity(store, vocabulary, {0, 2}, {0, 3}) == all, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(unigram_perplexity(store, vocabulary, {0, 2}, {2, 1}) == 1 / p7, boost::test_tools::tolerance(1e-12));
    BOOST_CHECK_THROW(unigram_perplexity(store, vocabulary, {0, 3}, {0, 0}), Error);
}

BOOST_AUTO_TEST_CASE(held_out_proteins_are_those_of_the_store_each_once) {
    TemporaryFolder const folder;
    write_small_store(folder / "s.store");
    TokenStore const store(folder / "s.store");
    HeldOut const held_out(store, {.tokens = 1000, .max_length = 64}, 100, 1 << 20);
    Inference<Host> context;
    NoExchange none;
    index_t sequences = 0, residues = 0;
    struct Nothing {
        Tensor<float, Host> sum;
        index_t labelled = 0, correct = 0;
    };
    auto const result = held_out(
        context,
        [&](auto &, Batch const &batch) {
            BOOST_TEST(batch.size() <= 100);
            sequences += batch.sequences();
            residues += batch.size() - 2 * batch.sequences();
            return Nothing();
        },
        none);
    BOOST_TEST(result.labelled == 0);
    BOOST_TEST(std::uint64_t(sequences) == store.held_out().count);
    BOOST_TEST(std::uint64_t(residues) == store.counts().held_out_residues);
}

BOOST_AUTO_TEST_SUITE_END()
