#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>

namespace protlm::inline v0 {

namespace detail {

/// y (P, C): sines, then cosines or cosines less one, of the distances behind - p. Angles are in double: a float's
/// last bit is worth 0.002 at a distance of 20,000.
template <class Exec, class A>
void fill_sinusoids(Exec const &exec, index_t behind, index_t clamp, bool less_one, Rows<A> y) {
    index_t const half = y.cols / 2;
    Kokkos::parallel_for(
        "protlm::sinusoids", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t p) {
            index_t distance = behind - p;
            if (clamp > 0)
                distance = distance > clamp ? clamp : distance < -clamp ? -clamp : distance;
            for (index_t j = 0; j < half; ++j) {
                double const power = 2.0 * static_cast<double>(j) / static_cast<double>(y.cols);
                double const angle = static_cast<double>(distance) * ::exp(-power * 9.210340371976184); // ln 10000
                y(p, j) = static_cast<A>(::sin(angle));
                double const half_sine = ::sin(0.5 * angle); // cos(x) - 1 = -2 sin(x / 2)^2 without cancellation
                y(p, half + j) = static_cast<A>(less_one ? -2.0 * half_sine * half_sine : ::cos(angle));
            }
        });
}

} // namespace detail

/// Encodings (P, width) of the distances from query back to key: row p is for distance behind - p, so there are
/// behind + ahead + 1 rows and the last one is for a key `ahead` places after the query. They have no gradient.
/// Dai et al., arXiv 1901.02860, section 3.3.
///
/// A constant in a column of the encodings adds the same to all scores of a query, which the softmax does not see. So
/// cosines may be taken less one: the slowest differ from one by 1e-8 at all distances, and that difference is all that
/// their weights can learn from; a float would round it away, and an optimizer blow up what is left.
/// @param clamp farther distances, either way, count as this one; up to 0: no limit
/// @param less_one cosines less one; not where a dropout of single encodings would see the constant
/// @throws Error when the width is odd or a reach negative
template <class A, class Context>
auto relative_sinusoids(Context &context, index_t width, index_t behind, index_t ahead, index_t clamp,
                        bool less_one = true) {
    check(width % 2 == 0, "relative_sinusoids: width is ", width, ", expected an even number");
    check(behind >= 0 && ahead >= 0, "relative_sinusoids: behind is ", behind, " and ahead ", ahead,
          ", expected at least 0");
    Tensor<A, typename Context::execution_space> const y(context.pool(), behind + ahead + 1, width, false);
    detail::fill_sinusoids(context.exec(), behind, clamp, less_one, y.value());
    return y;
}

} // namespace protlm::inline v0
