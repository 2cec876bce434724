#pragma once

#include <protlm/core/philox.hpp>
#include <protlm/embed/principal_components.hpp>

#include <Eigen/Core>

#include <span>

namespace protlm::inline v0 {

namespace detail {

using DoubleRows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Products of rows, each task `rows` rows of the result: the same bits on any number of threads.
template <class Work>
void for_row_blocks(index_t count, index_t rows, Work &&work) {
    using Host = Kokkos::DefaultHostExecutionSpace;
    Kokkos::parallel_for("protlm::leading_components",
                         Kokkos::RangePolicy<Host, Kokkos::Schedule<Kokkos::Dynamic>>(0, (count + rows - 1) / rows),
                         [&](index_t block) { work(block * rows, std::min(rows, count - block * rows)); });
    Host().fence();
}

/// Covariances (C, C) times P of the rows of `points` (P, C) around `mean` (C).
inline DoubleRows covariance_sums(std::span<float const> points, index_t width, std::vector<double> const &mean) {
    index_t const count = static_cast<index_t>(points.size()) / width, slice = 256;
    DoubleRows sums = DoubleRows::Zero(width, width);
    DoubleRows centred(std::min(slice, count), width);
    for (index_t from = 0; from < count; from += slice) { // all tasks work on one slice of the points
        index_t const rows = std::min(slice, count - from);
        for (index_t i = 0; i < rows; ++i)
            for (index_t j = 0; j < width; ++j)
                centred(i, j) = double(points[static_cast<std::size_t>((from + i) * width + j)]) -
                                mean[static_cast<std::size_t>(j)];
        for_row_blocks(width, 64, [&](index_t first, index_t columns) {
            sums.middleRows(first, columns).noalias() +=
                centred.topRows(rows).middleCols(first, columns).transpose() * centred.topRows(rows);
        });
    }
    return sums;
}

/// Makes the columns of `basis` orthonormal, by Gram and Schmidt's method. Passes are repeated, so that of columns that
/// depend on others a direction of rounding's making remains, which is orthogonal, too.
inline void orthonormalise(Eigen::MatrixXd &basis) {
    for (index_t j = 0; j < basis.cols(); ++j)
        for (int pass = 0; pass < 4; ++pass) {
            double const norm = basis.col(j).norm();
            basis.col(j) *= norm > 1e-300 ? 1 / norm : 0.0;
            for (index_t k = 0; k < j; ++k)
                basis.col(j) -= basis.col(k).dot(basis.col(j)) * basis.col(k);
        }
    for (index_t j = 0; j < basis.cols(); ++j) {
        double const norm = basis.col(j).norm();
        basis.col(j) *= norm > 1e-300 ? 1 / norm : 0.0;
    }
}

/// The eigenvectors (C, k) of the k largest eigenvalues of a symmetric matrix, by iterating a subspace somewhat
/// larger than k from a fixed start (Halko, Martinsson and Tropp, SIAM Review 53, 2011, algorithm 4.4).
inline Eigen::MatrixXd leading_eigenvectors(DoubleRows const &matrix, index_t k, Eigen::VectorXd &values) {
    index_t const width = matrix.rows(), size = std::min(width, k + 10);
    CounterRandom const random{1, Purpose::sample};
    Eigen::MatrixXd basis(width, size), image(width, size);
    for (index_t j = 0; j < size; ++j)
        for (index_t i = 0; i < width; ++i)
            basis(i, j) =
                uniform_double(random(static_cast<std::uint64_t>(j), static_cast<std::uint32_t>(i))[0], 0) - 0.5;
    for (int round = 0;; ++round) {
        orthonormalise(basis);
        for_row_blocks(width, 64, [&](index_t first, index_t rows) {
            image.middleRows(first, rows).noalias() = matrix.middleRows(first, rows) * basis;
        });
        Eigen::SelfAdjointEigenSolver<GramMatrix> const solver((basis.transpose() * image).cast<long double>());
        Eigen::MatrixXd const turn = solver.eigenvectors().cast<double>().rowwise().reverse();
        values = solver.eigenvalues().cast<double>().reverse();
        basis = (basis * turn).eval();
        image = (image * turn).eval();
        double const error =
            (image.leftCols(k) - basis.leftCols(k) * values.head(k).asDiagonal()).colwise().norm().maxCoeff();
        if (error <= 1e-7 * std::abs(values(0)) || round == 200)
            return basis.leftCols(k);
        basis = image;
    }
}

} // namespace detail

/// Principal components of many points, by the leading eigenvectors of their covariances: time grows with P C^2, and
/// memory beside the points is C^2. Signs are those of `principal_components`; the same bits on any number of threads.
/// @param points (P, C) row-major  @param width  C  @param k  directions, at most C
/// @throws Error when `points` is no such matrix or there are fewer columns than directions
inline PrincipalComponents leading_components(std::span<float const> points, index_t width, index_t k) {
    check(width >= 1 && !points.empty() && static_cast<index_t>(points.size()) % width == 0,
          "leading_components: ", points.size(), " values in rows of ", width);
    check(k >= 1 && k <= width, "leading_components: ", k, " directions of ", width, " columns");
    index_t const count = static_cast<index_t>(points.size()) / width;
    std::vector<double> mean(static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < points.size(); ++i)
        mean[i % mean.size()] += points[i] / static_cast<double>(count);
    auto const sums = detail::covariance_sums(points, width, mean);
    Eigen::VectorXd values;
    auto const axes = detail::leading_eigenvectors(sums, k, values);
    double const whole = sums.trace();
    PrincipalComponents result;
    for (index_t c = 0; c < k; ++c) {
        std::vector<double> axis(static_cast<std::size_t>(count));
        double largest = 0;
        for (index_t i = 0; i < count; ++i) {
            double sum = 0;
            for (index_t j = 0; j < width; ++j)
                sum +=
                    (points[static_cast<std::size_t>(i * width + j)] - mean[static_cast<std::size_t>(j)]) * axes(j, c);
            axis[static_cast<std::size_t>(i)] = sum;
            largest = std::abs(sum) > std::abs(largest) ? sum : largest;
        }
        for (double &coordinate : axis)
            coordinate = largest < 0 ? -coordinate : coordinate;
        result.coordinates.push_back(std::move(axis));
        result.variance.push_back(whole > 0 ? std::max(0.0, values(c)) / whole : 0.0);
    }
    return result;
}

} // namespace protlm::inline v0
