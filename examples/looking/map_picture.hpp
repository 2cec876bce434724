// What `project` draws: points of the plane in the colours of their labels, as a table, a picture or a page.
#pragma once

#include "gnuplot.hpp"

#include <support/outputs.hpp>

#include <protlm/core/file.hpp>
#include <protlm/embed/barnes_hut.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace looking {

/// A map that is ready to be drawn.
struct Map {
    std::string title, x_axis, y_axis;
    std::vector<std::string> ids, labels;   ///< (P); a label may be empty
    std::vector<protlm::PlanePoint> points; ///< (P)
};

/// A title from what ProteinVectors says of itself: the model's folder without the way to it, of a run's checkpoint
/// the run's name and the step.
inline std::string title_of(std::string const &what) {
    auto const end = std::min(what.find(", layer "), what.size());
    std::filesystem::path model = what.substr(0, end);
    if (!model.has_filename())
        model = model.parent_path();
    std::string name = model.filename().string();
    if (name.starts_with("step-") && model.has_parent_path()) {
        auto const digits = std::min(name.find_first_not_of("-0", 4), name.size() - 1);
        name = model.parent_path().filename().string() + ", step " + name.substr(digits);
    }
    return name + what.substr(end);
}

/// Labels that have a colour of their own, the commonest first; behind them one group for all other labels, and one
/// for proteins without a label.
struct Groups {
    std::vector<std::string> names, colors; ///< of the coloured ones, and of the two others where they have proteins
    std::vector<std::size_t> of;            ///< (P) number of each point's group
    std::size_t coloured = 0;               ///< groups of one label each
};

// The first eight are Okabe and Ito's but for black and yellow, which are hard to see; the order keeps like ones apart.
inline constexpr std::array palette{"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9",
                                    "#7A5195", "#8C6D31", "#1B7F3B", "#A50F15", "#4A6FE3", "#5B5B00"};

/// @param most  coloured labels, at most as many as there are colours
inline Groups group(std::vector<std::string> const &labels, std::size_t most) {
    std::map<std::string, std::size_t> counts;
    for (auto const &label : labels)
        if (!label.empty())
            ++counts[label];
    std::vector<std::pair<std::string, std::size_t>> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](auto &a, auto &b) { return a.second > b.second; });
    Groups groups;
    std::size_t const coloured = groups.coloured = std::min({most, sorted.size(), palette.size()});
    std::map<std::string, std::size_t> place;
    for (std::size_t i = 0; i < coloured; ++i) {
        groups.names.push_back(sorted[i].first);
        groups.colors.push_back(palette[i]);
        place[sorted[i].first] = i;
    }
    if (coloured < sorted.size())
        groups.names.push_back("others"), groups.colors.push_back("#8C8C8C");
    std::size_t const without = groups.names.size();
    for (auto const &label : labels)
        groups.of.push_back(label.empty() ? without : place.contains(label) ? place[label] : coloured);
    if (sorted.empty())
        groups.names.push_back("proteins"), groups.colors.push_back(palette[0]);
    else if (std::find(labels.begin(), labels.end(), "") != labels.end())
        groups.names.push_back("no label"), groups.colors.push_back("#C8C8C8");
    return groups;
}

/// A number with as many digits as a picture shows.
inline std::string short_number(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.5g", value);
    return text;
}

/// id, label and coordinates of each protein, separated by tabs.
inline void write_table(Map const &map, std::string const &path) {
    protlm::AtomicFile file(path);
    file.write("id\tlabel\tx\ty\n");
    for (std::size_t i = 0; i < map.ids.size(); ++i)
        file.write(examples::field(map.ids[i]) + '\t' + examples::field(map.labels[i]) + '\t' +
                   short_number(map.points[i][0]) + '\t' + short_number(map.points[i][1]) + '\n');
    file.commit();
}

/// Size of points, in gnuplot's measure, that lets a map of so many of them be read: large dots for a few, specks for
/// many.
inline double point_size(std::size_t points) {
    return points <= 100 ? 1.6 : points <= 1000 ? 1.1 : points <= 5000 ? 0.7 : points <= 20000 ? 0.45 : 0.3;
}

/// A file beside the picture, which is removed when the picture is there.
inline std::string script_of(std::string const &picture) { return picture + ".gp"; }

/// Points of a group as a block of data.
inline void write_points(protlm::AtomicFile &script, Map const &map, Groups const &groups, std::size_t group) {
    script.write("$group" + std::to_string(group) + " << EOD\n");
    for (std::size_t i = 0; i < map.points.size(); ++i)
        if (groups.of[i] == group)
            script.write(short_number(map.points[i][0]) + ' ' + short_number(map.points[i][1]) + '\n');
    script.write("EOD\n");
}

/// PNG or SVG, by gnuplot.
/// @param size  of the points @throws protlm::Error when gnuplot fails; then its script is left
inline void write_picture(Map const &map, Groups const &groups, std::string const &path, double size) {
    protlm::check(path.find('\'') == path.npos, path, ": a quotation mark in a file's name");
    bool const svg = path.ends_with(".svg");
    protlm::AtomicFile script(script_of(path));
    script.write(std::string("set terminal ") + (svg ? "svg size 1200,900 font 'sans-serif,16' background 'white'"
                                                     : "pngcairo size 1200,900 font 'sans,16'"));
    script.write("\nset output '" + path + "'\nset title " + quoted(map.title) + " font ',20' noenhanced\n");
    script.write("set xlabel " + quoted(map.x_axis) + " noenhanced\nset ylabel " + quoted(map.y_axis) +
                 " noenhanced\n");
    script.write("set key outside right center Left reverse noenhanced spacing 1.3 samplen 0.5\n"
                 "set grid lc rgb '#E8E8E8' lt 1\nset border lc rgb '#808080'\nset tics textcolor rgb '#404040'\n"
                 "set size ratio -1\nset offsets graph 0.02, graph 0.02, graph 0.02, graph 0.02\n");
    std::string plot, legend;
    // those without a colour below all, the rarest label on top
    for (std::size_t turn = 0, all = groups.names.size(); turn < all; ++turn) {
        std::size_t const g = (turn + groups.coloured) % all;
        write_points(script, map, groups, g);
        plot += (plot.empty() ? "plot $group" : ", $group") + std::to_string(g) + " with points pt 7 ps " +
                short_number(size) + " lc rgb '" + groups.colors[g] + "' notitle";
    }
    for (std::size_t g = 0; g < groups.names.size(); ++g) // in order, and as large as the points where these are seen
        legend += ", NaN with points pt 7 ps " + short_number(std::max(size, 1.2)) + " lc rgb '" + groups.colors[g] +
                  "' title " + quoted(groups.names[g]);
    script.write(plot + legend + '\n');
    script.commit();
    run_gnuplot(script_of(path));
    std::remove(script_of(path).c_str());
}

} // namespace looking
