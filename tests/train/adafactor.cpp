// Adafactor in all its forms against a plain implementation of the paper in double, tensor by tensor.

#include "problem.hpp"
#include "support/compare.hpp"
#include "support/devices.hpp"

#include <protlm/train/any_optimizer.hpp>

#include <boost/test/unit_test.hpp>

#include <map>
#include <span>
#include <string>

using namespace protlm;
using namespace protlm::test;

namespace {

constexpr index_t step_count = 6;
constexpr double rate = 3e-3, scale = 0.25;
using Vector = std::vector<double>;
using Tensors = std::map<std::string, Vector>;

/// Algorithms 4 and 5 of arXiv 1804.04235 with row and column sums, as printed there. A tensor of more than two
/// dimensions is a stack of matrices.
class Reference {
  public:
    explicit Reference(AdafactorOptions options) : o_(std::move(options)) {}

    void step(ParameterEntry const &entry, index_t step, std::span<double> w, Vector const &g) {
        double const t = static_cast<double>(step);
        Vector update;
        if (entry.shape.size() < 2) {
            update = vector_update(state_[entry.name], t, g);
        } else {
            auto const rows = static_cast<std::size_t>(entry.shape[entry.shape.size() - 2]);
            auto const cols = static_cast<std::size_t>(entry.shape.back());
            for (std::size_t begin = 0; begin < g.size(); begin += rows * cols) {
                std::string const name = entry.name + '[' + std::to_string(begin) + ']';
                Vector const part(g.begin() + static_cast<std::ptrdiff_t>(begin),
                                  g.begin() + static_cast<std::ptrdiff_t>(begin + rows * cols));
                auto const u = matrix_update(state_[name + "R"], state_[name + "C"], rows, cols, t, part);
                update.insert(update.end(), u.begin(), u.end());
            }
        }
        double const clip = std::max(1.0, rms(update) / o_.clip_threshold);
        double alpha = rate;
        if (o_.relative_step)
            alpha = std::min(o_.warmup_init ? 1e-6 * t : 1e-2, 1 / std::sqrt(t));
        if (o_.scale_parameter)
            alpha *= std::max(o_.epsilon2, rms(w));
        Vector &m = state_[entry.name + "M"];
        m.resize(w.size());
        for (std::size_t i = 0; i < w.size(); ++i) {
            m[i] = o_.beta1 * m[i] + (1 - o_.beta1) * alpha * update[i] / clip;
            w[i] -= m[i] + (is_decayed(entry) ? o_.weight_decay * alpha * w[i] : 0);
        }
    }

  private:
    static double rms(std::span<double const> values) {
        return root_mean_square(values.data(), static_cast<index_t>(values.size()));
    }
    double beta2(double t) const { return 1 - std::pow(t, o_.decay_rate); }

    Vector vector_update(Vector &v, double t, Vector const &g) const {
        Vector u(g.size());
        v.resize(g.size());
        for (std::size_t i = 0; i < g.size(); ++i) {
            v[i] = beta2(t) * v[i] + (1 - beta2(t)) * (g[i] * g[i] + o_.epsilon1);
            u[i] = g[i] / std::sqrt(v[i]);
        }
        return u;
    }
    Vector matrix_update(Vector &r, Vector &c, std::size_t rows, std::size_t cols, double t, Vector const &g) const {
        Vector row_sums(rows), col_sums(cols), u(g.size());
        for (std::size_t i = 0; i < g.size(); ++i) {
            row_sums[i / cols] += g[i] * g[i] + o_.epsilon1;
            col_sums[i % cols] += g[i] * g[i] + o_.epsilon1;
        }
        r.resize(rows);
        c.resize(cols);
        double total = 0;
        for (std::size_t i = 0; i < rows; ++i)
            total += r[i] = beta2(t) * r[i] + (1 - beta2(t)) * row_sums[i];
        for (std::size_t j = 0; j < cols; ++j)
            c[j] = beta2(t) * c[j] + (1 - beta2(t)) * col_sums[j];
        for (std::size_t i = 0; i < g.size(); ++i)
            u[i] = g[i] / std::sqrt(r[i / cols] * c[i % cols] / total);
        return u;
    }
    AdafactorOptions o_;
    Tensors state_;
};

/// Weights by name, gaps and empty tensors left out.
template <class Values>
Tensors by_name(ParameterTable const &table, Values const &values) {
    Tensors tensors;
    for (auto const &entry : table.entries())
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
            tensors[entry.name].push_back(static_cast<double>(values[static_cast<std::size_t>(i)]));
    return tensors;
}

Tensors expected_weights(AdafactorOptions const &options) {
    auto const parameters = optimizer_problem<double, Kokkos::DefaultHostExecutionSpace>();
    auto weights = by_name(parameters.table(), to_vector(parameters.values()));
    Reference reference(options);
    for (index_t step = 1; step <= step_count; ++step)
        for (auto const &entry : parameters.table().entries()) {
            Vector g;
            for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
                g.push_back(gradient_of(i, step) * scale);
            if (!g.empty())
                reference.step(entry, step, weights[entry.name], g);
        }
    return weights;
}

template <class S, class Exec, class Make>
Tensors actual_weights(Make const &make) {
    auto parameters = optimizer_problem<S, Exec>();
    auto optimizer = make(parameters);
    for (index_t step = 1; step <= step_count; ++step) {
        set_gradients(parameters, step);
        optimizer.step(Exec(), parameters, rate, scale);
    }
    Kokkos::fence();
    return by_name(parameters.table(), to_vector(parameters.values()));
}

void check_same(std::string const &form, Tensors const &actual, Tensors const &expected, Tolerance tolerance) {
    BOOST_TEST(actual.size() == 7u);
    for (auto const &[name, values] : expected)
        BOOST_TEST(compare(form + ": " + name, actual.at(name), values, tolerance));
}

/// Fixed and relative step, warm-up initialisation, with and without first moment, parameter scaling, clipping that
/// bites and that does not, other decay rates and weight decay: all combinations that make sense.
std::vector<std::pair<std::string, AdafactorOptions>> all_forms() {
    std::vector<std::pair<std::string, AdafactorOptions>> forms;
    for (int step = 0; step < 3; ++step)
        for (double beta1 : {0.0, 0.9})
            for (bool scaled : {true, false})
                for (int variant = 0; variant < 3; ++variant) {
                    AdafactorOptions o;
                    o.relative_step = step > 0;
                    o.warmup_init = step == 2;
                    o.beta1 = beta1;
                    o.scale_parameter = scaled;
                    o.clip_threshold = variant == 0 ? 1.0 : variant == 1 ? 0.3 : 1e6;
                    o.decay_rate = variant == 1 ? -0.5 : -0.8;
                    o.weight_decay = variant == 2 ? 0.1 : 0.0;
                    o.epsilon1 = variant == 2 ? 1e-3 : 1e-30;
                    o.epsilon2 = variant == 1 ? 0.7 : 1e-3;
                    forms.emplace_back(std::string(step == 0   ? "fixed"
                                                   : step == 1 ? "relative"
                                                               : "warm-up") +
                                           (beta1 > 0 ? ", first moment" : "") + (scaled ? ", scaled" : "") +
                                           ", variant " + std::to_string(variant),
                                       o);
                }
    return forms;
}

} // namespace

