// Whole runs of a tiny model: checkpoints, resume, signals, errors.

#include "whole_runs.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

BOOST_FIXTURE_TEST_SUITE(trainer, Store)

BOOST_AUTO_TEST_CASE(a_run_learns_and_leaves_log_and_checkpoints) {
    auto options = small_options();
    options.keep = 2;
    SmallRun const run = serial_run(options, store, folder / "run");
    BOOST_TEST(run.outcome.step == 12);
    BOOST_TEST(!run.outcome.interrupted);
    auto const log = read_log(folder / "run");
    BOOST_REQUIRE(log.size() == 12);
    for (std::size_t i = 0; i < log.size(); ++i) {
        BOOST_TEST(log[i]["step"].get<index_t>() == index_t(i) + 1);
        for (char const *name : {"loss", "accuracy", "learning_rate", "gradient_norm", "tokens", "seconds"})
            BOOST_TEST(log[i].contains(name), name);
        for (char const *name : {"held_out_loss", "held_out_perplexity", "held_out_accuracy", "unigram_perplexity"})
            BOOST_TEST(log[i].contains(name) == (i % 3 == 2), name);
    }
    BOOST_TEST(log.back()["tokens"].get<index_t>() == run.outcome.tokens);
    BOOST_TEST(log.back()["loss"].get<double>() < 0.95 * log.front()["loss"].get<double>());
    BOOST_TEST(log[11]["held_out_loss"].get<double>() < log[2]["held_out_loss"].get<double>());
    BOOST_TEST(run.outcome.held_out->loss == log[11]["held_out_loss"].get<double>());
    auto const checkpoints = list_checkpoints(folder / "run");
    BOOST_REQUIRE(checkpoints.size() == 2);
    BOOST_TEST(checkpoints[1].second == run.outcome.checkpoint);
    BOOST_TEST(checkpoints[1].first == 12);
    for (char const *name : {"model.safetensors", "vocab.txt", "training_state.json", "optimizer.safetensors"})
        BOOST_TEST(fs::exists(run.outcome.checkpoint / name), name);
    BOOST_CHECK_NO_THROW(verify_checkpoint(run.outcome.checkpoint));
}

BOOST_AUTO_TEST_CASE(a_resumed_run_ends_with_the_same_bits) {
    for (char const *optimizer : {"adamw", "lamb", "adafactor"}) {
        auto options = small_options();
        options.optimizer = optimizer;
        options.checkpoint_every = 6;
        fs::path const whole = folder / (std::string("whole-") + optimizer);
        fs::path const parts = folder / (std::string("parts-") + optimizer);
        SmallRun const expected = serial_run(options, store, whole);
        for (index_t stop : {6, 12}) { // 12: the run was complete
            fs::remove_all(parts);
            fs::create_directories(parts);
            fs::copy(whole / step_folder_name(stop), parts / step_folder_name(stop));
            fs::copy(whole / "log.jsonl", parts / "log.jsonl"); // has later lines, which are made again
            SmallRun const actual = serial_run(options, store, parts);
            check_same(actual, expected);
            BOOST_TEST(compare_bits("losses", column(read_log(parts), "loss"), column(read_log(whole), "loss")));
            BOOST_TEST(actual.outcome.held_out->loss == expected.outcome.held_out->loss);
        }
        SmallRun const named = serial_run(options, store, folder / (std::string("named-") + optimizer),
                                          (whole / step_folder_name(6)).string());
        check_same(named, expected);
    }
}

BOOST_AUTO_TEST_CASE(a_signal_ends_a_run_with_a_checkpoint) {
    SmallRun const expected = serial_run(small_options(), store, folder / "whole");
    struct sigaction before {
    }, after{};
    ::sigaction(SIGUSR1, nullptr, &before);
    SmallRun const stopped = serial_run(small_options(), store, folder / "run", "auto", [](index_t step, auto &) {
        if (step == 5)
            std::raise(SIGUSR1);
    });
    ::sigaction(SIGUSR1, nullptr, &after);
    BOOST_TEST((before.sa_handler == after.sa_handler));
    BOOST_TEST(stopped.outcome.interrupted);
    BOOST_TEST(stopped.outcome.step == 5);
    BOOST_TEST(stopped.outcome.checkpoint == folder / "run" / step_folder_name(5));
    SmallRun const resumed = serial_run(small_options(), store, folder / "run");
    BOOST_TEST(!resumed.outcome.interrupted);
    check_same(resumed, expected);
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_stops_and_spares_checkpoints) {
    auto const poison = [](index_t step, Bigram<float, Host> &model) {
        if (step == 8)
            model.parameters().gradients()(static_cast<std::size_t>(model.parameters().table()[3].offset)) =
                std::nanf("");
    };
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, folder / "run", "auto", poison), Error,
                          says("step 8: the gradient of output.bias is not finite"));
    auto const latest = latest_checkpoint(folder / "run");
    BOOST_TEST(latest.step == 6);
    BOOST_TEST(list_checkpoints(folder / "run").size() == 2);
    SmallRun const expected = serial_run(small_options(), store, folder / "whole");
    check_same(serial_run(small_options(), store, folder / "run"), expected);
    auto const break_weight = [](index_t step, Bigram<float, Host> &model) {
        if (step == 2)
            model.parameters().values()(static_cast<std::size_t>(model.parameters().table()[1].offset)) =
                std::numeric_limits<float>::infinity();
    };
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, folder / "broken", "auto", break_weight), Error,
                          says("step 2: the weights of output.weight are not finite"));
}

