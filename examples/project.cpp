// project: draws a map of proteins, on which like ones are near each other, from their embeddings.

#include "looking/map_page.hpp"

#include <support/driver.hpp>
#include <support/protein_input.hpp>

#include <protlm/core/progress.hpp>
#include <protlm/embed/label_table.hpp>
#include <protlm/embed/tsne.hpp>
#include <protlm/hdf5.hpp>

#include <cstdio>
#include <filesystem>
#include <optional>

namespace {

struct Options {
    std::vector<std::string> inputs, outputs{"map.html"};
    std::string labels, column, method = "tsne", title;
    std::optional<protlm::index_t> layer;
    protlm::TsneOptions tsne;
    protlm::index_t dimensions = 50;
    std::size_t colors = 10;
    std::optional<double> point_size;
    bool composition = false, cosine = false, force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Draws a two-dimensional map of the proteins in an embedding file, coloured by label.\n"
                    "  project embeddings.h5 --labels families.tsv --output map.html --output map.png\n"
                    "On the page, hovering over a point shows the protein's id and label.");
    app.add_option("input", options.inputs, "embedding file; with --composition, FASTA files")->required();
    app.add_option("-o,--output", options.outputs,
                   "files to write, by their ends: .html (page), .png or .svg (by gnuplot), .tsv (coordinates)")
        ->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace files that exist");
    app.add_option("-l,--labels", options.labels,
                   "table with a line of column names; the first column has ids; separated by tabs or commas");
    app.add_option("--column", options.column, "the table's column with labels (the second)")->needs("--labels");
    examples::add_choice(app, "--method", options.method, {"tsne", "pca"},
                         "tsne keeps neighbours together, pca shows the largest variance");
    app.add_flag("--composition", options.composition, "vectors are the proteins' compositions, from FASTA");
    app.add_flag("--cosine", options.cosine, "bring vectors to length 1 first, so that directions count alone");
    app.add_option("--layer", options.layer, "of a file with several layers (its last)");
    app.add_option("--perplexity", options.tsne.perplexity, "about how many neighbours tsne keeps near a protein")
        ->check(examples::at_least(1))
        ->capture_default_str();
    app.add_option("--iterations", options.tsne.iterations, "of tsne")
        ->check(examples::at_least(1))
        ->capture_default_str();
    app.add_option("--theta", options.tsne.theta, "of tsne: 0 exact and slow, 0.5 usual, 0.7 coarse")
        ->check(examples::between(0, 2))
        ->capture_default_str();
    app.add_option("--dimensions", options.dimensions, "principal components that tsne sees")
        ->check(examples::at_least(1))
        ->capture_default_str();
    app.add_option("--seed", options.tsne.seed, "of tsne's noise; the same seed draws the same map")
        ->capture_default_str();
    app.add_option("--colors", options.colors, "labels with a colour of their own, the commonest ones (at most 12)")
        ->check(examples::between(1, 12))
        ->capture_default_str();
    app.add_option("--point-size", options.point_size, "of pictures (by the number of proteins)")
        ->check(examples::above(0));
    app.add_option("--title", options.title, "of the map (the model's name, layer and pooling)");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

/// Rows of `components`, (P, C).
std::vector<float> rows_of(protlm::PrincipalComponents const &components) {
    std::vector<float> rows;
    for (std::size_t i = 0; i < components.coordinates[0].size(); ++i)
        for (auto const &axis : components.coordinates)
            rows.push_back(static_cast<float>(axis[i]));
    return rows;
}

void place(looking::Map &map, protlm::ProteinVectors const &proteins, Options const &options) {
    bool const pca = options.method == "pca";
    auto const wanted = std::min(pca ? protlm::index_t(2) : options.dimensions, proteins.width);
    auto const components = protlm::leading_components(proteins.values, proteins.width, wanted);
    if (pca) {
        for (std::size_t i = 0; i < map.ids.size(); ++i)
            map.points.push_back(
                {components.coordinates[0][i], components.coordinates.size() > 1 ? components.coordinates[1][i] : 0});
        auto const axis = [&](std::size_t k) {
            char text[80];
            std::snprintf(text, sizeof(text), "principal component %zu (%.0f %% of the variance)", k + 1,
                          k < components.variance.size() ? 100 * components.variance[k] : 0);
            return std::string(text);
        };
        map.x_axis = axis(0), map.y_axis = axis(1);
        return;
    }
    protlm::check(proteins.size() >= 4, protlm::Setting{"method", "pca"}, proteins.size(),
                  " proteins are too few for t-SNE, which takes 4 or more");
    auto tsne = options.tsne;
    tsne.perplexity = std::min(tsne.perplexity, double(proteins.size() - 1) / 3);
    protlm::Progress progress("t-SNE", "iterations", double(tsne.iterations), options.quiet);
    auto result = protlm::tsne(rows_of(components), wanted, tsne, [&](protlm::index_t done, double divergence) {
        progress.update(double(done), "divergence " + looking::short_number(divergence));
    });
    progress.finish("divergence " + looking::short_number(result.divergence));
    map.points = std::move(result.points);
    map.x_axis = "t-SNE 1", map.y_axis = "t-SNE 2";
}

void check_outputs(Options const &options) {
    std::vector<std::filesystem::path> inputs(options.inputs.begin(), options.inputs.end());
    inputs.emplace_back(options.labels);
    for (auto const &path : options.outputs) {
        auto const end = std::filesystem::path(path).extension();
        bool const picture = end == ".png" || end == ".svg";
        if (!picture && end != ".html" && end != ".tsv")
            throw examples::WrongUsage(path + ": ends in none of .html, .png, .svg and .tsv");
        protlm::check_output(path, inputs, options.force);
        if (picture)
            protlm::check_output(looking::script_of(path), inputs, options.force);
    }
}

void project(Options const &options) {
    check_outputs(options);
    auto proteins = examples::read_vectors(options.inputs, options.composition, options.layer);
    if (!options.quiet && !proteins.note.empty())
        std::fprintf(stderr, "project: note: %s\n", proteins.note.c_str());
    looking::Map map{
        options.title.empty() ? looking::title_of(proteins.what) : options.title, "", "", proteins.ids, {}, {}};
    map.labels.resize(map.ids.size());
    if (!options.labels.empty()) {
        map.labels = protlm::LabelTable::read(options.labels).labels(map.ids, options.column);
        auto const without = std::count(map.labels.begin(), map.labels.end(), "");
        if (without > 0)
            std::fprintf(stderr, "project: warning: %td of %zu proteins have no label in %s\n", without, map.ids.size(),
                         options.labels.c_str());
    }
    if (options.cosine)
        protlm::normalise_rows(proteins.values, proteins.width);
    place(map, proteins, options);
    auto const groups = looking::group(map.labels, options.colors);
    for (auto const &path : options.outputs) {
        if (path.ends_with(".html"))
            looking::write_page(map, groups, path);
        else if (path.ends_with(".tsv"))
            looking::write_table(map, path);
        else
            looking::write_picture(map, groups, path, options.point_size.value_or(looking::point_size(map.ids.size())));
        if (!options.quiet)
            std::printf("%s: %zu proteins\n", path.c_str(), map.ids.size());
    }
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"project"}, argc, argv, [&](CLI::App &app) { describe(app, options); }, [&] { project(options); });
}
