// Compiled with flags that let the compiler reorder sums: exp's rounding of its exponent must survive them, and what is
// not finite must be told by its bits.

#include <protlm/core/floating_point.hpp>
#include <protlm/ops/detail/vector_unit.hpp>

#include <cmath>
#include <cstdio>
#include <limits>

int main() {
    using namespace protlm::detail;
    double worst = 0, rough = 0;
    for (float x = -87; x < 88; x += 0.0371f) {
        double const right = std::exp(double(x));
        worst = std::fmax(worst, std::fabs(double(exp(broadcast(x))[0]) - right) / right);
        rough = std::fmax(rough, std::fabs(double(exp_rough(broadcast(x))[0]) - right) / right);
    }
    float const phi = normal(broadcast(-1.0f)).distribution[0];
    volatile float zero = 0;
    bool const told = !protlm::is_finite(1 / zero) && !protlm::is_finite(zero / zero) && protlm::is_finite(1e38f) &&
                      !protlm::is_finite(std::numeric_limits<double>::infinity()) && protlm::is_finite(-1e-310);
    std::printf("exp %.1e, rough %.1e, Phi(-1) %.6f, finite %d\n", worst, rough, double(phi), told);
    return worst < 3e-7 && rough < 2e-4 && std::fabs(phi - 0.158655f) < 1e-6f && told ? 0 : 1;
}
