#pragma once

#include <protlm/core/philox.hpp>
#include <protlm/embed/barnes_hut.hpp>
#include <protlm/embed/leading_components.hpp>
#include <protlm/embed/nearest.hpp>

#include <span>

namespace protlm::inline v0 {

/// How a t-SNE map is made. The defaults suit some hundred to 50,000 points.
struct TsneOptions {
    double perplexity = 30;    ///< about how many neighbours a point keeps near; lower for few points
    index_t iterations = 1000; ///< the first quarter, at most 250, with exaggeration
    double exaggeration = 12;  ///< by how much attraction is larger at first
    double theta = 0.5;        ///< accuracy of the repulsion, 0 (exact, slow) to 0.7
    std::uint64_t seed = 1;    ///< of the noise that parts equal points
};

/// A map of points.
struct TsneResult {
    std::vector<PlanePoint> points; ///< (P)
    double divergence = 0;          ///< Kullback and Leibler's, between neighbourhoods before and in the map; in nats
};

namespace detail {

/// Symmetric neighbourhoods, a sparse (P, P) matrix whose values have the sum 1.
struct Neighbourhoods {
    std::vector<std::size_t> offsets; ///< (P+1)
    std::vector<std::uint32_t> columns;
    std::vector<double> values;
};

/// Gaussian weights of squared distances, of which the wider ones are less; their entropy is log(perplexity).
inline std::vector<double> gaussian_weights(std::vector<double> squared, double perplexity) {
    double const nearest = *std::min_element(squared.begin(), squared.end());
    double beta = 1, low = 0, high = std::numeric_limits<double>::infinity();
    double scale = 0; // so that the first beta fits the distances
    for (double &value : squared)
        scale += (value -= nearest) / double(squared.size());
    std::vector<double> weights(squared.size());
    for (int round = 0; round < 100; ++round) {
        double sum = 0, mean = 0;
        for (std::size_t i = 0; i < squared.size(); ++i) {
            double const distance = scale > 0 ? squared[i] / scale : 0;
            sum += weights[i] = std::exp(-beta * distance);
            mean += weights[i] * distance;
        }
        for (double &weight : weights)
            weight /= sum;
        double const excess = std::log(sum) + beta * mean / sum - std::log(perplexity);
        if (std::abs(excess) < 1e-6)
            break;
        (excess > 0 ? low : high) = beta;
        beta = std::isinf(high) ? 2 * beta : (low + high) / 2;
    }
    return weights;
}

/// Squared distances (P) of point `i` to its nearest ones, summed anew in double: rounding of near ones would show.
inline std::vector<double> distances_to(std::span<float const> points, index_t width, index_t i,
                                        std::vector<Neighbour> const &near) {
    std::vector<double> result;
    for (auto const &other : near) {
        double sum = 0;
        for (index_t j = 0; j < width; ++j) {
            double const step = double(points[static_cast<std::size_t>(i * width + j)]) -
                                points[static_cast<std::size_t>(other.index * width + j)];
            sum += step * step;
        }
        result.push_back(sum);
    }
    return result;
}

/// The `k` nearest points of each by distance: |a - b|^2 / 2 = |b|^2 / 2 - a b + what is the same for all b, so a
/// further column brings distances to scalar products. All pairs by matrix products take less time than a tree, which
/// in tens of dimensions looks at most of the points.
inline std::vector<std::vector<Neighbour>> nearest_by_distance(std::span<float const> points, index_t width,
                                                               index_t k) {
    auto const columns = static_cast<std::size_t>(width);
    std::vector<float> queries, database;
    for (std::size_t row = 0; row < points.size(); row += columns) {
        double norm = 0;
        for (std::size_t j = row; j < row + columns; ++j) {
            norm += double(points[j]) * points[j];
            queries.push_back(points[j]);
            database.push_back(points[j]);
        }
        queries.push_back(-0.5f);
        database.push_back(static_cast<float>(norm));
    }
    return nearest(queries, database, width + 1, k, true);
}

inline Neighbourhoods neighbourhoods(std::span<float const> points, index_t width, double perplexity) {
    index_t const count = static_cast<index_t>(points.size()) / width;
    auto const near = nearest_by_distance(points, width, std::min(count - 1, static_cast<index_t>(3 * perplexity)));
    std::vector<std::vector<double>> weights(static_cast<std::size_t>(count));
    for_row_blocks(count, 256, [&](index_t first, index_t rows) {
        for (index_t i = first; i < first + rows; ++i) {
            auto const place = static_cast<std::size_t>(i);
            weights[place] = gaussian_weights(distances_to(points, width, i, near[place]), perplexity);
        }
    });
    std::vector<std::vector<std::pair<std::uint32_t, double>>> rows(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t n = 0; n < near[i].size(); ++n) {
            auto const j = static_cast<std::size_t>(near[i][n].index);
            rows[i].emplace_back(static_cast<std::uint32_t>(j), weights[i][n]);
            rows[j].emplace_back(static_cast<std::uint32_t>(i), weights[i][n]);
        }
    Neighbourhoods result{{0}, {}, {}};
    for (auto &row : rows) {
        std::sort(row.begin(), row.end());
        for (std::size_t n = 0; n < row.size(); ++n) {
            double const value = row[n].second / (2 * double(count));
            if (n > 0 && row[n].first == row[n - 1].first) {
                result.values.back() += value;
                continue;
            }
            result.columns.push_back(row[n].first);
            result.values.push_back(value);
        }
        result.offsets.push_back(result.columns.size());
    }
    return result;
}

/// Pull of the neighbours of point `i`, and its share of the divergence but for the logarithm of the kernel's sum.
inline PlanePoint attraction(Neighbourhoods const &all, std::vector<PlanePoint> const &points, std::size_t i,
                             double &divergence) {
    PlanePoint force{};
    for (std::size_t n = all.offsets[i]; n < all.offsets[i + 1]; ++n) {
        auto const &other = points[all.columns[n]];
        double const x = points[i][0] - other[0], y = points[i][1] - other[1], q = 1 / (1 + x * x + y * y);
        force[0] += all.values[n] * q * x;
        force[1] += all.values[n] * q * y;
        divergence += all.values[n] > 0 ? all.values[n] * std::log(all.values[n] / q) : 0;
    }
    return force;
}

/// The gradient's quarter at each point; the forces' order in memory does not depend on threads.
/// @return the divergence, of neighbourhoods without exaggeration
inline double tsne_gradient(Neighbourhoods const &all, std::vector<PlanePoint> const &points, double exaggeration,
                            double theta, std::vector<PlanePoint> &gradient) {
    QuadTree const tree(points);
    std::vector<QuadTree::Repulsion> repulsion(points.size());
    std::vector<double> divergence(points.size());
    for_row_blocks(static_cast<index_t>(points.size()), 256, [&](index_t first, index_t rows) {
        for (auto place = static_cast<std::size_t>(first); place < static_cast<std::size_t>(first + rows); ++place) {
            auto const i = tree.order()[place];
            repulsion[i] = tree.repulsion(place, theta);
            gradient[i] = attraction(all, points, i, divergence[i]);
        }
    });
    double sum = 0, result = 0;
    for (auto const &one : repulsion)
        sum += one.weight;
    for (std::size_t i = 0; i < points.size(); ++i) {
        result += divergence[i];
        for (std::size_t axis : {0u, 1u})
            gradient[i][axis] = exaggeration * gradient[i][axis] - repulsion[i].force[axis] / sum;
    }
    return result + std::log(sum);
}

/// The two leading components of the points, small, and noise that parts equal ones.
inline std::vector<PlanePoint> first_places(std::span<float const> points, index_t width, std::uint64_t seed) {
    auto const start = leading_components(points, width, std::min<index_t>(2, width));
    auto const &x = start.coordinates[0];
    double squared = 0;
    for (double const value : x)
        squared += value * value / double(x.size());
    double const scale = squared > 0 ? 1e-4 / std::sqrt(squared) : 0;
    CounterRandom const random{seed, Purpose::sample};
    std::vector<PlanePoint> result(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t axis : {0u, 1u}) {
            double const noise = uniform_double(random(i, static_cast<std::uint32_t>(axis))[0], 0) - 0.5;
            result[i][axis] =
                (axis < start.coordinates.size() ? scale * start.coordinates[axis][i] : 0.0) + 1e-6 * noise;
        }
    return result;
}

} // namespace detail

/// A map of points on which neighbours stay together: t-SNE with Barnes and Hut's approximation (van der Maaten, JMLR
/// 15, 2014), from the points' principal components (Kobak and Berens, Nature Communications 10, 2019). Time grows with
/// P log P an iteration, and P^2 C once. The same on any number of threads.
/// @param values (P, C) row-major; bring more than some 50 dimensions down by `leading_components` before
/// @param progress  called as progress(iterations done, divergence)
/// @throws Error for options out of range or fewer than four points
template <class Progress>
TsneResult tsne(std::span<float const> values, index_t width, TsneOptions const &options, Progress &&progress) {
    check(width >= 1 && static_cast<index_t>(values.size()) % width == 0, "tsne: ", values.size(),
          " values in rows of ", width);
    auto const count = values.size() / static_cast<std::size_t>(width);
    check(count >= 4, "tsne: ", count, " points, expected at least 4");
    check(options.perplexity >= 1 && 3 * options.perplexity <= double(count - 1), "tsne: perplexity is ",
          options.perplexity, ", expected 1 to ", double(count - 1) / 3, " for ", count, " points");
    check(options.theta >= 0 && options.theta <= 0.7, "tsne: theta is ", options.theta, ", expected 0 to 0.7");
    check(options.iterations >= 1 && options.exaggeration >= 1, "tsne: iterations or exaggeration below 1");
    auto const all = detail::neighbourhoods(values, width, options.perplexity);
    TsneResult result{detail::first_places(values, width, options.seed), 0};
    std::vector<PlanePoint> gradient(count), speed(count), gain(count, {1, 1});
    index_t const early = std::min<index_t>(250, options.iterations / 4);
    double const rate = std::max(200.0, double(count) / options.exaggeration);
    for (index_t step = 0; step < options.iterations; ++step) {
        double const exaggeration = step < early ? options.exaggeration : 1, momentum = step < early ? 0.5 : 0.8;
        result.divergence = detail::tsne_gradient(all, result.points, exaggeration, options.theta, gradient);
        for (std::size_t i = 0; i < count; ++i)
            for (std::size_t axis : {0u, 1u}) { // gains as Jacobs, Neural Networks 1, 1988
                bool const same = (gradient[i][axis] > 0) == (speed[i][axis] > 0);
                gain[i][axis] = std::max(0.01, same ? 0.8 * gain[i][axis] : gain[i][axis] + 0.2);
                speed[i][axis] = momentum * speed[i][axis] - rate * gain[i][axis] * gradient[i][axis];
                result.points[i][axis] += speed[i][axis];
            }
        progress(step + 1, result.divergence);
    }
    return result;
}

} // namespace protlm::inline v0