BOOST_AUTO_TEST_SUITE(adafactor)

BOOST_AUTO_TEST_CASE_TEMPLATE(every_form_follows_the_paper, Device, Devices) {
    auto const forms = all_forms();
    BOOST_TEST(forms.size() == 36u);
    std::vector<Tensors> results;
    for (auto const &form : forms) { // Clang 14 captures no structured bindings
        auto const &name = form.first;
        auto const &options = form.second;
        results.push_back(expected_weights(options));
        auto const run = [&]<Kernels kernels>() {
            return actual_weights<double, Device>(
                [&](auto const &parameters) { return Adafactor<double, Device, kernels>(parameters, options); });
        };
        check_same(name, run.template operator()<Kernels::native>(), results.back(), {1e-12, 1e-14});
        check_same(name, run.template operator()<Kernels::portable>(), results.back(), {1e-12, 1e-14});
    }
    // Every form is another one: none of the settings goes unused.
    for (std::size_t a = 0; a < results.size(); ++a)
        for (std::size_t b = 0; b < a; ++b)
            BOOST_TEST(max_relative_error(results[a].at("stack"), results[b].at("stack")) > 1e-9,
                       forms[a].first << " equals " << forms[b].first);
}

BOOST_AUTO_TEST_CASE(every_form_can_be_asked_for_by_options) {
    using Exec = Kokkos::DefaultExecutionSpace;
    for (auto const &[name, form] : all_forms()) {
        nlohmann::json const section{{"optimizer", "adafactor"},
                                     {"steps", 1},
                                     {"beta1", form.beta1},
                                     {"weight_decay", form.weight_decay},
                                     {"adafactor_relative_step", form.relative_step},
                                     {"adafactor_warmup_init", form.warmup_init},
                                     {"adafactor_scale_parameter", form.scale_parameter},
                                     {"adafactor_clip_threshold", form.clip_threshold},
                                     {"adafactor_decay_rate", form.decay_rate},
                                     {"adafactor_epsilon1", form.epsilon1},
                                     {"adafactor_epsilon2", form.epsilon2}};
        TrainingOptions options;
        read_training_options(Fields(section, "training"), options);
        BOOST_CHECK_NO_THROW(options.validate());
        auto const weights = actual_weights<float, Exec>(
            [&](auto const &parameters) { return AnyOptimizer<float, Exec>(parameters, options); });
        // Six steps in float: each rounds a weight by a few units in the last place of the weight or its update.
        check_same(name, weights, expected_weights(form), {1e-5, 1e-6});
    }
}

BOOST_AUTO_TEST_CASE(options_stand_for_the_usual_adafactor_without_first_moment) {
    using Exec = Kokkos::DefaultExecutionSpace;
    TrainingOptions options;
    options.optimizer = "adafactor";
    options.weight_decay = 0;
    auto const weights = actual_weights<float, Exec>(
        [&](auto const &parameters) { return AnyOptimizer<float, Exec>(parameters, options); });
    check_same("default", weights, expected_weights({.relative_step = false}), {1e-5, 1e-6});
}

BOOST_AUTO_TEST_SUITE_END()
