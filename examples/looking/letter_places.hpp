// Where the letters of a map's points go.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <utility>
#include <vector>

namespace looking {

using Point = std::complex<double>;
inline double closeness(Point a, Point b) { return std::exp(-std::norm(a - b) / 800); }

/// Where letters go, in pixels: beside each point, in the direction with the most room.
inline std::vector<Point> place_letters(std::vector<Point> const &points) {
    auto places = points;
    for (int round = 0; round < 5; ++round) // again, now that the other letters have places
        for (std::size_t i = 0; i < points.size(); ++i) {
            std::pair<double, Point> best{1e300, {}};
            for (int direction = 0; direction < 16; ++direction) {
                Point const place = points[i] + std::polar(27.0, (direction + 2) * std::acos(-1.0) / 8);
                double crowding = 1e-7 * direction; // where there is room everywhere: above, to the right
                for (std::size_t k = 0; k < points.size(); ++k)
                    crowding += k == i ? 0 : closeness(place, points[k]) + closeness(place, places[k]);
                if (crowding < best.first)
                    best = {crowding, place};
            }
            places[i] = best.second;
        }
    return places;
}

} // namespace looking
