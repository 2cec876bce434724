#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

namespace protlm::test {

/// A function from a flat vector to a flat vector, both in double.
template <class F>
concept VectorFunction = requires(F f, std::vector<double> const &x) {
    { f(x) } -> std::convertible_to<std::vector<double>>;
};

/// d output[i] / d input[j], row-major.
struct Jacobian {
    std::size_t rows = 0;    // outputs
    std::size_t columns = 0; // inputs
    std::vector<double> values;
    double operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }

    /// What a backward computes: the gradient of the inputs for a given gradient of the outputs.
    std::vector<double> backward(std::span<double const> output_gradient) const {
        if (output_gradient.size() != rows)
            throw std::invalid_argument("Jacobian::backward: wrong number of output gradients");
        std::vector<double> gradient(columns, 0.0);
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t j = 0; j < columns; ++j)
                gradient[j] += output_gradient[i] * (*this)(i, j);
        return gradient;
    }
};

/// Numerical Jacobian of `f` at `x` by fourth-order central differences: with the default step and inputs of order
/// one, smooth functions come out exact to about 1e-11 relative, so 1e-7 is a fair tolerance for a backward in double.
/// @param x inputs, not empty
/// @param step distance of the samples, relative to max(1, |x|)
template <VectorFunction F>
Jacobian numerical_jacobian(F &&f, std::vector<double> x, double step = 1e-3) {
    Jacobian result;
    result.columns = x.size();
    if (x.empty())
        throw std::invalid_argument("numerical_jacobian: no inputs");
    for (std::size_t j = 0; j < x.size(); ++j) {
        double const centre = x[j], h = step * std::fmax(1.0, std::abs(centre));
        auto const at = [&](double value) {
            x[j] = value;
            return std::vector<double>(f(x));
        };
        auto const far_left = at(centre - 2 * h), left = at(centre - h), right = at(centre + h),
                   far_right = at(centre + 2 * h);
        x[j] = centre;
        if (j == 0) {
            result.rows = left.size();
            result.values.resize(result.rows * result.columns);
        }
        for (std::size_t i = 0; i < result.rows; ++i)
            result.values[i * result.columns + j] =
                (8 * (right[i] - left[i]) - (far_right[i] - far_left[i])) / (12 * h);
    }
    return result;
}

/// Gradient of a function to one number, by numerical_jacobian.
template <class F>
    requires std::convertible_to<std::invoke_result_t<F &, std::vector<double> const &>, double>
std::vector<double> numerical_gradient(F &&f, std::vector<double> x, double step = 1e-3) {
    auto const as_vector = [&](std::vector<double> const &point) {
        return std::vector<double>{static_cast<double>(f(point))};
    };
    return numerical_jacobian(as_vector, std::move(x), step).values;
}

} // namespace protlm::test
