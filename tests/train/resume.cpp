// What a run may go on from, what it sets aside for that, and what it refuses.

#include "whole_runs.hpp"

#include <protlm/train/run_config.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <map>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> folders(fs::path const &run) {
    std::vector<std::string> names;
    for (auto const &entry : fs::directory_iterator(run))
        if (entry.is_directory())
            names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

std::vector<double> range(int from, int to) {
    std::vector<double> steps;
    for (int step = from; step <= to; ++step)
        steps.push_back(step);
    return steps;
}

/// Makes the checksums right that a changed file made wrong.
void seal(fs::path const &checkpoint) {
    auto list = read_json(checkpoint / "checksums.json");
    for (auto const &[name, entry] : list["files"].items())
        entry = {{"bytes", fs::file_size(checkpoint / name)}, {"sha256", sha256_file(checkpoint / name)}};
    write_json(checkpoint / "checksums.json", list);
}

/// A gradient that is not a number in the steps given.
auto poison(std::vector<index_t> steps) {
    return [steps](index_t step, Bigram<float, Host> &model) {
        if (std::find(steps.begin(), steps.end(), step) != steps.end())
            model.parameters().gradients()(static_cast<std::size_t>(model.parameters().table()[3].offset)) =
                std::nanf("");
    };
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(resume, Store)

BOOST_AUTO_TEST_CASE(going_back_sets_what_came_later_aside) {
    fs::path const run = folder / "run";
    auto options = small_options();
    SmallRun const expected = serial_run(options, store, run);
    options.steps = 10;
    options.learning_rate /= 2;
    options.evaluate_every = 1;
    options.keep = 1;
    SmallRun const branch = serial_run(options, store, run, (run / step_folder_name(6)).string());
    BOOST_TEST(branch.outcome.checkpoint == run / "step-00000010");
    BOOST_TEST(folders(run) == (std::vector<std::string>{"step-00000006", "step-00000009.abandoned", "step-00000010",
                                                         "step-00000012.abandoned"}));
    BOOST_TEST(column(read_log(run), "step") == range(1, 10));
    BOOST_TEST(column(read_log(run, "log.abandoned.jsonl"), "step") == range(7, 12));
    BOOST_TEST(read_log(run, "log.abandoned.jsonl")[0]["abandoned_after_step"].get<int>() == 6);
    BOOST_CHECK_NO_THROW(verify_checkpoint(run / "step-00000012.abandoned"));
    options.steps = 11; // the branch goes on, not what was set aside
    SmallRun const on = serial_run(options, store, run);
    BOOST_TEST(on.outcome.step == 11);
    BOOST_TEST(column(read_log(run), "step") == range(1, 11));
    // Back once more, to the same step: names that are taken get a number.
    SmallRun const again = serial_run(small_options(), store, run, (run / "step-00000009.abandoned/").string());
    check_same(again, expected);
    BOOST_TEST(fs::exists(run / "step-00000011.abandoned"));
    BOOST_TEST(!fs::exists(run / "step-00000011"));
}

BOOST_AUTO_TEST_CASE(a_checkpoint_or_a_run_elsewhere_is_a_place_to_begin) {
    SmallRun const expected = serial_run(small_options(), store, folder / "whole");
    auto options = small_options();
    options.seed = 2;
    serial_run(options, store, folder / "own"); // another run was in this folder
    SmallRun const run =
        serial_run(small_options(), store, folder / "own", (folder / "whole" / step_folder_name(9)).string());
    check_same(run, expected);
    BOOST_TEST(folders(folder / "own") ==
               (std::vector<std::string>{"step-00000003.abandoned", "step-00000006.abandoned",
                                         "step-00000009.abandoned", "step-00000012", "step-00000012.abandoned"}));
    BOOST_TEST(column(read_log(folder / "own"), "step") == range(10, 12));
    fs::remove_all(folder / "whole" / step_folder_name(12));
    check_same(serial_run(small_options(), store, folder / "third", (folder / "whole/").string()), expected);
    BOOST_TEST(column(read_log(folder / "third"), "step") == range(10, 12));
    // The run's own folder is as good as auto.
    fs::remove_all(folder / "third" / step_folder_name(12));
    fs::copy(folder / "whole" / step_folder_name(9), folder / "third" / step_folder_name(9));
    check_same(serial_run(small_options(), store, folder / "third", (folder / "third").string()), expected);
    BOOST_TEST(folders(folder / "third") == (std::vector<std::string>{"step-00000009", "step-00000012"}));
}

BOOST_AUTO_TEST_CASE(checkpoints_that_are_all_damaged_are_an_error) {
    fs::path const run = folder / "run";
    serial_run(small_options(), store, run);
    auto const log = read_file(run / "log.jsonl");
    for (index_t step : {3, 6, 9, 12})
        fs::resize_file(run / step_folder_name(step) / "optimizer.safetensors", 100);
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, run), Error, [](Error const &error) {
        std::string const text = error.what();
        return text.find("none of its checkpoints is whole") != text.npos && text.find("step-00000003") != text.npos &&
               text.find("step-00000012") != text.npos;
    });
    BOOST_TEST(read_file(run / "log.jsonl") == log);
    BOOST_TEST(folders(run).size() == 4);
}

