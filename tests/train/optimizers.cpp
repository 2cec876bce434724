// AdamW, LAMB and Adafactor against plain implementations of the papers in double.

#include "problem.hpp"
#include "support/compare.hpp"
#include "support/devices.hpp"

#include <protlm/train/adafactor.hpp>
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

/// Algorithm 4 of 1804.04235 for one matrix (rows, cols) or vector (rows = 0).
struct Factors {
    std::vector<double> row, column, full;
    std::vector<double> update(index_t rows, index_t cols, double keep, double const *g) {
        auto const R = static_cast<std::size_t>(rows), C = static_cast<std::size_t>(cols);
        std::vector<double> u(std::max<std::size_t>(R, 1) * C);
        if (rows == 0) {
            full.resize(C);
            for (std::size_t i = 0; i < C; ++i) {
                full[i] = keep * full[i] + (1 - keep) * (g[i] * g[i] + 1e-30);
                u[i] = g[i] / std::sqrt(full[i]);
            }
            return u;
        }
        row.resize(R);
        column.resize(C);
        std::vector<double> row_sum(R), column_sum(C);
        for (std::size_t i = 0; i < R * C; ++i) {
            row_sum[i / C] += g[i] * g[i] + 1e-30;
            column_sum[i % C] += g[i] * g[i] + 1e-30;
        }
        double total = 0;
        for (std::size_t r = 0; r < R; ++r)
            total += row[r] = keep * row[r] + (1 - keep) * row_sum[r] / static_cast<double>(cols);
        for (std::size_t c = 0; c < C; ++c)
            column[c] = keep * column[c] + (1 - keep) * column_sum[c] / static_cast<double>(rows);
        for (std::size_t i = 0; i < R * C; ++i)
            u[i] = g[i] / std::sqrt(row[i / C] * column[i % C] / (total / static_cast<double>(rows)));
        return u;
    }
};

template <class Exec, class S, Kernels kernels>
void check_adafactor(AdafactorOptions const options) {
    std::map<std::string, Factors> factors;
    std::map<std::string, std::vector<double>> momentum;
    auto const expected = run_reference([&](ParameterEntry const &entry, index_t step, double *w, double const *g) {
        if (entry.size() == 0)
            return;
        double const t = static_cast<double>(step), keep = 1 - std::pow(t, -0.8);
        index_t const cols = entry.shape.empty() ? 1 : entry.shape.back();
        index_t const rows = entry.shape.size() < 2 ? 0 : entry.shape[entry.shape.size() - 2];
        std::vector<double> u;
        for (index_t begin = 0; begin < entry.size(); begin += std::max<index_t>(rows, 1) * cols) {
            auto const part = factors[entry.name + std::to_string(begin)].update(rows, cols, keep, g + begin);
            u.insert(u.end(), part.begin(), part.end());
        }
        double const relative = std::min(options.warmup_init ? 1e-6 * t : 1e-2, 1 / std::sqrt(t));
        double alpha = options.relative_step ? relative : rate;
        if (options.scale_parameter)
            alpha *= std::max(1e-3, root_mean_square(w, entry.size()));
        double const clip = std::max(1.0, root_mean_square(u.data(), entry.size()));
        auto &m = momentum[entry.name];
        m.resize(u.size());
        for (std::size_t i = 0; i < u.size(); ++i) {
            m[i] = options.beta1 * m[i] + (1 - options.beta1) * alpha * u[i] / clip;
            w[i] -= (is_decayed(entry) ? options.weight_decay * alpha * w[i] : 0) + m[i];
        }
    });
    auto const actual =
        run<S, Exec>([&](auto const &parameters) { return Adafactor<S, Exec, kernels>(parameters, options); });
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

BOOST_AUTO_TEST_CASE_TEMPLATE(adafactor_follows_the_paper, Case, FloatAndDouble) {
    using Exec = typename Case::device;
    using S = typename Case::scalar;
    check_adafactor<Exec, S, Kernels::native>({});
    check_adafactor<Exec, S, Kernels::portable>({});
    check_adafactor<Exec, S, Kernels::native>({.beta1 = 0.9, .weight_decay = 0.1, .warmup_init = true});
    check_adafactor<Exec, S, Kernels::native>({.relative_step = false, .scale_parameter = false});
}

BOOST_AUTO_TEST_SUITE_END()
