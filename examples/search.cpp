// search: the nearest proteins by the cosine of their embeddings, as a table; or how well these find kin.

#include <support/driver.hpp>
#include <support/outputs.hpp>
#include <support/protein_input.hpp>

#include <protlm/core/progress.hpp>
#include <protlm/embed/label_table.hpp>
#include <protlm/embed/retrieval.hpp>
#include <protlm/hdf5.hpp>

#include <chrono>
#include <cstdio>
#include <optional>

namespace {

struct Options {
    std::string queries, database, output = "-", labels;
    std::vector<std::string> evaluate;
    std::optional<protlm::index_t> layer;
    protlm::index_t number = 10;
    double least = -2;
    bool composition = false, centre = false, force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Finds the nearest proteins by the cosine of their vectors.\n"
                    "  search queries.h5 database.h5 --number 5 --output nearest.tsv\n"
                    "  search all.h5                      nearest others of each protein in one file\n"
                    "  search all.h5 --labels scope.csv --evaluate superfamily:family --evaluate fold:superfamily\n"
                    "The last asks of each protein whether those of its own superfamily rank first, its family left "
                    "out.");
    app.add_option("queries", options.queries, "embedding file; with --composition, FASTA")->required();
    app.add_option("database", options.database, "where to search (the queries, each but itself)");
    app.add_option("-k,--number", options.number, "proteins to name for each query")
        ->check(examples::at_least(1))
        ->capture_default_str();
    app.add_option("--least", options.least, "leave out smaller cosines");
    app.add_option("-o,--output", options.output, "table to write, separated by tabs; '-' is standard output")
        ->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace the output file if it exists");
    app.add_option("-l,--labels", options.labels,
                   "table with a line of column names; the first column has ids; separated by tabs or commas");
    app.add_option("--evaluate", options.evaluate,
                   "GROUP:LEFT_OUT, columns of the labels: proteins of the query's GROUP are to be found, those of "
                   "its LEFT_OUT count neither way. Means over the queries, and over the groups' means")
        ->needs("--labels");
    app.add_flag("--composition", options.composition, "vectors are the proteins' compositions, from FASTA");
    app.add_flag("--centre", options.centre, "subtract the database's mean from all vectors first");
    app.add_option("--layer", options.layer, "of files with several layers (the last)");
    app.add_flag("-q,--quiet", options.quiet, "no summary");
}

/// Subtracts the mean of the rows of `from` from those of `rows`.
void centre(std::vector<float> &rows, std::vector<float> const &from, std::size_t width) {
    std::vector<double> mean(width);
    for (std::size_t i = 0; i < from.size(); ++i)
        mean[i % width] += from[i] * double(width) / double(from.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = static_cast<float>(rows[i] - mean[i % width]);
}

/// The table of --evaluate.
std::string evaluate(protlm::ProteinVectors const &proteins, Options const &options) {
    auto const table = protlm::LabelTable::read(options.labels);
    std::string text = "found\tleft_out\taveraged_over\tnumber\tauroc\tauprc\thit@1\thit@10\n";
    for (auto const &pair : options.evaluate) {
        auto const colon = pair.find(':');
        auto const group = pair.substr(0, colon), left_out = colon == pair.npos ? "" : pair.substr(colon + 1);
        auto const groups = table.labels(proteins.ids, group);
        auto const without = std::count(groups.begin(), groups.end(), "");
        if (without > 0)
            std::fprintf(stderr, "search: warning: %td of %zu proteins have no %s in %s\n", without, groups.size(),
                         group.c_str(), options.labels.c_str());
        auto const result = protlm::evaluate_retrieval(proteins.values, proteins.width, groups,
                                                       left_out.empty() ? std::vector<std::string>()
                                                                        : table.labels(proteins.ids, left_out));
        auto const line = [&](std::string const &over, protlm::index_t number, protlm::RetrievalScores const &scores) {
            char numbers[120];
            std::snprintf(numbers, sizeof(numbers), "\t%td\t%.4f\t%.4f\t%.4f\t%.4f\n", std::ptrdiff_t(number),
                          scores.auroc, scores.auprc, scores.hit1, scores.hit10);
            text += examples::field(group) + '\t' + examples::field(left_out) + '\t' + over + numbers;
        };
        line("query", result.queries, result.by_query);
        line(examples::field(group), result.groups, result.by_group);
    }
    return text;
}

/// One line for each query and neighbour.
std::string table(protlm::ProteinVectors const &queries, protlm::ProteinVectors const &database,
                  std::vector<std::vector<protlm::Neighbour>> const &found, double least) {
    std::string text = "query\trank\tprotein\tcosine\n";
    for (std::size_t q = 0; q < found.size(); ++q)
        for (std::size_t rank = 0; rank < found[q].size(); ++rank) {
            auto const &one = found[q][rank];
            char numbers[40];
            std::snprintf(numbers, sizeof(numbers), "%.5f", double(one.similarity));
            if (one.similarity >= least)
                text += examples::field(queries.ids[q]) + '\t' + std::to_string(rank + 1) + '\t' +
                        examples::field(database.ids[static_cast<std::size_t>(one.index)]) + '\t' + numbers + '\n';
        }
    return text;
}

void search(Options const &options) {
    bool const alone = options.database.empty();
    if (!alone && !options.evaluate.empty())
        throw examples::WrongUsage("--evaluate takes one file, each of its proteins against the others");
    if (options.output != "-") {
        examples::check_ending(options.output, {".h5", ".hdf5", ".csv", ".gz", ".fasta"}, "a table separated by tabs",
                               "NAME.tsv");
        protlm::check_output(options.output, {options.queries, options.database, options.labels}, options.force);
    }
    auto const read = [&](std::string const &path) {
        return examples::read_vectors({path}, options.composition, options.layer);
    };
    auto queries = read(options.queries);
    auto database = alone ? queries : read(options.database);
    protlm::check(queries.width == database.width, options.queries, " has vectors of ", queries.width, ", ",
                  options.database, " of ", database.width, ": they come from different models");
    if (auto const why = protlm::difference(queries, database); !why.empty())
        std::fprintf(stderr, "search: warning: %s\n", why.c_str());
    for (auto const *file : {&queries, &database})
        if (!options.quiet && !file->note.empty() && (!alone || file == &queries))
            std::fprintf(stderr, "search: note: %s\n", file->note.c_str());
    if (options.centre) {
        centre(queries.values, database.values, static_cast<std::size_t>(queries.width));
        auto const all = database.values;
        centre(database.values, all, static_cast<std::size_t>(queries.width));
    }
    if (!options.evaluate.empty())
        return examples::write_text(options.output, evaluate(queries, options));
    protlm::normalise_rows(queries.values, queries.width);
    protlm::normalise_rows(database.values, database.width);
    auto const begin = std::chrono::steady_clock::now();
    auto const found = protlm::nearest(queries.values, database.values, queries.width, options.number, alone);
    auto const text = table(queries, database, found, options.least);
    examples::write_text(options.output, text);
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!options.quiet && options.output != "-")
        std::printf("%s: %zu queries, %zu proteins, %s\n", options.output.c_str(), queries.ids.size(),
                    database.ids.size(), protlm::format_duration(seconds).c_str());
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"search"}, argc, argv, [&](CLI::App &app) { describe(app, options); }, [&] { search(options); });
}
