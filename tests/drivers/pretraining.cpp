// A pre-training program from FASTA to a checkpoint: log, resume, ranks, precision, messages. CMake says which program.

#include "pretraining_run.hpp"
#include "support/compare.hpp"

#include <protlm/train/training_options.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <map>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

namespace {

/// All weights and moments after the last step, bit for bit.
void check_same_bits(Run const &run, std::string const &actual, std::string const &expected) {
    int files = 0;
    for (auto const &entry : fs::recursive_directory_iterator(run.checkpoint(expected, 6))) {
        if (entry.path().extension() != ".safetensors")
            continue;
        auto const name = fs::relative(entry.path(), run.checkpoint(expected, 6));
        BOOST_TEST((read_file(run.checkpoint(actual, 6) / name) == read_file(entry.path())), name << " differs");
        ++files;
    }
    BOOST_TEST(files >= 2);
}

/// Sums over ranks are rounded in another order: losses agree closely, weights to a small part of what three steps move
/// them by. Some gradients are rounding noise alone (of a key's bias, of encodings that are the same everywhere), which
/// Adam would divide by its own size, but for the epsilon in the configs.
void check_close(Run const &run, std::string const &actual, std::string const &expected) {
    auto const end = run.weights(expected, 6), begin = run.weights("whole", 3), other = run.weights(actual, 6);
    double moved = 0, apart = 0;
    BOOST_REQUIRE(end.size() == other.size());
    for (std::size_t i = 0; i < end.size(); ++i) {
        moved += std::pow(double(end[i]) - double(begin[i]), 2);
        apart += std::pow(double(end[i]) - double(other[i]), 2);
    }
    BOOST_TEST(moved > 0);
    BOOST_TEST(std::sqrt(apart) < 1e-3 * std::sqrt(moved));
    for (char const *name : {"loss", "held_out_loss"}) {
        auto ours = run.column(actual, name), theirs = run.column(expected, name);
        theirs.erase(theirs.begin(), theirs.end() - static_cast<std::ptrdiff_t>(ours.size()));
        BOOST_TEST(compare(name, ours, theirs, {.relative = 1e-4}));
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(drivers)

BOOST_AUTO_TEST_CASE(from_proteins_to_checkpoints) {
    Run const run;
    run.run("whole");
    auto const log = run.log("whole");
    BOOST_REQUIRE(log.size() == 6u);
    for (char const *name : {"loss", "accuracy", "learning_rate", "gradient_norm", "tokens"})
        BOOST_TEST(run.column("whole", name).size() == 6u, name);
    for (char const *name : {"held_out_loss", "held_out_perplexity", "unigram_perplexity"})
        BOOST_TEST(run.column("whole", name).size() == 2u, name);
    for (index_t step : {3, 6})
        BOOST_CHECK_NO_THROW(verify_checkpoint(run.checkpoint("whole", step)));
    for (auto const &entry : fs::recursive_directory_iterator(run.checkpoint("whole", 6)))
        if (entry.path().filename() == "config.json")
            for (char const *name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json"})
                BOOST_TEST(fs::exists(entry.path().parent_path() / name), entry.path() << ": " << name);
    BOOST_TEST(fs::exists(run.checkpoint("whole", 6) / "vocab.txt"));
    BOOST_TEST(run.weights("whole", 6) != run.weights("whole", 3));

    // The settings in force, objective included, are on record.
    auto const state = read_json(run.checkpoint("whole", 6) / "training_state.json");
    auto const config = read_json(setting("PROTLM_TEST_CONFIG"));
    auto const objective = config.value("objective", nlohmann::json::object());
    for (auto const &[name, value] : config["training"].items())
        BOOST_TEST(state["options"][name] == value, name);
    for (auto const &[name, value] : objective.items())
        BOOST_TEST(state["options"]["objective"][name] == value, name);

    std::string const third = run.checkpoint("whole", 3).string();
    run.run("parts", "--resume " + third);
    check_same_bits(run, "parts", "whole");

    // A checkpoint is a model to begin with; its optimizer and its place in the data are left behind.
    fs::path const model = run.checkpoint("whole", 6);
    run.run("again", "--steps 1 --checkpoint-every 1 --weights " + model.string());
    BOOST_TEST(run.column("again", "loss")[0] != run.column("whole", "loss")[0]);
    run.run("rounded", "--steps 2 --precision bfloat16");
    BOOST_TEST(compare("losses", run.column("rounded", "loss"),
                       std::vector{run.column("whole", "loss")[0], run.column("whole", "loss")[1]},
                       {.relative = 0.02}));

    if (!std::getenv("PROTLM_TEST_MPIRUN_2"))
        return;
    run.run("two", "", 2);
    check_close(run, "two", "whole");
    run.run("two_resumed", "--resume " + third, 2);
    check_close(run, "two_resumed", "whole");
    run.run("three_resumed", "--resume " + run.checkpoint("two", 3).string(), 3);
    check_close(run, "three_resumed", "whole");
}

BOOST_AUTO_TEST_CASE(weights_come_with_their_vocabulary) {
    Run const run;
    run.run("first", "--steps 1 --checkpoint-every 1");
    fs::path const model = run.checkpoint("first", 1), other = run.folder / "other";
    fs::copy(model, other, fs::copy_options::recursive);
    auto const original = read_file(model / "vocab.txt");
    auto swapped = original; // the same residues, with the numbers of others
    std::swap(swapped[swapped.find("A\n")], swapped[swapped.find("C\n")]);
    for (auto const &entry : fs::recursive_directory_iterator(model)) {
        auto const file = other / fs::relative(entry.path(), model);
        if (entry.path().filename() == "vocab.txt")
            std::ofstream(file) << swapped;
        if (entry.path().filename() == "tokenizer.json")
            fs::remove(file);
    }
    run.run("second", "--steps 1 --checkpoint-every 1 --weights " + other.string());
    BOOST_TEST(read_file(run.checkpoint("second", 1) / "vocab.txt") == swapped);
    auto const ended =
        run.start("third", "--weights " + other.string() + " --vocabulary " + (model / "vocab.txt").string());
    BOOST_TEST(ended.status != 0);
    BOOST_TEST(ended.text.find("vocab.txt: piece ") != std::string::npos, ended.text);
}

BOOST_AUTO_TEST_CASE(every_preset_of_this_model_is_understood) {
    TemporaryFolder const folder;
    auto const kind = [](nlohmann::json const &config) {
        return config.contains("generator") ? "generator and discriminator" : config.value("model_type", "");
    };
    auto const own = kind(read_json(setting("PROTLM_TEST_CONFIG")));
    int found = 0;
    for (auto const &entry : fs::directory_iterator(setting("PROTLM_TEST_PRESETS"))) {
        auto const config = read_json(entry.path());
        if (kind(config) != own || !config.contains("training"))
            continue;
        ++found;
        std::string const name = entry.path().filename().string();
        auto const help =
            run_program(setting("PROTLM_TEST_PROGRAM") + " --help --config " + entry.path().string(), folder);
        BOOST_TEST(help.status == 0, name << ": " << help.text);
        TrainingOptions options;
        read_training_options(Fields(config["training"], name), options);
        BOOST_CHECK_NO_THROW(options.validate());
    }
    BOOST_TEST(found >= 3); // a small one, a medium one and that of ProtTrans
}

/// Another function of the same tensors, in the words of each family.
nlohmann::json with_another_function(nlohmann::json config) {
    auto &model = config.contains("generator") ? config["generator"] : config;
    for (auto const &[name, value] : std::map<std::string, nlohmann::json>{
             {"hidden_act", "gelu_new"}, {"feed_forward_proj", "gelu"}, {"ff_activation", "relu"}, {"clamp_len", 7}})
        if (model.contains(name) && model[name] != value) {
            model[name] = value;
            return config;
        }
    model["hidden_act"] = model["feed_forward_proj"] = "relu"; // it had its default
    return config;
}

BOOST_AUTO_TEST_CASE(another_function_needs_a_word) {
    Run const run;
    run.run("run", "--steps 1 --checkpoint-every 1");
    auto const config = read_json(setting("PROTLM_TEST_CONFIG"));
    run.folder.write("other.json", with_another_function(config).dump());
    std::string const other = "--config " + (run.folder / "other.json").string();
    auto const resumed = run.start("run", "--steps 2 " + other);
    BOOST_TEST(resumed.status == 1);
    auto const at = resumed.text.find("(--change ");
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, resumed.text);
    BOOST_TEST(resumed.text.find(", now it is ") != std::string::npos, resumed.text);
    std::string const names = resumed.text.substr(at + 10, resumed.text.find(')', at) - at - 10);
    std::string const weights = " --weights " + (run.folder / "run").string();
    auto const begun = run.start("begun", "--steps 1 " + other + weights);
    BOOST_TEST(begun.status == 1);
    BOOST_TEST(begun.text.find("other.json: describes another model than ") != std::string::npos, begun.text);
    run.run("begun", "--steps 1 --change " + names + ' ' + other + weights);
    run.run("run", "--steps 2 --change " + names + ' ' + other);

    // Without a config, the model is that of the weights; the options of training are those of the command line.
    run.folder.write("training.json", nlohmann::json{{"training", config["training"]}}.dump());
    std::string command = setting("PROTLM_TEST_PROGRAM") + weights + " --output " + (run.folder / "same").string() +
                          " --data " + (run.folder / "s.store").string() +
                          " --quiet --steps 1 --max-length 64 --tokens-per-step 700 --evaluate-tokens 400";
    auto const same = run_program(command, run.folder);
    BOOST_TEST(same.status == 0, same.text);
    std::string const file = config.contains("generator") ? "discriminator/config.json" : "config.json";
    BOOST_TEST(read_json(run.checkpoint("same", 1) / file) == read_json(run.checkpoint("run", 2) / file));
    auto const lone = run_program(setting("PROTLM_TEST_PROGRAM") + " --data s.store --output o --weights " +
                                      (run.folder / "proteins.fasta").string(),
                                  run.folder);
    BOOST_TEST(lone.status == 1);
    BOOST_TEST(lone.text.find("(--config names the model's config.json)") != std::string::npos, lone.text);
}

BOOST_AUTO_TEST_CASE(help_and_wrong_use) {
    Run const run;
    auto const help = run.start("run", "--help");
    BOOST_TEST(help.status == 0);
    auto const option = help.text.find("--tokens-per-step"), end = help.text.find('\n', option);
    BOOST_REQUIRE(option != std::string::npos);
    BOOST_TEST(help.text.substr(option, end - option).find("700") != std::string::npos); // the config's value
    BOOST_TEST(help.text.find("PROGRAM") == std::string::npos);
    auto const fails = [&](std::string const &options, int status, std::string const &message) {
        auto const ended = run.start("wrong", options);
        BOOST_TEST(ended.status == status, options);
        BOOST_TEST(ended.text.find(message) != std::string::npos, options << ": " << ended.text);
    };
    fails("--steps six", 2, "--steps: is \"six\", expected a whole number");
    fails("--optimizer sgd", 2, "optimizer is \"sgd\", expected adamw, lamb or adafactor");
    fails("--data missing.store", 1, "missing.store");
    fails("--weights missing", 1, "missing");
    fails("--vocabulary " + (run.folder / "proteins.fasta").string(), 1, "proteins.fasta");
    auto config = read_json(setting("PROTLM_TEST_CONFIG"));
    config["training"]["stepz"] = 3;
    run.folder.write("wrong.json", config.dump());
    fails("--config " + (run.folder / "wrong.json").string(), 1, "stepz: is not a known field");
    config["training"].erase("stepz");
    config["trainin"] = nlohmann::json::object();
    run.folder.write("wrong.json", config.dump());
    fails("--config " + (run.folder / "wrong.json").string(), 1, "trainin: is no section of this file");
    BOOST_TEST(!fs::exists(run.folder / "wrong" / "log.jsonl"));
    config.erase("trainin");
    config["hiden_size"] = 3;
    run.folder.write("wrong.json", config.dump());
    auto const told = run.start("told", "--steps 1 --quiet --config " + (run.folder / "wrong.json").string());
    BOOST_TEST(told.status == 0);
    BOOST_TEST(told.text.find("wrong.json: ignored: hiden_size\n") != std::string::npos, told.text);
}

BOOST_AUTO_TEST_SUITE_END()