BOOST_AUTO_TEST_CASE(a_checkpoint_of_a_newer_version_is_no_damaged_one) {
    fs::path const run = folder / "run", last = run / step_folder_name(12);
    serial_run(small_options(), store, run);
    auto list = read_json(last / "checksums.json");
    list["format_version"] = 9;
    write_json(last / "checksums.json", list);
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, run), Error, says("format_version: is 9"));
    list["format_version"] = 1;
    write_json(last / "checksums.json", list);
    auto state = read_json(last / "training_state.json");
    state["format_version"] = 9;
    write_json(last / "training_state.json", state);
    seal(last);
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, run), Error, says("reads 1 and 2"));
    BOOST_TEST(column(read_log(run), "step") == range(1, 12));
}

BOOST_AUTO_TEST_CASE(settings_of_another_function_are_refused_by_name) {
    fs::path const run = folder / "run";
    auto options = small_options();
    options.steps = 6;
    Told told{{{"hidden_act", "gelu"}, {"num_attention_heads", 4}, {"initializer_range", 0.02}}, {}};
    serial_run(options, store, run, "auto", {}, told);
    auto const refuses = [&](TrainingOptions const &now, Told const &said, std::string const &text) {
        BOOST_CHECK_EXCEPTION(serial_run(now, store, run, "auto", {}, said), Error, says(text));
    };
    auto other = told;
    other.model["hidden_act"] = "relu";
    other.model["initializer_range"] = 0.5; // weights are drawn already
    refuses(options, other, "hidden_act was \"gelu\", now it is \"relu\"; change decides: hidden_act");
    other.model["num_attention_heads"] = 8;
    other.allowed = {"hidden_act"};
    refuses(options, other, "num_attention_heads was 4, now it is 8");
    other.model["is_decoder"] = true;
    refuses(options, other, "is_decoder was not given, now it is true");
    other.allowed = {"hiden_act"};
    refuses(options, other, "change: \"hiden_act\" is no setting");
    for (auto const &[name, change] : std::map<std::string, std::function<void(TrainingOptions &)>>{
             {"beta2", [](auto &o) { o.beta2 = 0.9; }},
             {"weight_decay", [](auto &o) { o.weight_decay = 0; }},
             {"clip", [](auto &o) { o.clip = 0.5; }},
             {"beta1", [](auto &o) { o.beta1 = 0.5; }}}) {
        auto changed = options;
        change(changed);
        refuses(changed, told, name + " was");
    }
    auto changed = options;
    changed.precision = "bfloat16";
    told.allowed = {"precision"};
    refuses(changed, told, "precision was \"float32\", now it is \"bfloat16\"; a run cannot change this");
    // What people change on purpose goes through, and what is named.
    changed = options;
    changed.steps = 8;
    changed.micro_batch = 77;
    changed.learning_rate = 1e-3;
    changed.schedule = "cosine";
    changed.adafactor_clip_threshold = 2; // no Adafactor here
    changed.weight_decay = 0;
    told.allowed = {"weight_decay", "clip"};
    BOOST_TEST(serial_run(changed, store, run, "auto", {}, told).outcome.step == 8);
    told.allowed = {};
    BOOST_TEST(serial_run(changed, store, run, "auto", {}, told).outcome.step == 8); // it is the new value now
    refuses(options, told, "weight_decay was 0.0, now it is 0.01");
}

BOOST_AUTO_TEST_CASE(another_store_is_told_by_its_contents) {
    write_small_store(folder / "backward.store", true);
    TokenStore const backward(folder / "backward.store");
    BOOST_REQUIRE((backward.counts() == store.counts()));
    fs::path const run = folder / "run";
    serial_run(small_options(), store, run);
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), backward, run), Error, says("was trained on another store"));
}

BOOST_AUTO_TEST_CASE(a_checkpoint_of_the_first_format_goes_on) {
    fs::path const run = folder / "run", sixth = run / step_folder_name(6);
    Told const told{{{"hidden_act", "gelu"}}, {}};
    SmallRun const expected = serial_run(small_options(), store, run, "auto", {}, told);
    auto state = read_json(sixth / "training_state.json");
    state["format_version"] = 1;
    for (char const *name : {"store", "skipped", "skipped_in_a_row"})
        BOOST_TEST(state.erase(name) == 1u);
    state["options"].erase("model");
    state["options"].erase("skip_non_finite");
    write_json(sixth / "training_state.json", state);
    seal(sixth);
    check_same(serial_run(small_options(), store, run, sixth.string(), {}, told), expected);
}

