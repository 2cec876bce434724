#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Points in the directions of their largest variance.
struct PrincipalComponents {
    std::vector<std::vector<double>> coordinates; ///< [direction][point], centred
    std::vector<double> variance;                 ///< (k) each direction's share of the whole variance
};

namespace detail {

// long double: Eigen has no vector instructions for it, about which GCC 12 gives false warnings with AVX-512.
using GramMatrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

/// Scalar products (P, P) of the centred rows of `points` (P, C).
inline GramMatrix gram_matrix(std::vector<double> points, index_t count) {
    auto const width = static_cast<index_t>(points.size()) / count;
    auto const at = [&](index_t i, index_t j) -> double & { return points[static_cast<std::size_t>(i * width + j)]; };
    for (index_t j = 0; j < width; ++j) {
        double mean = 0;
        for (index_t i = 0; i < count; ++i)
            mean += at(i, j) / static_cast<double>(count);
        for (index_t i = 0; i < count; ++i)
            at(i, j) -= mean;
    }
    GramMatrix gram(count, count);
    for (index_t a = 0; a < count; ++a)
        for (index_t b = 0; b < count; ++b) {
            long double sum = 0;
            for (index_t j = 0; j < width; ++j)
                sum += at(a, j) * at(b, j);
            gram(a, b) = sum;
        }
    return gram;
}

} // namespace detail

/// Principal components of few points in many dimensions, by the eigenvectors of their Gram matrix. Signs, which are
/// arbitrary, are such that each direction's largest coordinate is positive. Pearson, Phil. Mag. 2, 1901.
/// @param points (P, C) row-major  @param count  P  @param k  directions, at most P
/// @throws Error when `points` is no such matrix or there are fewer points than directions
inline PrincipalComponents principal_components(std::vector<double> points, index_t count, index_t k) {
    check(count >= 1 && static_cast<index_t>(points.size()) % count == 0, "principal_components: ", points.size(),
          " values are no ", count, " points");
    check(k >= 1 && k <= count, "principal_components: ", k, " directions of ", count, " points");
    auto const gram = detail::gram_matrix(std::move(points), count);
    Eigen::SelfAdjointEigenSolver<detail::GramMatrix> const solver(gram);
    double whole = 0;
    for (index_t i = 0; i < count; ++i)
        whole += static_cast<double>(gram(i, i));
    PrincipalComponents result;
    for (index_t c = count - 1; c >= count - k; --c) { // Eigen sorts ascending
        double const value = std::max(0.0, static_cast<double>(solver.eigenvalues()(c)));
        std::vector<double> axis;
        double largest = 0;
        for (index_t i = 0; i < count; ++i) {
            axis.push_back(static_cast<double>(solver.eigenvectors()(i, c)) * std::sqrt(value));
            largest = std::abs(axis.back()) > std::abs(largest) ? axis.back() : largest;
        }
        for (double &coordinate : axis)
            coordinate = largest < 0 ? -coordinate : coordinate;
        result.coordinates.push_back(std::move(axis));
        result.variance.push_back(whole > 0 ? value / whole : 0.0);
    }
    return result;
}

} // namespace protlm::inline v0
