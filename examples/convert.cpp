// convert: writes any checkpoint as safetensors in a chosen precision, or says what is in it.

#include "converting/inspect.hpp"

#include <support/driver.hpp>
#include <support/outputs.hpp>

#include <protlm/core/progress.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <cmath>
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

/// Copies one tensor in pieces of elements of type T, which holds what both sides can.
template <class T>
void copy_tensor(protlm::CheckpointFolder::Entry const &entry, DataType type, protlm::SafetensorsWriter &writer) {
    auto const piece = std::make_unique<T[]>(1 << 20);
    for (index_t first = 0, count = entry.info->count(); first < count; first += 1 << 20) {
        index_t const size = std::min<index_t>(1 << 20, count - first);
        entry.file->read_range_once(*entry.info, first, piece.get(), size);
        if constexpr (std::is_floating_point_v<T>) // the largest number of float16 is 65504
            for (index_t i = 0; type == DataType::f16 && i < size; ++i)
                protlm::check(!(std::abs(piece[i]) >= 65520) || !std::isfinite(piece[i]), entry.file->name(),
                              ": tensor \"", entry.info->name, "\": ", piece[i],
                              " does not fit into float16; bfloat16 has the range of float32");
        writer.append(entry.info->name, piece.get(), size);
    }
}

void write_weights(protlm::CheckpointFolder const &checkpoint, Options const &options, fs::path const &path) {
    auto entries = checkpoint.tensors();
    auto const type_of = [&](auto const &entry) {
        auto const type = entry.info->dtype;
        bool const is_float = protlm::data_type_name(type)[0] == 'F' || type == DataType::bf16;
        return options.precision && is_float ? *options.precision : type;
    };
    std::stable_sort(entries.begin(), entries.end(), [&](auto const &a, auto const &b) { // wide types come first
        return protlm::data_type_size(type_of(a)) > protlm::data_type_size(type_of(b));
    });
    std::vector<protlm::TensorSpec> specs;
    double done = 0, all = 0;
    for (auto const &entry : entries) {
        specs.push_back({entry.info->name, type_of(entry), entry.info->shape});
        all += static_cast<double>(entry.info->count());
    }
    protlm::SafetensorsWriter writer(path, specs);
    protlm::Progress progress("convert", "parameters", all, options.quiet);
    for (auto const &entry : entries) {
        auto const type = type_of(entry);
        bool const known = protlm::detail::visit_data_type( // double holds every floating-point value
            type == entry.info->dtype ? type : DataType::f64,
            [&]<class T>(std::type_identity<T>) { copy_tensor<T>(entry, type, writer); });
        protlm::check(known, entry.file->name(), ": tensor \"", entry.info->name, "\": has 8-bit floats");
        progress.update(done += static_cast<double>(entry.info->count()));
    }
    progress.finish();
    writer.commit();
}

/// A new folder with the weights and the files that belong to them.
void write_folder(protlm::CheckpointFolder const &checkpoint, Options const &options) {
    protlm::CheckpointWriter folder(options.output);
    for (auto const *name : {"config.json", "vocab.txt", "spiece.model", "tokenizer.json", "tokenizer_config.json",
                             "special_tokens_map.json", "added_tokens.json", "generation_config.json"})
        if (auto const file = fs::path(options.input) / name; fs::is_directory(options.input) && fs::exists(file))
            fs::copy_file(file, folder / name);
    write_weights(checkpoint, options, folder / "model.safetensors");
    folder.commit();
}

/// Names the output's kind before anything is read. @returns whether it is one file
bool check_output(Options const &options) {
    fs::path const output = options.output;
    examples::check_ending(options.output, {".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf", ".onnx", ".npz", ".json"},
                           "safetensors", "NAME.safetensors, or a new folder");
    bool const is_file = output.extension() == ".safetensors";
    if (is_file)
        protlm::check_output(output, {options.input}, options.force);
    else
        protlm::check(!fs::exists(output) || (fs::is_directory(output) && fs::is_empty(output)), options.output,
                      ": exists; give a new folder, or a file NAME.safetensors");
    return is_file;
}

void convert(Options options) {
    if (!options.inspect && options.output.empty())
        throw examples::WrongUsage("nothing to do: give an output, or --inspect");
    bool const is_file = !options.output.empty() && check_output(options);
    if (fs::is_directory(options.input) && !fs::exists(fs::path(options.input) / "config.json") &&
        !protlm::latest_checkpoint(options.input).folder.empty())
        options.input = protlm::find_model(options.input).string();
    protlm::CheckpointFolder const checkpoint(options.input);
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
