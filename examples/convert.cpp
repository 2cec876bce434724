// convert: writes any checkpoint as safetensors in a chosen precision, or says what is in it.

#include "converting/inspect.hpp"

#include <support/driver.hpp>
#include <support/notes.hpp>
#include <support/outputs.hpp>

#include <protlm/core/output.hpp>
#include <protlm/core/progress.hpp>
#include <protlm/data/tokenizer_writer.hpp>
#include <protlm/io/convert_checkpoint.hpp>
#include <protlm/io/find_model.hpp>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using protlm::DataType;
using protlm::index_t;

struct Options {
    std::string input, output;
    std::optional<DataType> precision;
    bool inspect = false, force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Writes a checkpoint as safetensors in a chosen precision, or prints what is in it.\n"
                    "Reads model.safetensors, pytorch_model.bin (of torch before and since 1.6) and shards of either; "
                    "nothing in a file is executed.\n"
                    "Examples: convert prot_t5_xl_uniref50 prot_t5_bf16 --precision bfloat16\n"
                    "          convert pytorch_model.bin model.safetensors\n"
                    "          convert --inspect prot_bert");
    app.add_option(
           "model,-m,--model", options.input,
           "folder of a model or of a run (its newest checkpoint), or a file of weights (.safetensors, .bin, .pt)")
        ->required();
    app.add_option("output,-o,--output", options.output,
                   "what to write: a file NAME.safetensors, or a new folder, which also gets the input folder's "
                   "config.json and files of tokens");
    examples::add_choice<std::optional<DataType>>(
        app, "--precision", options.precision,
        {{"float32", DataType::f32}, {"bfloat16", DataType::bf16}, {"float16", DataType::f16}},
        "of the floating-point tensors; left out, every tensor keeps its type. Integers always do");
    app.add_flag("-f,--force", options.force, "replace the output file if it exists; a folder is never replaced");
    app.add_flag("--inspect", options.inspect, "print every tensor's name, shape and type, and the totals");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

void write_weights(protlm::CheckpointFolder const &checkpoint, Options const &options, fs::path const &path) {
    double all = 0;
    for (auto const &entry : checkpoint.tensors())
        all += static_cast<double>(entry.info->count());
    protlm::Progress progress("convert", "parameters", all, options.quiet);
    protlm::convert_weights(checkpoint, path, options.precision,
                            [&](index_t done) { progress.update(static_cast<double>(done)); });
    progress.finish();
}

/// What belongs to the weights; old checkpoints of runs lack what transformers makes tokens with.
void add_model_files(fs::path const &from, protlm::CheckpointWriter const &into, std::optional<DataType> precision) {
    protlm::copy_model_files(from, into, precision);
    auto const reason = protlm::complete_tokenizer(
        from, [&](std::string const &name, std::string const &text) { into.write(name, text); });
    if (!reason.empty())
        examples::print_notes("convert", {"no tokenizer.json is written: " + reason});
}

/// A new folder with the weights and the files that belong to them.
void write_folder(protlm::CheckpointFolder const &checkpoint, Options const &options) {
    protlm::CheckpointWriter folder(options.output);
    if (fs::is_directory(checkpoint.path()))
        add_model_files(checkpoint.path(), folder, options.precision);
    write_weights(checkpoint, options, folder / "model.safetensors");
    folder.commit();
}

/// Names the output's kind before anything is read. @returns whether it is one file
bool check_output(Options const &options, fs::path const &input) {
    fs::path const output = options.output;
    std::vector<fs::path> inputs{input};
    if (fs::is_directory(input))
        for (auto const &file : fs::directory_iterator(input))
            inputs.push_back(file.path());
    examples::check_ending(options.output, {".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf", ".onnx", ".npz", ".json"},
                           "safetensors", "NAME.safetensors, or a new folder");
    bool const is_file = output.extension() == ".safetensors";
    if (is_file) {
        protlm::check_output(output, inputs, options.force);
    } else {
        protlm::check_output_folder(output, inputs);
        protlm::check(!fs::exists(output) || (fs::is_directory(output) && fs::is_empty(output)), options.output,
                      ": exists; give a new folder, or a file NAME.safetensors");
    }
    return is_file;
}

void convert(Options const &options) {
    if (!options.inspect && options.output.empty())
        throw examples::WrongUsage("nothing to do: give an output, or --inspect");
    bool const given = fs::is_regular_file(options.input) || protlm::CheckpointFolder::has_weights(options.input);
    auto const input = given ? fs::path(options.input) : protlm::find_model(options.input);
    bool const is_file = !options.output.empty() && check_output(options, input);
    protlm::CheckpointFolder const checkpoint(input);
    examples::print_notes("convert", checkpoint.notes());
    if (options.inspect)
        converting::inspect(checkpoint);
    if (is_file)
        return write_weights(checkpoint, options, options.output);
    if (!options.output.empty())
        write_folder(checkpoint, options);
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"convert", false}, argc, argv, [&](CLI::App &app) { describe(app, options); }, [&] { convert(options); });
}