BOOST_AUTO_TEST_CASE(one_run_at_a_time) {
    fs::path const run = folder / "run";
    fs::create_directories(run / "step-00000007.partial");
    {
        FileLock const other(run / "lock", "a test");
        BOOST_CHECK_EXCEPTION(serial_run(small_options(), store, run), Error, says("is at work on it"));
        BOOST_TEST(fs::exists(run / "step-00000007.partial")); // the other one's
        BOOST_TEST(!fs::exists(run / "log.jsonl"));
    }
    serial_run(small_options(), store, run);
    BOOST_TEST(!fs::exists(run / "step-00000007.partial"));
}

BOOST_AUTO_TEST_CASE(steps_that_are_not_finite_are_passed_over_where_that_is_wanted) {
    for (char const *optimizer : {"adamw", "lamb", "adafactor"}) {
        auto options = small_options();
        options.optimizer = optimizer;
        options.skip_non_finite = 2;
        fs::path const whole = folder / (std::string("whole-") + optimizer);
        SmallRun const expected = serial_run(options, store, whole, "auto", poison({5, 6, 8}));
        BOOST_TEST(expected.outcome.step == 12);
        BOOST_TEST(expected.outcome.skipped == 3);
        auto const log = read_log(whole);
        BOOST_REQUIRE(log.size() == 12);
        for (std::size_t i : {4u, 5u, 7u}) {
            BOOST_TEST(log[i]["skipped"] == "the gradient of output.bias");
            BOOST_TEST(!log[i].contains("loss"));
        }
        BOOST_TEST(log[6].contains("loss"));
        // Two of six steps did not count.
        BOOST_TEST(read_json(whole / step_folder_name(6) / "training_state.json")["optimizer_steps"] == 4);
        BOOST_TEST(read_json(whole / step_folder_name(6) / "training_state.json")["skipped_in_a_row"] == 2);
        SmallRun const resumed = serial_run(options, store, folder / (std::string("resumed-") + optimizer),
                                            (whole / step_folder_name(6)).string(), poison({8}));
        check_same(resumed, expected);
        BOOST_CHECK_EXCEPTION(serial_run(options, store, folder / (std::string("third-") + optimizer),
                                         (whole / step_folder_name(6)).string(), poison({7})),
                              Error,
                              says("step 7: the gradient of output.bias is not finite; skip_non_finite decides"));
    }
}

BOOST_AUTO_TEST_CASE(a_step_that_is_passed_over_changes_nothing) {
    auto options = small_options();
    options.schedule = "constant";
    options.checkpoint_every = 1;
    options.skip_non_finite = 1;
    serial_run(options, store, folder / "run", "auto", poison({5}));
    for (char const *name : {"weights", "first_moment", "second_moment"}) {
        auto const of = [&](index_t step) {
            return SafetensorsFile(folder / "run" / step_folder_name(step) / "optimizer.safetensors").read<float>(name);
        };
        BOOST_TEST((of(5) == of(4)), name);
        BOOST_TEST((of(6) != of(5)), name);
    }
}

BOOST_AUTO_TEST_CASE(a_signal_before_the_first_step_leaves_everything_as_it_was) {
    ScopedSignals const signals;
    std::raise(SIGTERM);
    SmallRun const stopped = serial_run(small_options(), store, folder / "run");
    BOOST_TEST(stopped.outcome.interrupted);
    BOOST_TEST(stopped.outcome.step == 0);
    BOOST_TEST(stopped.outcome.checkpoint.empty());
    BOOST_TEST(!fs::exists(folder / "run" / "log.jsonl"));
}

BOOST_AUTO_TEST_CASE(a_run_says_how_it_ended) {
    serial_run(small_options(), store, folder / "run", "auto", [](index_t step, auto &) {
        if (step == 2)
            std::raise(SIGXCPU);
    });
    auto status = read_json(folder / "run" / "status.json");
    BOOST_TEST(status["state"] == "stopped");
    BOOST_TEST(status["step"] == 2);
    serial_run(small_options(), store, folder / "run");
    status = read_json(folder / "run" / "status.json");
    BOOST_TEST(status["state"] == "finished");
    BOOST_TEST(status["checkpoint"] == (folder / "run" / step_folder_name(12)).string());
}

