// All drivers as programs of the command line: --help, --version, wrong usage, exit statuses, clean outputs.

#include "program.hpp"

#include <protlm/core/version.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace protlm;
using namespace protlm::test;

namespace {

/// The drivers that this build has.
std::vector<std::string> drivers() {
    std::istringstream list(setting("PROTLM_TEST_DRIVERS"));
    std::vector<std::string> names;
    for (std::string name; std::getline(list, name, ',');)
        names.push_back(name);
    BOOST_REQUIRE(names.size() >= 9);
    return names;
}

struct Shell {
    TemporaryFolder folder;
    std::string const examples = setting("PROTLM_TEST_EXAMPLES");

    struct Ran {
        int status;
        std::string output, error;
    };
    /// Runs a line of the shell in the folder; DRIVERS stands for the drivers' folder.
    Ran run(std::string line) const {
        for (std::size_t at; (at = line.find("DRIVERS")) != line.npos;)
            line.replace(at, 7, examples);
        folder.write("line.sh", "cd '" + folder.path().string() + "'\n{ " + line + "; } > out.txt 2> err.txt\n");
        int const status = run_program("sh '" + (folder / "line.sh").string() + "'", folder).status;
        return {status, read_file(folder / "out.txt"), without_notes(read_file(folder / "err.txt"))};
    }
    /// Without what a driver says of a build that is slow.
    static std::string without_notes(std::string const &text) {
        std::istringstream all(text);
        std::string rest;
        for (std::string line; std::getline(all, line);)
            rest += line.find(": note: compiled ") == line.npos ? line + '\n' : "";
        return rest;
    }
    bool has_driver(std::string const &name) const {
        auto const names = drivers();
        return std::find(names.begin(), names.end(), name) != names.end();
    }
};

bool has(std::string const &text, std::string const &part) { return text.find(part) != text.npos; }
auto lines(std::string const &text) { return std::count(text.begin(), text.end(), '\n'); }

BOOST_FIXTURE_TEST_SUITE(command_line, Shell)

BOOST_AUTO_TEST_CASE(every_driver_says_its_version) {
    for (auto const &name : drivers()) {
        auto const ran = run("DRIVERS/" + name + " --version");
        BOOST_TEST(ran.status == 0, name);
        BOOST_TEST(ran.output.starts_with(name + " (protlm) " PROTLM_VERSION_STRING "\n"), ran.output);
        for (char const *part : {"\ncompiler ", "\nbuild type ", "\ninstruction set ", "\nKokkos "})
            BOOST_TEST(has(ran.output, part), ran.output);
        BOOST_TEST(has(ran.output, "\nHDF5 ") == (name == "embed" || name == "search" || name == "project"));
        BOOST_TEST(ran.error == "");
    }
}

BOOST_AUTO_TEST_CASE(every_driver_has_help_with_its_own_name) {
    for (auto const &name : drivers()) {
        auto const ran = run("DRIVERS/" + name + " --help");
        BOOST_TEST(ran.status == 0, name);
        BOOST_TEST(has(ran.output, "Usage: " + name + " [OPTIONS]"), ran.output);
        for (char const *part : {"{false}", "Excludes", " in {", "1797", "--kokkos-help lists them", "--quiet"})
            BOOST_TEST(has(ran.output, part) == (part[0] == '-'), name << ": " << part);
        BOOST_TEST(ran.error == "");
    }
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_status_2) {
    for (auto const &name : drivers())
        for (std::string const wrong : {"", "--versoin", "--output", "-help", "--kokkos-nonsense --quite"}) {
            auto const ran = run("DRIVERS/" + name + ' ' + wrong);
            BOOST_TEST(ran.status == 2, name << ' ' << wrong << ": " << ran.status);
            BOOST_TEST(ran.output == "");
            BOOST_TEST(lines(ran.error) == 1, ran.error);
            BOOST_TEST(ran.error.starts_with(name + ": "));
            if (wrong == "--versoin")
                BOOST_TEST(has(ran.error, "no option --versoin; did you mean --version?"), ran.error);
            if (wrong == "--output")
                BOOST_TEST(has(ran.error, "--output needs a value"), ran.error);
            if (wrong == "-help")
                BOOST_TEST(has(ran.error, "did you mean --help?"), ran.error);
            if (wrong.ends_with("--quite"))
                BOOST_TEST(has(ran.error, "no option --quite; did you mean --quiet?"), ran.error);
        }
}

BOOST_AUTO_TEST_CASE(values_are_refused_in_words) {
    auto const error = [&](std::string const &line) {
        auto const ran = run("DRIVERS/" + line);
        BOOST_TEST(ran.status == 2, line << ": " << ran.status);
        BOOST_TEST(lines(ran.error) == 1, ran.error);
        return ran.error;
    };
    BOOST_TEST(has(error("prepare x -o y --invalid maks"), "--invalid: is \"maks\", expected error or mask"));
    BOOST_TEST(has(error("prepare x -o y --held-out 2"), "--held-out: is \"2\", expected 0 to 1"));
    BOOST_TEST(has(error("prepare x -o y --held-out nan"), "--held-out: is \"nan\", expected 0 to 1"));
    BOOST_TEST(has(error("prepare x -o y --min-length -3"), "--min-length: is \"-3\", expected 0 or more"));
    BOOST_TEST(has(error("prepare x -o y -o z"), "--output is given 2 times, expected once"));
    BOOST_TEST(has(error("prepare x -o --quiet"), "--output needs a value, but --quiet follows"));
    BOOST_TEST(has(error("prepare -output y x"), "no option -output; did you mean --output?"));
    BOOST_TEST(has(error("convert a b c"), "\"c\" is one argument too many"));
    BOOST_TEST(
        has(error("convert a b --precision int8"), "--precision: is \"int8\", expected float32, bfloat16 or float16"));
    BOOST_TEST(has(error("generate m --method lucky -o x"), "--method: is \"lucky\", expected greedy, beam or sample"));
    BOOST_TEST(has(error("generate m --rewrite --spans -o x"), "--rewrite"));
    BOOST_TEST(has(error("pretrain_bert --data s -o r --steps many"), "--steps: is \"many\", expected a whole number"));
    BOOST_TEST(has(error("pretrain_bert --data s -o r"), "steps and minutes are both 0"));
    if (!has_driver("embed"))
        return;
    BOOST_TEST(has(error("embed --modell m x.fasta -o x.h5"), "no option --modell; did you mean --model?"));
    BOOST_TEST(has(error("embed -m m --on-long truncate x.fasta -o x.h5"),
                   "--on-long: is \"truncate\", expected windows, cut, skip or error"));
    BOOST_TEST(has(error("embed -m m --layer 1,b x.fasta -o x.h5"), "--layer: is \"1,b\", expected a whole number"));
    BOOST_TEST(
        has(error("embed -m m --token-budget 0 x.fasta -o x.h5"), "--token-budget: is \"0\", expected 1 or more"));
    // a list does not take the FASTA behind it: the next mistake is the model
    auto const ran = run("DRIVERS/embed -m nosuch -o x.h5 --layer 1 x.fasta");
    BOOST_TEST(ran.status == 1);
    BOOST_TEST(has(ran.error, "nosuch"), ran.error);
}

BOOST_AUTO_TEST_CASE(a_full_or_closed_standard_output_is_an_error) {
    for (auto const &name : drivers()) {
        auto const full = run("DRIVERS/" + name + " --help > /dev/full");
        BOOST_TEST(full.status == 1, name);
        BOOST_TEST(full.error.starts_with(name + ": standard output: "), full.error);
        auto const closed = run("DRIVERS/" + name + " --help >&-");
        BOOST_TEST(closed.status == 1, name);
        BOOST_TEST(has(closed.error, "standard output: "), closed.error);
    }
}

BOOST_AUTO_TEST_CASE(a_reader_that_leaves_is_no_error) {
    for (auto const &name : drivers()) {
        auto const ran = run("mkfifo pipe; { true < pipe; } & exec 3> pipe; wait; DRIVERS/" + name +
                             " --help >&3; echo $?; rm pipe");
        BOOST_TEST(ran.output == "0\n", name);
        BOOST_TEST(ran.error == "", ran.error);
    }
    folder.write("in.fasta", fasta_text(50, 60));
    auto const ran = run("mkfifo pipe; { true < pipe; } & exec 3> pipe; wait; "
                         "DRIVERS/prepare in.fasta -o s.store >&3 2>&3; echo $?");
    BOOST_TEST(ran.output == "0\n");
    BOOST_TEST(run("DRIVERS/prepare -q in.fasta -o t.store && cmp s.store t.store").status == 0);
}

BOOST_AUTO_TEST_CASE(closed_outputs_do_not_become_files) {
    folder.write("in.fasta", fasta_text(50, 60));
    BOOST_TEST(run("DRIVERS/prepare -q in.fasta -o -").status == 2);
    BOOST_TEST(run("DRIVERS/prepare -q in.fasta -o s.store.gz").status == 2);
    BOOST_TEST(run("DRIVERS/prepare -q in.fasta -o s.store --held-out 0.5 --write-held-out h.fasta.gz").status == 2);
    BOOST_TEST(run("ls").output.find(".gz") == std::string::npos);
    BOOST_TEST(run("DRIVERS/prepare -q in.fasta -o s.store").status == 0);
    BOOST_TEST(run("DRIVERS/prepare in.fasta -o t.store >&- 2>&- <&-").status == 1); // the summary is lost
    BOOST_TEST(run("cmp s.store t.store").status == 0);
}

BOOST_AUTO_TEST_CASE(tables_on_standard_output_are_nothing_but_tables) {
    if (!has_driver("search"))
        return;
    folder.write("in.fasta", fasta_text(20, 60));
    auto const ran = run("env -u OMP_PROC_BIND DRIVERS/search in.fasta --composition -k 1");
    BOOST_TEST(ran.status == 0);
    BOOST_TEST(ran.output.starts_with("query\trank\tprotein\tcosine\nprotein0\t1\t"), ran.output);
    BOOST_TEST(lines(ran.output) == 21);
    BOOST_TEST(ran.error == "", ran.error);
    auto const full = run("DRIVERS/search in.fasta --composition > /dev/full");
    BOOST_TEST(full.status == 1);
    BOOST_TEST(full.error.starts_with("search: standard output: "), full.error);
    BOOST_TEST(run("DRIVERS/search in.fasta --composition -k 1 --kokkos-threads=1").output == ran.output);
}

BOOST_AUTO_TEST_CASE(kokkos_is_told_what_it_can_do) {
    if (!has_driver("search"))
        return;
    folder.write("in.fasta", fasta_text(20, 60));
    auto const unknown = run("DRIVERS/search in.fasta --composition --kokkos-nonsense");
    BOOST_TEST(unknown.status == 2);
    BOOST_TEST(unknown.error == "search: Kokkos has no option --kokkos-nonsense; --kokkos-help lists them\n");
    if (!has(run("DRIVERS/search --version").output, "OpenMP"))
        return;
    for (std::string const many : {"OMP_NUM_THREADS=600 DRIVERS/search in.fasta --composition",
                                   "DRIVERS/search in.fasta --composition --kokkos-threads=600"}) {
        auto const ran = run(many);
        BOOST_TEST(ran.status == 1);
        BOOST_TEST(lines(ran.error) == 1);
        BOOST_TEST(has(ran.error, "600 threads, but"), ran.error);
    }
}

BOOST_AUTO_TEST_CASE(a_mistake_of_all_ranks_is_told_once) {
    char const *const mpirun = std::getenv("PROTLM_TEST_MPIRUN_2");
    if (!mpirun)
        return;
    for (std::string const wrong : {"--stepz 3", "--data nosuch.store -o run --steps 1"}) {
        auto const ran = run(std::string(mpirun) + " DRIVERS/pretrain_bert " + wrong);
        BOOST_TEST(ran.status == (wrong == "--stepz 3" ? 2 : 1), wrong << ": " << ran.status << ran.error);
        std::size_t told = 0;
        for (auto at = ran.error.find("pretrain_bert: "); at != ran.error.npos;
             at = ran.error.find("pretrain_bert: ", at + 1))
            ++told;
        BOOST_TEST(told == 1u, ran.error);
    }
}

BOOST_AUTO_TEST_CASE(convert_takes_runs_and_names_its_output_truly) {
    std::string const model = PROTLM_TEST_FIXTURES "/released/prot_bert";
    BOOST_TEST(run("DRIVERS/convert -q '" + model + "' run/step-00000003").status == 0);
    auto const inspected = run("DRIVERS/convert --inspect run");
    BOOST_TEST(inspected.status == 0, inspected.error);
    BOOST_TEST(has(inspected.output, "step-00000003/model.safetensors"), inspected.output);
    BOOST_TEST(run("DRIVERS/convert --model run --output a.safetensors -q").status == 0);
    BOOST_TEST(run("DRIVERS/convert run/step-00000003/model.safetensors b.safetensors -q && cmp a.safetensors "
                   "b.safetensors")
                   .status == 0);
    auto const fails = [&](std::string const &arguments, int status, std::string const &message) {
        auto const ran = run("DRIVERS/convert " + arguments);
        BOOST_TEST(ran.status == status, arguments);
        BOOST_TEST(has(ran.error, message), ran.error);
    };
    fails("a.safetensors b.bin", 2,
          "b.bin: ends in .bin, but is to be safetensors; name it NAME.safetensors, or a new");
    fails("a.safetensors B.PT", 2, "B.PT: ends in .pt");
    fails("a.safetensors -", 2, "cannot go to standard output");
    fails("a.safetensors b.safetensors", 1, "b.safetensors: exists (--force replaces it)");
    fails("-f a.safetensors ./a.safetensors", 1, "./a.safetensors: is an input");
    fails("run run", 1, "run: exists; give a new folder");
    fails("a.safetensors", 2, "nothing to do: give an output, or --inspect");
    BOOST_TEST(run("DRIVERS/convert -qf a.safetensors b.safetensors").status == 0);
    BOOST_TEST(!std::filesystem::exists(folder / "b.bin"));
}

BOOST_AUTO_TEST_CASE(convert_says_the_precision_and_what_it_will_not_read) {
    std::string const model = PROTLM_TEST_FIXTURES "/released/prot_bert";
    BOOST_TEST(run("DRIVERS/convert -q '" + model + "' half --precision float16").status == 0);
    BOOST_TEST(has(read_file(folder / "half/config.json"), "type\": \"float16\""),
               read_file(folder / "half/config.json"));
    BOOST_TEST(run("cp half/model.safetensors half/pytorch_model.bin").status == 0);
    auto const both = run("DRIVERS/convert -q half again");
    BOOST_TEST(both.status == 0);
    BOOST_TEST(both.error ==
               "convert: note: half: holds model.safetensors and pytorch_model.bin; the former is read\n");
    auto const fails = [&](std::string const &arguments, std::string const &message) {
        auto const ran = run("DRIVERS/convert " + arguments);
        BOOST_TEST(ran.status == 1, arguments);
        BOOST_TEST(has(ran.error, message), ran.error);
    };
    fails("--inspect Rostlab/prot_bert", "'hf download Rostlab/prot_bert --local-dir prot_bert' makes the folder");
    BOOST_TEST(run("cp half/model.safetensors half/model.safetensors.index.json").status == 0);
    fails("--inspect half", "half: holds both model.safetensors and model.safetensors.index.json; one of them is old");
    folder.write("half/config.json", R"({"model_type": "bert", "quantization_config": {"quant_method": "gptq"}})");
    BOOST_TEST(run("rm half/model.safetensors.index.json").status == 0);
    fails("half none", "half: its weights are quantised (config.json: quantization_config: gptq)");
    BOOST_TEST(run("DRIVERS/convert --inspect half").output.find("quantised   config.json") != std::string::npos);
    BOOST_TEST(!std::filesystem::exists(folder / "none"));
}

BOOST_AUTO_TEST_CASE(amino_acid_map_replaces_nothing_unasked) {
    std::string const model = PROTLM_TEST_FIXTURES "/released/prot_bert";
    folder.write("map.gp", "mine");
    auto const ran = run("DRIVERS/amino_acid_map '" + model + "' -o map");
    BOOST_TEST(ran.status == 1);
    BOOST_TEST(has(ran.error, "map.gp: exists (--force replaces it)"), ran.error);
    BOOST_TEST(read_file(folder / "map.gp") == "mine");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
