// What `project` draws: points of the plane in the colours of their labels, as a table, a picture or a page.
#pragma once

#include <protlm/core/file.hpp>
#include <protlm/embed/barnes_hut.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
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

/// Labels that have a colour of their own, the commonest first, and behind them one group for all others.
struct Groups {
    std::vector<std::string> names; ///< of the coloured ones, and of the others if there are any
    std::vector<std::size_t> of;    ///< (P) number of each point's group
    std::size_t coloured = 0;
};

// The first eight are Okabe and Ito's but for black and yellow, which are hard to see; the order keeps like ones apart.
inline constexpr std::array colors{"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9",
                                   "#7A5195", "#8C6D31", "#1B7F3B", "#A50F15", "#4A6FE3", "#5B5B00"};
inline constexpr char const *other_color = "#BBBBBB";

/// @param most  coloured labels, at most as many as there are colours
inline Groups group(std::vector<std::string> const &labels, std::size_t most) {
    std::map<std::string, std::size_t> counts;
    for (auto const &label : labels)
        if (!label.empty())
            ++counts[label];
    std::vector<std::pair<std::string, std::size_t>> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](auto &a, auto &b) { return a.second > b.second; });
    Groups groups;
    groups.coloured = std::min({most, sorted.size(), colors.size()});
    std::map<std::string, std::size_t> place;
    for (std::size_t i = 0; i < groups.coloured; ++i) {
        groups.names.push_back(sorted[i].first);
        place[sorted[i].first] = i;
    }
    for (auto const &label : labels)
        groups.of.push_back(place.contains(label) ? place[label] : groups.coloured);
    bool const rest = std::find(groups.of.begin(), groups.of.end(), groups.coloured) != groups.of.end();
    if (rest)
        groups.names.push_back(groups.coloured == 0 ? "proteins" : "others");
    return groups;
}

inline std::string color_of(Groups const &groups, std::size_t group) {
    return group < groups.coloured ? colors[group] : groups.coloured == 0 ? colors[0] : other_color;
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
        file.write(map.ids[i] + '\t' + map.labels[i] + '\t' + short_number(map.points[i][0]) + '\t' +
                   short_number(map.points[i][1]) + '\n');
    file.commit();
}

/// In a string of gnuplot's in double quotes.
inline std::string quoted(std::string const &text) {
    std::string result = "\"";
    for (char const c : text)
        result += c == '"' || c == '\\' ? std::string("\\") + c : c == '\n' ? " " : std::string(1, c);
    return result + '"';
}

/// PNG or SVG, by gnuplot, from a script PATH.gp that is removed when it has done its work.
/// @param size  of the points, 1 is usual @throws protlm::Error when gnuplot fails
inline void write_picture(Map const &map, Groups const &groups, std::string const &path, double size) {
    protlm::check(path.find('\'') == path.npos, path, ": a quotation mark in a file's name");
    bool const svg = path.ends_with(".svg");
    protlm::AtomicFile script(path + ".gp");
    script.write(std::string("set terminal ") + (svg ? "svg size 1200,900 font 'sans-serif,16' background 'white'"
                                                     : "pngcairo size 1200,900 font 'sans,16'"));
    script.write("\nset output '" + path + "'\nset title " + quoted(map.title) + " font ',20' noenhanced\n");
    script.write("set xlabel " + quoted(map.x_axis) + " noenhanced\nset ylabel " + quoted(map.y_axis) +
                 " noenhanced\n");
    script.write("set key outside right center Left reverse noenhanced spacing 1.3 samplen 0.5\n"
                 "set grid lc rgb '#E8E8E8' lt 1\nset border lc rgb '#808080'\nset tics textcolor rgb '#404040'\n"
                 "set size ratio -1\n");
    std::string plot;
    for (std::size_t turn = 0; turn < groups.names.size(); ++turn) {
        std::size_t const last = groups.names.size() - 1, g = last - turn; // the others first, below all
        std::string const name = "$group" + std::to_string(g);
        script.write(name + " << EOD\n");
        for (std::size_t i = 0; i < map.points.size(); ++i)
            if (groups.of[i] == g)
                script.write(short_number(map.points[i][0]) + ' ' + short_number(map.points[i][1]) + '\n');
        script.write("EOD\n");
        plot += (plot.empty() ? "plot " : ", ") + name + " with points pt 7 ps " + short_number(0.45 * size) +
                " lc rgb '" + color_of(groups, g) + "' notitle";
    }
    for (std::size_t g = 0; g < groups.names.size(); ++g) // the legend, in order, with points that can be seen
        plot += ", NaN with points pt 7 ps 1.4 lc rgb '" + color_of(groups, g) + "' title " + quoted(groups.names[g]);
    script.write("set xrange [*:*]\n" + plot + '\n');
    script.commit();
    int const status = std::system(("gnuplot '" + path + ".gp'").c_str());
    protlm::check(status == 0, "gnuplot failed: is it installed (Debian: gnuplot-nox)? Its script is ", path, ".gp");
    std::remove((path + ".gp").c_str());
}

} // namespace looking