BOOST_AUTO_TEST_CASE(a_full_disk_takes_old_checkpoints_but_the_newest) {
    RunFolder run(folder / "run");
    auto const whole = [](CheckpointWriter &checkpoint) { checkpoint.write("vocab.txt", "A"); };
    for (index_t step : {1, 2, 3})
        run.save(step, 5, 1, whole);
    auto const needs_room = [&](std::size_t left) {
        return [&, left](CheckpointWriter &checkpoint) {
            checkpoint.write("vocab.txt", "B");
            check(list_checkpoints(run.path()).size() <= left, "x: cannot write: ", std::strerror(ENOSPC));
        };
    };
    BOOST_TEST(run.save(4, 5, 1, needs_room(1)).size() == 2);
    BOOST_TEST(folders(run.path()) == (std::vector<std::string>{"step-00000003", "step-00000004"}));
    BOOST_CHECK_EXCEPTION(run.save(5, 5, 1234, needs_room(0)), Error, says("takes about 1234 bytes"));
    BOOST_TEST(folders(run.path()) == (std::vector<std::string>{"step-00000004"}));
    BOOST_CHECK_EXCEPTION(run.save(5, 5, 1234, needs_room(0)), Error, says("are free"));
    BOOST_CHECK_NO_THROW(verify_checkpoint(run.path() / "step-00000004"));
    auto const broken = [](CheckpointWriter &) { fail("x: cannot write: ", std::strerror(EIO)); };
    run.save(5, 5, 1, whole);
    BOOST_CHECK_THROW(run.save(6, 5, 1, broken), Error);
    BOOST_TEST(folders(run.path()).size() == 2); // another trouble costs nothing
}

BOOST_AUTO_TEST_CASE(weights_that_are_not_finite_are_named_before_the_first_step) {
    Bigram<float, Host> model;
    NoExchange exchange;
    model.parameters().values()(static_cast<std::size_t>(model.parameters().table()[1].offset)) = std::nanf("");
    Trainer trainer(small_options(), store, folder / "run", model.parameters(), exchange, true);
    BOOST_CHECK_EXCEPTION(
        trainer.run([&](auto &context, Batch const &batch, std::uint64_t) { return model.loss(context, batch); },
                    [](CheckpointWriter &) {}),
        Error, says("the weights of output.weight are not finite"));
}

BOOST_AUTO_TEST_CASE(a_store_that_is_all_held_out_says_so) {
    StoreWriter writer(folder / "out.store", Vocabulary::protbert(), {.held_out = 1});
    writer.add("a", encode(Vocabulary::protbert(), "MKTAYIAK"));
    writer.commit();
    TokenStore const out(folder / "out.store");
    BOOST_CHECK_EXCEPTION(serial_run(small_options(), out, folder / "run"), Error, says("all 1 proteins are held out"));
}

BOOST_AUTO_TEST_CASE(fields_of_a_config_that_nobody_reads_are_found) {
    nlohmann::json const model{{"hidden_size", 4}, {"hidden_act", "gelu"}};
    auto const ignored = [&](nlohmann::json const &file) { return ignored_fields(Fields(file, "c.json"), model); };
    BOOST_TEST(ignored({{"hidden_size", 4},
                        {"training", {{"steps", 1}}},
                        {"objective", nlohmann::json::object()},
                        {"transformers_version", "5"},
                        {"id2label", {{"0", "a"}}},
                        {"use_cache", true}})
                   .empty());
    BOOST_TEST(ignored({{"hiden_size", 4}, {"hidden_size", 4}}) == std::vector<std::string>{"hiden_size"});
    BOOST_CHECK_EXCEPTION(ignored({{"trainin", {{"steps", 1}}}}), Error,
                          says("c.json: trainin: is no section of this file"));
    nlohmann::json const pair{{"generator", model}, {"discriminator", model}};
    BOOST_TEST(ignored_fields(Fields({{"generator", {{"hiden_act", "x"}}}, {"discriminator", model}}, "c.json"),
                              pair) == std::vector<std::string>{"generator.hiden_act"});
}

BOOST_AUTO_TEST_CASE(weights_of_another_configuration_are_refused) {
    nlohmann::json const theirs{{"hidden_act", "gelu"}, {"heads", 4}, {"dropout", 0.1}, {"initializer_range", 1}};
    auto ours = theirs;
    ours["dropout"] = 0.0;
    ours["initializer_range"] = 2;
    auto const told = check_weights_config(ours, "ours.json", theirs, "w/config.json", {});
    BOOST_REQUIRE(told.size() == 1u);
    BOOST_TEST(told[0].text() == "dropout was 0.1, now it is 0.0");
    ours["heads"] = 8;
    BOOST_CHECK_EXCEPTION(
        check_weights_config(ours, "ours.json", theirs, "w/config.json", {}), Error,
        says("ours.json: describes another model than w/config.json: heads is 8, but with the weights "
             "it is 4; change decides: heads"));
    BOOST_TEST(check_weights_config(ours, "ours.json", theirs, "w/config.json", {"heads"}).size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()
