// AdamW and LAMB against plain implementations of the papers in double.

#include "problem.hpp"
#include "support/compare.hpp"
#include "support/devices.hpp"

#include <protlm/train/lamb.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;
using FloatAndDouble = Cases<float, double>;

namespace {

constexpr index_t step_count = 10;
constexpr double rate = 3e-3, scale = 0.25;

/// Runs ten steps in the library; the weights then.
template <class S, class Exec, class O>
std::vector<double> run(O make) {
    auto parameters = optimizer_problem<S, Exec>();
    auto optimizer = make(parameters);
    for (index_t step = 1; step <= step_count; ++step) {
        set_gradients(parameters, step);
        optimizer.step(Exec(), parameters, rate, scale);
    }
    Kokkos::fence();
    BOOST_TEST(optimizer.steps() == step_count);
    auto const values = to_vector(parameters.values());
    return {values.begin(), values.end()};
}

/// Runs ten steps of `update(entry, step, weights, gradients)` on each tensor in double.
template <class F>
std::vector<double> run_reference(F update) {
    auto const parameters = optimizer_problem<float, Kokkos::DefaultHostExecutionSpace>();
    auto const begin = to_vector(parameters.values());
    std::vector<double> weights(begin.begin(), begin.end()), gradients(weights.size());
    for (index_t step = 1; step <= step_count; ++step)
        for (auto const &entry : parameters.table().entries()) {
            for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
                gradients[static_cast<std::size_t>(i)] = gradient_of(i, step) * scale;
            update(entry, step, weights.data() + entry.offset, gradients.data() + entry.offset);
        }
    return weights;
}

/// Ten steps in float: each rounds a weight by at most half a unit in the last place of a few roundings.
template <class S>
constexpr Tolerance tolerance = std::same_as<S, double> ? Tolerance{1e-12, 1e-13} : Tolerance{1e-5, 1e-6};

/// Adam's moments of every element by its place.
struct Moments {
    std::map<std::string, std::vector<double>> first, second;
    double direction(ParameterEntry const &entry, index_t step, index_t i, double g, double eps) {
        auto &m = first[entry.name], &v = second[entry.name];
        m.resize(static_cast<std::size_t>(entry.size()));
        v.resize(m.size());
        auto const k = static_cast<std::size_t>(i);
        m[k] = 0.9 * m[k] + 0.1 * g;
        v[k] = 0.999 * v[k] + 0.001 * g * g;
        double const t = static_cast<double>(step);
        return m[k] / (1 - std::pow(0.9, t)) / (std::sqrt(v[k] / (1 - std::pow(0.999, t))) + eps);
    }
};

template <class Exec, class S, Kernels kernels>
void check_adamw() {
    Moments moments;
    auto const expected = run_reference([&](ParameterEntry const &entry, index_t step, double *w, double const *g) {
        for (index_t i = 0; i < entry.size(); ++i) {
            if (is_decayed(entry))
                w[i] -= rate * 0.1 * w[i];
            w[i] -= rate * moments.direction(entry, step, i, g[i], 1e-8);
        }
    });
    auto const actual =
        run<S, Exec>([](auto const &parameters) { return AdamW<S, Exec, kernels>(parameters, {.weight_decay = 0.1}); });
    BOOST_TEST(compare("weights", actual, expected, tolerance<S>));
}

template <class Exec, class S, Kernels kernels>
void check_lamb() {
    Moments moments;
    auto const expected = run_reference([&](ParameterEntry const &entry, index_t step, double *w, double const *g) {
        std::vector<double> update(static_cast<std::size_t>(entry.size()));
        double ww = 0, uu = 0;
        for (index_t i = 0; i < entry.size(); ++i) {
            double &u = update[static_cast<std::size_t>(i)];
            u = moments.direction(entry, step, i, g[i], 1e-6) + (is_decayed(entry) ? 0.1 * w[i] : 0);
            ww += w[i] * w[i];
            uu += u * u;
        }
        double const ratio = is_decayed(entry) && ww > 0 && uu > 0 ? std::sqrt(ww / uu) : 1;
        for (index_t i = 0; i < entry.size(); ++i)
            w[i] -= rate * ratio * update[static_cast<std::size_t>(i)];
    });
    auto const actual =
        run<S, Exec>([](auto const &parameters) { return Lamb<S, Exec, kernels>(parameters, {.weight_decay = 0.1}); });
    BOOST_TEST(compare("weights", actual, expected, tolerance<S>));
}

} // namespace

BOOST_AUTO_TEST_SUITE(optimizers)

BOOST_AUTO_TEST_CASE_TEMPLATE(adamw_follows_the_paper, Case, FloatAndDouble) {
    check_adamw<typename Case::device, typename Case::scalar, Kernels::native>();
    check_adamw<typename Case::device, typename Case::scalar, Kernels::portable>();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(lamb_follows_the_paper, Case, FloatAndDouble) {
    check_lamb<typename Case::device, typename Case::scalar, Kernels::native>();
    check_lamb<typename Case::device, typename Case::scalar, Kernels::portable>();
}

BOOST_AUTO_TEST_SUITE_END()
