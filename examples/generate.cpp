// generate: lets a trained model write proteins.

#include <protlm/core/progress.hpp>
#include <protlm/data/fasta_writer.hpp>
#include <protlm/data/masked_proteins.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/t5.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>

namespace {

using Exec = Kokkos::DefaultExecutionSpace;
using Context = protlm::Inference<Exec>;
using Proteins = std::vector<protlm::MaskedProtein>;

struct Options {
    std::string model, output, method = "greedy", mask = "?", without = "XBZUO";
    std::vector<std::string> inputs;
    bool rewrite = false, spans = false, force = false;
    protlm::index_t max_length = 0, batch = 16;
    protlm::GenerationPlan plan;
};

void describe(CLI::App &app, Options &o) {
    app.description("Lets a trained T5 write proteins. Each protein of the FASTA files is given to the model, which "
                    "fills in the residues that are masked by '?'; the others stay.");
    app.add_option("model", o.model, "folder with config.json and weights, or of a training run")->required();
    app.add_option("inputs", o.inputs, "FASTA files, plain or compressed; - is standard input")->required();
    app.add_option("-o,--output", o.output, "FASTA file to write")->required();
    app.add_flag("-f,--force", o.force, "replace the output file if it exists");
    auto const option = [&](char const *name, auto &value, char const *help) {
        return app.add_option(name, value, help)->capture_default_str();
    };
    option("--mask", o.mask, "letters that stand for a residue to fill in, for example ?X-");
    auto *const rewrite = app.add_flag("--rewrite", o.rewrite, "let the model write the whole protein anew");
    app.add_flag("--spans", o.spans,
                 "for models trained with pretrain_t5 --spans: a run of masked residues becomes as many as it may")
        ->excludes(rewrite);
    option("--without", o.without, "letters that are never written");
    option("-m,--method", o.method,
           "greedy: the most probable residue each time; beam: search for the most probable protein; sample: draw by "
           "the model's probabilities")
        ->check(CLI::IsMember({"greedy", "beam", "sample"}));
    option("-n,--number", o.plan.number, "proteins for each input; beam: at most as many as beams, greedy: 1");
    option("--min-length", o.plan.options.min_length, "with --rewrite or --spans: tokens to write at least");
    option("--max-length", o.max_length, "with --rewrite or --spans: tokens to write at most; 0: as the input has");
    option("--seed", o.plan.sampling.seed, "sample: another number gives other proteins");
    option("--temperature", o.plan.sampling.temperature, "sample: below 1 surer, above 1 more varied");
    option("--top-k", o.plan.sampling.top_k, "sample: only the k most probable residues; 0: all");
    option("--top-p", o.plan.sampling.top_p, "sample: only the most probable residues that reach this sum");
    option("--beams", o.plan.beam.beams, "beam: unfinished proteins that are kept");
    option("--length-penalty", o.plan.beam.length_penalty, "beam: scores are divided by length to this power");
    option("--batch", o.batch, "proteins at a time: what memory is needed for")->check(CLI::PositiveNumber);
}

/// What may not be written: special tokens but the end, and the letters that are not wanted.
std::vector<std::int32_t> forbidden(Options const &o, protlm::Vocabulary const &vocabulary, protlm::index_t size) {
    std::vector<std::int32_t> tokens;
    for (std::int32_t token = 0; token < size; ++token) {
        bool const sentinel = std::ranges::count(vocabulary.sentinels, token) > 0;
        if (vocabulary.is_special(token) ? token != o.plan.options.end && !(o.spans && sentinel)
                                         : o.without.find(vocabulary.letter(token)) != o.without.npos)
            tokens.push_back(token);
    }
    return tokens;
}

/// Proteins in batches: `decoder_of(batch)`, `start_of(protein)`, and `finished(protein, tokens)` for what was written.
template <class DecoderOf, class StartOf, class Finished>
void generate_all(Options const &o, Proteins const &proteins, protlm::Vocabulary const &vocabulary, Context &context,
                  DecoderOf decoder_of, StartOf start_of, Finished finished) {
    protlm::AtomicFile file(o.output);
    protlm::Progress progress("generate", "proteins", double(proteins.size()));
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

void generate_t5(Options o, std::filesystem::path const &folder) {
    auto const model = protlm::T5<float, Exec>::load(folder);
    auto const &config = model.config();
    auto const vocabulary = protlm::read_model_vocabulary(folder, config.vocab_size, "t5");
    auto const proteins = protlm::read_masked_proteins(o.inputs, vocabulary, o.mask, o.spans);
    o.plan.options.end = config.eos_token_id;
    o.plan.options.forbidden = forbidden(o, vocabulary, config.vocab_size);
    Context context;
    auto const decoder_of = [&](std::span<protlm::MaskedProtein const> batch) {
        std::vector<std::int32_t> tokens;
        std::vector<std::int64_t> offsets{0};
        for (auto const &protein : batch) {
            tokens.insert(tokens.end(), protein.tokens.begin(), protein.tokens.end());
            tokens.push_back(o.plan.options.end);
            offsets.push_back(static_cast<std::int64_t>(tokens.size()));
        }
        return protlm::T5Decoder<float, Exec>(context, model, {tokens, {}, offsets, {}});
    };
    auto const start_of = [&](protlm::MaskedProtein const &protein) {
        protlm::TextStart start{.tokens = {config.decoder_start_token_id}};
        bool const free = o.rewrite || o.spans;
        start.max_length = free && o.max_length > 0 ? o.max_length : protlm::index_t(protein.tokens.size()) + 1;
        for (std::size_t i = 0; !free && i < protein.tokens.size(); ++i)
            start.tokens.push_back(vocabulary.is_special(protein.tokens[i]) ? protlm::free_token : protein.tokens[i]);
        if (!free)
            start.tokens.push_back(o.plan.options.end);
        return start;
    };
    auto const finished = [&](protlm::MaskedProtein const &protein, std::vector<std::int32_t> written) {
        if (!o.spans)
            return written;
        std::erase(written, o.plan.options.end);
        written.insert(written.end(), vocabulary.sentinels.begin(), vocabulary.sentinels.end()); // left out is empty
        return protlm::fill_spans(vocabulary, protein.tokens, written);
    };
    generate_all(o, proteins, vocabulary, context, decoder_of, start_of, finished);
}

} // namespace

int main(int argc, char **argv) {
    try {
        CLI::App app;
        Options o;
        describe(app, o);
        CLI11_PARSE(app, argc, argv);
        Kokkos::ScopeGuard const kokkos(argc, argv);
        protlm::check(o.force || !std::filesystem::exists(o.output), o.output, ": exists; --force replaces it");
        o.plan.method = protlm::generation_method(o.method);
        auto const folder = protlm::find_model(o.model);
        auto const type = protlm::read_fields(folder / "config.json").required<std::string>("model_type");
        protlm::check(type == "t5", folder.string(), ": model_type is \"", type, "\", expected \"t5\"");
        generate_t5(o, folder);
    } catch (std::exception const &error) {
        std::fprintf(stderr, "generate: %s\n", error.what());
        return 1;
    }
}