BOOST_AUTO_TEST_CASE(resume_looks_before_it_leaps) {
    auto const options = small_options();
    fs::path const run = folder / "run";
    serial_run(options, store, run);
    BOOST_CHECK_EXCEPTION(serial_run(options, store, run, "never"), Error, says("has checkpoints of an earlier run"));
    auto other = options;
    other.seed = 2;
    BOOST_CHECK_EXCEPTION(serial_run(other, store, run), Error, says("seed was 1, now it is 2"));
    other = options;
    other.max_length = 31;
    BOOST_CHECK_EXCEPTION(serial_run(other, store, run), Error, says("max_length was 32, now it is 31"));
    other = options;
    other.optimizer = "lamb";
    BOOST_CHECK_EXCEPTION(serial_run(other, store, run), Error, says("optimizer was \"adamw\", now it is \"lamb\""));
    fs::resize_file(run / step_folder_name(12) / "optimizer.safetensors", 100); // damaged: the one before is taken
    SmallRun const again = serial_run(options, store, run);
    BOOST_TEST(again.outcome.step == 12);
    BOOST_CHECK_THROW(serial_run(options, store, folder / "x", (folder / "missing").string()), Error);
    fs::remove(run / step_folder_name(9) / "training_state.json");
    BOOST_CHECK_THROW(serial_run(options, store, folder / "y", (run / step_folder_name(9)).string()), Error);
}

BOOST_AUTO_TEST_CASE(a_time_limit_ends_a_run_with_its_schedule) {
    auto options = small_options();
    options.steps = 0;
    options.minutes = 0.5 / 60;
    options.checkpoint_every = options.evaluate_every = 0;
    SmallRun const run = serial_run(options, store, folder / "run");
    BOOST_TEST(run.outcome.step > 3);
    BOOST_TEST(run.outcome.seconds > 0.25);
    BOOST_TEST(run.outcome.seconds < 5);
    auto const rates = column(read_log(folder / "run"), "learning_rate");
    BOOST_TEST(rates.back() < 0.3 * *std::max_element(rates.begin(), rates.end()));
    BOOST_TEST(list_checkpoints(folder / "run").size() == 1);
}

BOOST_AUTO_TEST_CASE(steps_and_evaluation_do_not_depend_on_micro_batches) {
    SmallRun const expected = serial_run(small_options(), store, folder / "a");
    auto options = small_options();
    options.micro_batch = 400;
    SmallRun const actual = serial_run(options, store, folder / "b");
    BOOST_TEST(compare("losses", column(read_log(folder / "b"), "loss"), column(read_log(folder / "a"), "loss"),
                       {.relative = 1e-5}));
    BOOST_TEST(compare("weights", actual.weights, expected.weights, {.absolute = 1e-5}));
}

BOOST_AUTO_TEST_CASE(a_model_has_the_vocabulary_of_its_weights) {
    auto const released = fs::path(PROTLM_TEST_FIXTURES) / "released/prot_xlnet";
    auto const xlnet = choose_vocabulary("", released, store, "xlnet", 37);
    BOOST_TEST((xlnet == read_model_vocabulary(released, 37, "xlnet")));
    BOOST_TEST((xlnet.pieces != Vocabulary::protxlnet().pieces)); // whose order is a guess
    BOOST_TEST((choose_vocabulary("", "", store, "xlnet", 37) == Vocabulary::protxlnet()));
    BOOST_TEST((choose_vocabulary(released / "spiece.model", "", store, "xlnet", 37) == xlnet));
    BOOST_TEST((choose_vocabulary(released / "spiece.model", released, store, "xlnet", 37) == xlnet));
    BOOST_TEST((choose_vocabulary("", "", store, "bert", 30) == store.vocabulary()));
    folder.write("guess/vocab.txt", vocabulary_text(Vocabulary::protxlnet()));
    BOOST_CHECK_EXCEPTION(choose_vocabulary(folder / "guess/vocab.txt", released, store, "xlnet", 37), Error,
                          says("vocab.txt: piece "));
    fs::create_directories(folder / "none"); // no guess for these two
    BOOST_CHECK_EXCEPTION(choose_vocabulary("", folder / "none", store, "xlnet", 37), Error, says("is not built in"));
    auto const few = Vocabulary::from_pieces({"[UNK]", "A", "C", "X"}, "few");
    BOOST_CHECK_EXCEPTION(TrainingData(store, few), Error, says("has the residue L, for which the model's vocabulary"));
}

BOOST_AUTO_TEST_SUITE_END()
