// amino_acid_map: draws what a model of any family has learned about the 20 amino acids.

#include "looking/gnuplot.hpp"
#include "looking/letter_places.hpp"

#include <support/driver.hpp>
#include <support/outputs.hpp>

#include <protlm/embed/model_folder.hpp>
#include <protlm/embed/principal_components.hpp>
#include <protlm/io/quantisation.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

struct Class {
    char const *name, *letters, *color;
    int symbol; // gnuplot's point type
};
// Okabe and Ito's colors, which colour-blind people tell apart; symbols differ, too.
constexpr std::array<Class, 6> classes{{{"aliphatic", "AILMV", "#E69F00", 7},
                                        {"aromatic", "FWY", "#CC79A7", 9},
                                        {"polar", "NQST", "#009E73", 5},
                                        {"positive", "HKR", "#0072B2", 13},
                                        {"negative", "DE", "#D55E00", 11},
                                        {"special", "CGP", "#555555", 15}}};

std::string letters() {
    std::string all;
    for (auto const &group : classes)
        all += group.letters;
    return all;
}

/// Word embeddings of `letters()`, (20, C) row-major, of any family's checkpoint: no more of it is read.
std::vector<double> word_embeddings(std::filesystem::path const &folder) {
    protlm::CheckpointFolder const checkpoint(folder);
    protlm::refuse_adapter(checkpoint);
    protlm::refuse_quantised(checkpoint);
    protlm::TensorInfo const *table = nullptr;
    for (char const *end : {"embed_tokens.weight", "shared.weight", "word_emb.emb_layers.0.weight",
                            "word_embedding.weight", "word_embeddings.weight"}) // the last that is there counts
        for (auto const &tensor : checkpoint.tensors())
            if (tensor.info->name.ends_with(end) && tensor.info->shape.size() == 2)
                table = tensor.info;
    protlm::check(table, folder.string(), ": has no word embedding");
    auto const family = protlm::read_fields(folder / "config.json").required<std::string>("model_type");
    auto const vocabulary = protlm::read_model_vocabulary(folder, table->shape[0], family);
    auto const values = checkpoint.read<double>(table->name);
    std::vector<double> rows;
    for (char const letter : letters()) {
        auto const token = vocabulary.residue_table[static_cast<unsigned char>(letter)];
        protlm::check(token != protlm::Vocabulary::not_a_residue, folder.string(), ": no token for ", letter);
        auto const row = values.begin() + token * table->shape[1];
        rows.insert(rows.end(), row, row + table->shape[1]);
    }
    return rows;
}

constexpr double width = 1200, height = 900, left = 140, right = 1020, bottom = 90, top = 830; // pixels

template <class... Values>
void print(protlm::AtomicFile &file, char const *format, Values... values) {
    char line[400];
    std::snprintf(line, sizeof(line), format, values...);
    file.write(std::string_view(line));
}

/// Writes PREFIX.tsv, PREFIX.gp and, by gnuplot, PREFIX.png.
void draw(protlm::PrincipalComponents const &map, std::string const &prefix, std::string const &title) {
    protlm::AtomicFile table(prefix + ".tsv"), script(prefix + ".gp");
    auto const &x = map.coordinates[0], &y = map.coordinates[1];
    auto const [x_low, x_high] = std::minmax_element(x.begin(), x.end());
    auto const [y_low, y_high] = std::minmax_element(y.begin(), y.end());
    // one scale for both axes: distances in the picture are distances of the embeddings
    double const unit = 1.14 * std::max((*x_high - *x_low) / (right - left), (*y_high - *y_low) / (top - bottom));
    double const x0 = (*x_low + *x_high - unit * (left + right)) / 2;
    double const y0 = (*y_low + *y_high - unit * (bottom + top)) / 2;
    std::vector<looking::Point> pixels;
    for (std::size_t i = 0; i < x.size(); ++i)
        pixels.emplace_back((x[i] - x0) / unit, (y[i] - y0) / unit);
    auto const places = looking::place_letters(pixels);
    print(script, "set terminal pngcairo size %g,%g font 'sans,16'\n", width, height);
    script.write("set output '" + prefix + ".png'\nset title " + looking::quoted(title) + " font ',20' noenhanced\n");
    for (int axis : {0, 1})
        print(script, "set %clabel 'principal component %d (%.0f %% of the variance)' font ',17'\n", "xy"[axis],
              axis + 1, 100 * map.variance[static_cast<std::size_t>(axis)]);
    print(script, "set margins screen %g, screen %g, screen %g, screen %g\n", left / width, right / width,
          bottom / height, top / height);
    print(script, "set xrange [%g:%g]\nset yrange [%g:%g]\n", x0 + unit * left, x0 + unit * right, y0 + unit * bottom,
          y0 + unit * top);
    script.write("set key at screen 0.865, screen 0.6 left top Left reverse spacing 1.7 samplen 0.5\n"
                 "set grid lc rgb '#E0E0E0' lt 1\nset border lc rgb '#808080'\n"
                 "set tics textcolor rgb '#404040' format '%g'\n");
    table.write("amino_acid\tclass\tcomponent_1\tcomponent_2\n");
    std::string plot = "plot";
    std::size_t i = 0;
    for (auto const &group : classes) {
        print(script, "$%s << EOD\n", group.name);
        for (char const *letter = group.letters; *letter; ++letter, ++i) {
            print(table, "%c\t%s\t%.6g\t%.6g\n", *letter, group.name, x[i], y[i]);
            auto const place = unit * places[i] + looking::Point(x0, y0);
            print(script, "%g %g %c %g %g\n", x[i], y[i], *letter, place.real(), place.imag());
        }
        script.write("EOD\n");
        std::string const data = std::string(" $") + group.name, color = std::string(" rgb '") + group.color + "'";
        plot += data + " using 1:2 with points pt " + std::to_string(group.symbol) + " ps 2.2 lc" + color + " title '" +
                group.name + "'," + data + " using 4:5:3 with labels center font ',20' tc" + color + " notitle,";
    }
    script.write(plot + '\n');
    table.commit(), script.commit();
    looking::run_gnuplot(prefix + ".gp");
}

struct Options {
    std::string model, prefix = "amino_acids", title = "Amino acids as the model sees them";
    bool force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Draws the word embeddings of the 20 amino acids in two dimensions, by principal components.\n"
                    "Writes PREFIX.tsv, PREFIX.gp (for gnuplot, to change and run again) and PREFIX.png.");
    app.add_option("model,-m,--model", options.model, "folder of a checkpoint, or of a run")->required();
    app.add_option("-o,--output", options.prefix, "PREFIX of the files")->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace files that exist");
    app.add_flag("-q,--quiet", options.quiet, "no summary");
    app.add_option("--title", options.title, "of the picture")->capture_default_str();
}

void draw_map(Options const &options) {
    auto const &prefix = options.prefix;
    protlm::check(prefix.find('\'') == prefix.npos, prefix, ": a quotation mark in a file's name");
    for (char const *end : {".tsv", ".gp", ".png"})
        protlm::check_output(prefix + end, {options.model}, options.force);
    draw(protlm::principal_components(word_embeddings(protlm::find_model(options.model)), 20, 2), prefix,
         options.title);
    if (!options.quiet)
        std::printf("%s.png, with its numbers in .tsv and its script in .gp\n", prefix.c_str());
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"amino_acid_map", false}, argc, argv, [&](CLI::App &app) { describe(app, options); },
        [&] { draw_map(options); });
}
