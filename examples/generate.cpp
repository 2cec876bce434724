// generate: lets a trained model write proteins.

#include "generating/options.hpp"

#include <support/driver.hpp>
#include <support/fasta_input.hpp>
#include <support/notes.hpp>
#include <support/outputs.hpp>

#include <protlm/core/progress.hpp>
#include <protlm/data/fasta_writer.hpp>
#include <protlm/data/masked_proteins.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/model/recurrent_decoder.hpp>
#include <protlm/model/transformer_xl.hpp>
#include <protlm/t5.hpp>

#include <cstdio>
#include <unordered_set>

namespace {

using Exec = Kokkos::DefaultExecutionSpace;
using Context = protlm::Inference<Exec>;
using Proteins = std::vector<protlm::MaskedProtein>;
using generating::Options;

/// Proteins in batches: `decoder_of(batch)`, `start_of(protein)`, and `finished(protein, tokens)` for what was written.
template <class DecoderOf, class StartOf, class Finished>
void generate_all(Options const &o, Proteins const &proteins, protlm::Vocabulary const &vocabulary, Context &context,
                  DecoderOf decoder_of, StartOf start_of, Finished finished) {
    protlm::AtomicFile file(o.output);
    protlm::Progress progress("generate", "proteins", double(proteins.size()), o.quiet);
    for (std::size_t first = 0; first < proteins.size(); first += static_cast<std::size_t>(o.batch)) {
        auto const count = std::min(proteins.size() - first, static_cast<std::size_t>(o.batch));
        auto const batch = std::span(proteins).subspan(first, count);
        std::vector<protlm::TextStart> starts;
        for (std::size_t i = 0; i < count; ++i) {
            starts.push_back(start_of(batch[i]));
            starts.back().source = static_cast<protlm::index_t>(i);
            starts.back().sample = first + i;
        }
        auto decoder = decoder_of(batch);
        auto const texts = protlm::generate(context, decoder, std::span<protlm::TextStart const>(starts), o.plan);
        for (std::size_t i = 0; i < count; ++i)
            for (std::size_t n = 0; n < texts[i].size(); ++n) {
                char title[120];
                std::snprintf(title, sizeof(title), "generated_%zu method=%s score=%.4f%s", n + 1, o.method.c_str(),
                              texts[i][n].score, texts[i][n].complete ? "" : " incomplete");
                write_fasta(file, batch[i].id + '_' + title, vocabulary, finished(batch[i], texts[i][n].tokens));
            }
        progress.update(double(first + count));
    }
    progress.finish();
    file.commit();
}

/// What is written for two proteins of one id could not be told apart.
void check_ids(Proteins const &proteins) {
    std::unordered_set<std::string> seen;
    for (auto const &protein : proteins)
        protlm::check(seen.insert(protein.id).second, "two proteins have the id ", protein.id,
                      ", from which the ids of what is written are made");
}

void generate_t5(Options o, std::filesystem::path const &folder) {
    protlm::check(!o.inputs.empty(), "a T5 needs proteins to fill in or to rewrite: name a FASTA file");
    auto const model = protlm::T5<float, Exec>::load(folder);
    examples::print_notes("generate", model.parameters().notes());
    auto const &config = model.config();
    auto const vocabulary = protlm::read_model_vocabulary(folder, config.vocab_size, "t5");
    if (!o.rewrite && !o.spans && (o.plan.options.min_length != 0 || o.plan.options.max_length != 512))
        throw examples::WrongUsage("a T5 keeps the length of a protein that it fills in: --min-length and --max-length "
                                   "go with --rewrite or --spans");
    auto const proteins = examples::read_masked("generate", o.inputs, vocabulary, o.mask, o.spans, o.fasta);
    check_ids(proteins);
    std::int32_t const end = o.plan.options.end = config.eos_token_id;
    auto kept = o.spans ? vocabulary.sentinels : std::vector<std::int32_t>{};
    kept.push_back(end);
    o.plan.options.forbidden = protlm::unwanted_tokens(vocabulary, config.vocab_size, o.without, kept);
    Context context;
    auto const decoder_of = [&](std::span<protlm::MaskedProtein const> batch) {
        protlm::PackedProteins const packed(batch, end);
        return protlm::T5Decoder<float, Exec>(context, model, {packed.tokens, {}, packed.offsets, {}});
    };
    auto const start_of = [&](protlm::MaskedProtein const &protein) {
        protlm::TextStart start{.tokens = {config.decoder_start_token_id}};
        if (o.rewrite || o.spans)
            return start;
        for (std::int32_t const token : protein.tokens)
            start.tokens.push_back(vocabulary.is_special(token) ? protlm::free_token : token);
        start.tokens.push_back(end);
        start.max_length = protlm::index_t(start.tokens.size());
        return start;
    };
    auto const finished = [&](protlm::MaskedProtein const &protein, std::vector<std::int32_t> written) {
        if (!o.spans)
            return written;
        std::erase(written, end);
        written.insert(written.end(), vocabulary.sentinels.begin(), vocabulary.sentinels.end()); // left out is empty
        return protlm::fill_spans(vocabulary, protein.tokens, written);
    };
    generate_all(o, proteins, vocabulary, context, decoder_of, start_of, finished);
}

/// Goes on where the given proteins end; without any, begins new ones.
void generate_transformer_xl(Options o, std::filesystem::path const &folder) {
    using Model = protlm::TransformerXl<float, Exec>;
    if (o.rewrite || o.spans || o.mask != "?")
        throw examples::WrongUsage("--rewrite, --spans and --mask are for a T5, but " + folder.string() +
                                   " is a Transformer-XL");
    auto const model = Model::load(folder);
    examples::print_notes("generate", model.parameters().notes());
    auto const vocabulary = protlm::read_model_vocabulary(folder, model.config().vocab_size, "transfo-xl");
    Proteins proteins{{"new", {}}};
    if (!o.inputs.empty())
        proteins = examples::read_masked("generate", o.inputs, vocabulary, "", false, o.fasta);
    check_ids(proteins);
    std::vector const end{o.plan.options.end = vocabulary.separator};
    o.plan.options.forbidden = protlm::unwanted_tokens(vocabulary, model.config().vocab_size, o.without, end);
    Context context;
    auto const decoder_of = [&](std::span<protlm::MaskedProtein const> batch) {
        return protlm::RecurrentDecoder<Model>(model, protlm::index_t(batch.size()));
    };
    auto const start_of = [&](protlm::MaskedProtein const &protein) {
        protlm::TextStart start{.tokens = {vocabulary.begin}};
        start.tokens.insert(start.tokens.end(), protein.tokens.begin(), protein.tokens.end());
        return start;
    };
    generate_all(o, proteins, vocabulary, context, decoder_of, start_of,
                 [](auto const &, auto const &written) { return written; });
}

void generate(Options o) {
    std::vector<std::filesystem::path> inputs(o.inputs.begin(), o.inputs.end());
    inputs.emplace_back(o.model);
    examples::check_ending(o.output, {".gz", ".zst", ".h5", ".tsv", ".csv", ".safetensors"}, "plain FASTA",
                           "NAME.fasta");
    protlm::check_output(o.output, inputs, o.force);
    auto const folder = protlm::find_model(o.model);
    auto const type = protlm::read_fields(folder / "config.json").required<std::string>("model_type");
    protlm::check(type == "t5" || type == "transfo-xl", folder.string(), ": model_type is \"", type,
                  "\", expected \"t5\" or \"transfo-xl\"");
    type == "t5" ? generate_t5(o, folder) : generate_transformer_xl(o, folder);
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"generate"}, argc, argv, [&](CLI::App &app) { generating::describe(app, options); },
        [&] { generate(options); });
}
