// What `generate` can be told, and which of it goes together.
#pragma once

#include <support/command_line.hpp>
#include <support/fasta_input.hpp>

#include <protlm/model/generate.hpp>
#include <protlm/train/option_list.hpp>

#include <cctype>
#include <string>
#include <vector>

namespace generating {

struct Options {
    std::string model, output, method = "greedy", mask = "?", without = "XBZUO";
    std::vector<std::string> inputs;
    bool rewrite = false, spans = false, force = false, quiet = false;
    protlm::index_t batch = 16;
    protlm::FastaOptions fasta;
    protlm::GenerationPlan plan;
};

/// @throws protlm::Error for options that would be ignored, or cannot be together
inline void complete(CLI::App const &app, Options &o) {
    auto const only = [&](char const *option, char const *method, char const *other = "") {
        protlm::check(app.count(option) == 0 || o.method == method || o.method == other, option, " is for --method ",
                      method, *other ? " or " : "", other, ", but the method is ", o.method);
    };
    for (char const *option : {"--temperature", "--top-k", "--top-p", "--seed"})
        only(option, "sample");
    for (char const *option : {"--beams", "--length-penalty"})
        only(option, "beam");
    if (o.plan.number > 1)
        only("--number", "sample", "beam");
    protlm::check(o.method != "beam" || o.plan.number <= o.plan.beam.beams, "--number is ", o.plan.number,
                  ", but a search with --beams ", o.plan.beam.beams, " finds no more than that");
    auto const &lengths = o.plan.options;
    protlm::check(lengths.min_length <= lengths.max_length, "--min-length is ", lengths.min_length,
                  ", above --max-length ", lengths.max_length);
    protlm::check(!o.rewrite || !o.spans, "--rewrite and --spans exclude each other");
    for (char &letter : o.without) {
        protlm::check(std::isalpha(static_cast<unsigned char>(letter)), "--without: '", letter, "' is no letter");
        letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    }
    o.plan.method = protlm::generation_method(o.method);
}

inline void describe(CLI::App &app, Options &o) {
    app.description("Lets a trained model write proteins. T5 fills in the residues of given proteins that are masked "
                    "by '?'; the others stay. Transformer-XL goes on where given proteins end, or begins new ones.\n"
                    "  generate t5-run masked.fasta --output filled.fasta\n"
                    "  generate xl-run --output new.fasta --method sample --number 10 --top-p 0.95");
    app.add_option("model,--model", o.model, "folder with config.json and weights, or of a training run")->required();
    app.add_option("inputs", o.inputs, "FASTA files, plain or compressed; - is standard input");
    app.add_option("-o,--output", o.output, "FASTA file to write")->required();
    app.add_flag("-f,--force", o.force, "replace the output file if it exists");
    app.add_flag("-q,--quiet", o.quiet, "no progress, no summary");
    app.add_option("--mask", o.mask, "T5: letters that stand for a residue to fill in, as ?X-")->capture_default_str();
    app.add_flag("--rewrite", o.rewrite, "T5: write the whole protein anew, of another length");
    app.add_flag("--spans", o.spans,
                 "T5 trained with --spans: a run of masked residues becomes as many as it may; not with --rewrite");
    examples::add_invalid_option(app, o.fasta);
    app.add_option("--without", o.without, "letters that are never written")->capture_default_str();
    app.add_option("--batch", o.batch, "proteins at a time: what memory is needed for")
        ->check(examples::at_least(1))
        ->capture_default_str();
    examples::add_choice(app, "-m,--method", o.method, {"greedy", "beam", "sample"},
                         "greedy: the most probable residue each time; beam: search for the most probable protein; "
                         "sample: draw by the model's probabilities");
    protlm::offer_options(app, [&](auto f) { protlm::GenerationPlan::for_each(o.plan, f); });
    for (char const *option : {"--number", "--max-length", "--beams"})
        app.get_option(option)->check(examples::at_least(1));
    for (char const *option : {"--min-length", "--temperature", "--top-k"})
        app.get_option(option)->check(examples::at_least(0));
    app.get_option("--top-p")->check(examples::expects_number("a number above 0 and at most 1",
                                                              [](double value) { return value > 0 && value <= 1; }));
    app.callback([&] { complete(app, o); });
}

} // namespace generating
