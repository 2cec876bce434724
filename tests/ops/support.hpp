#pragma once

// How the tests of the ops run one op: on every device, scalar and set of kernels, forward and backward, from values
// in double; and the checks that every op must pass.

#include <support/compare.hpp>
#include <support/devices.hpp>
#include <support/jacobian.hpp>

#include <protlm/core/context.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/core/philox.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace protlm::test {

/// One way to run an op.
template <class Device, class S, Kernels chosen>
struct OpCase {
    using device = Device;
    using scalar = S;
    using accumulate = accumulate_t<S>;
    static constexpr Kernels kernels = chosen;
    using Training = protlm::Training<Device, chosen>;
    using Inference = protlm::Inference<Device, chosen>;
};

namespace detail {
template <class Device, class S>
using WithKernels =
    std::conditional_t<is_host_space<Device>,
                       std::tuple<OpCase<Device, S, Kernels::native>, OpCase<Device, S, Kernels::portable>>,
                       std::tuple<OpCase<Device, S, Kernels::portable>>>;
template <class List>
struct OpCasesOf;
template <class... C>
struct OpCasesOf<std::tuple<C...>> {
    using type = concatenate<WithKernels<typename C::device, typename C::scalar>...>;
};
} // namespace detail

/// Every device with every scalar and the kernels it has.
template <class... Scalars>
using OpCases = typename detail::OpCasesOf<Cases<Scalars...>>::type;
/// The default device only: for tests that take long to compile and depend little on the device.
template <class... Scalars>
using DefaultOpCases = detail::concatenate<detail::WithKernels<Kokkos::DefaultExecutionSpace, Scalars>...>;
/// What the others are compared with: plain kernels in double.
using ReferenceCase = OpCase<Kokkos::DefaultHostExecutionSpace, double, Kernels::portable>;

/// Reproducible values in [-scale, scale); different seeds give independent ones.
inline std::vector<double> random_values(index_t size, std::uint64_t seed, double scale = 1.0) {
    std::vector<double> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) {
        auto const bits = CounterRandom{seed, Purpose::sample, 0}(i, 0);
        values[i] = scale * (2.0 * uniform_double(bits[0], bits[1]) - 1.0);
    }
    return values;
}

/// Elements of a view in double, rows one after the other.
template <class View>
std::vector<double> host_values(View const &view) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
    std::vector<double> values(host.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<double>(host.data()[i]);
    return values;
}

/// The elements themselves, for comparing bits.
template <class View>
auto host_elements(View const &view) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
    return std::vector<typename View::non_const_value_type>(host.data(), host.data() + host.size());
}

template <class View>
void write_values(View const &view, std::vector<double> const &values) {
    auto const host = Kokkos::create_mirror_view(view);
    BOOST_REQUIRE_EQUAL(host.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        host.data()[i] = static_cast<typename View::non_const_value_type>(values[i]);
    Kokkos::deep_copy(view, host);
}

/// An activation with these values.
template <class A, class Context>
auto make_tensor(Context &context, index_t rows, index_t cols, std::vector<double> const &values) {
    auto tensor = context.template tensor<A>(rows, cols);
    write_values(tensor.view(), values);
    return tensor;
}

/// What an argument of an op is: an activation with or without gradient, or a weight that is trained or not.
enum class Role { tensor, constant, weight, frozen };

struct Argument {
    Role role;
    index_t rows, cols;
    std::vector<double> values; // (rows, cols)
};

/// An argument with random values.
inline Argument argument(Role role, index_t rows, index_t cols, std::uint64_t seed, double scale = 1.0) {
    return {role, rows, cols, random_values(rows * cols, seed, scale)};
}

/// Values that the 16-bit scalar S holds exactly, so that only the op itself rounds.
template <class S>
std::vector<Argument> representable(std::vector<Argument> arguments) {
    for (auto &argument : arguments)
        for (double &value : argument.values)
            value = static_cast<double>(static_cast<S>(static_cast<float>(value)));
    return arguments;
}

/// The arguments of one call on a device.
template <class Case, class Context>
class Operands {
  public:
    using A = typename Case::accumulate;
    using Exec = typename Case::device;
    using Params = Parameters<typename Case::scalar, Exec>;

    Operands(Context &context, std::vector<Argument> const &arguments) : arguments_(arguments) {
        ParameterTable table;
        for (std::size_t i = 0; i < arguments.size(); ++i)
            table.add("argument" + std::to_string(i), {is_weight(i) ? arguments[i].rows : 0, arguments[i].cols},
                      Initialiser::zeros());
        trained_ = Params(table);
        frozen_ = Params(table);
        trained_.enable_gradients();
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            tensors_.emplace_back();
            if (is_weight(i)) {
                auto const values = slice(parameters(i).values(), i);
                write_values(values, arguments[i].values);
            } else {
                tensors_[i] = make_tensor<A>(context, arguments[i].rows, arguments[i].cols, arguments[i].values);
                tensors_[i].set_needs_gradient(Context::training && arguments[i].role == Role::tensor);
            }
        }
    }

    /// Argument i as an activation; argument i as a weight.
    Tensor<A, Exec> const &tensor(std::size_t i) const { return tensors_.at(i); }
    Weight<typename Case::scalar, Exec> weight(std::size_t i) const {
        return parameters(i).weight(static_cast<ParameterId>(i));
    }

    /// Fills all gradients beforehand, so that the backward must add to them.
    void preset_gradients() const {
        for (std::size_t i = 0; i < arguments_.size(); ++i)
            if (arguments_[i].role == Role::tensor)
                tensors_[i].accumulate(), write_values(tensors_[i].gradient_view(), preset(i));
            else if (arguments_[i].role == Role::weight)
                write_values(slice(trained_.gradients(), i), preset(i));
    }
    std::vector<double> preset(std::size_t i) const {
        return random_values(arguments_[i].rows * arguments_[i].cols, 900 + i);
    }

    /// Gradient of argument i; nothing for constants and frozen weights.
    std::vector<double> gradient(std::size_t i) const {
        if (arguments_[i].role == Role::weight)
            return host_values(slice(trained_.gradients(), i));
        if (arguments_[i].role != Role::tensor)
            return {};
        BOOST_REQUIRE(tensors_[i].has_gradient());
        return host_values(tensors_[i].gradient_view());
    }

  private:
    bool is_weight(std::size_t i) const {
        return arguments_[i].role == Role::weight || arguments_[i].role == Role::frozen;
    }
    Params const &parameters(std::size_t i) const { return arguments_[i].role == Role::frozen ? frozen_ : trained_; }
    template <class Flat>
    auto slice(Flat const &flat, std::size_t i) const {
        auto const &entry = trained_.table()[static_cast<ParameterId>(i)];
        return VectorView<typename Flat::value_type, Exec>(flat.data() + entry.offset,
                                                           static_cast<std::size_t>(entry.size()));
    }

    std::vector<Argument> arguments_;
    std::vector<Tensor<A, Exec>> tensors_;
    Params trained_, frozen_;
};

/// Output of `build(context, operands)` in a context of type Context.
template <class Case, class Context, class Build>
auto forward(std::vector<Argument> const &arguments, Build const &build) {
    Context context;
    Operands<Case, Context> const operands(context, arguments);
    auto const output = build(context, operands);
    context.exec().fence();
    auto values = host_elements(output.view());
    if constexpr (Context::training)
        context.tape().clear();
    return values;
}

template <class Values>
std::vector<double> as_double(Values const &values) {
    return std::vector<double>(values.begin(), values.end());
}

/// Gradients of all arguments for a gradient of the output; with `onto_existing`, what the backward added.
template <class Case, class Build>
std::vector<std::vector<double>> backward(std::vector<Argument> const &arguments, Build const &build,
                                          std::vector<double> const &output_gradient, bool onto_existing) {
    typename Case::Training context;
    Operands<Case, typename Case::Training> const operands(context, arguments);
    if (onto_existing)
        operands.preset_gradients();
    auto const output = build(context, operands);
    output.accumulate();
    write_values(output.gradient_view(), output_gradient);
    context.tape().run();
    context.exec().fence();
    std::vector<std::vector<double>> gradients;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        gradients.push_back(operands.gradient(i));
        if (onto_existing && !gradients[i].empty()) {
            auto const before = operands.preset(i);
            for (std::size_t j = 0; j < before.size(); ++j)
                gradients[i][j] -= static_cast<double>(static_cast<typename Case::accumulate>(before[j]));
        }
    }
    return gradients;
}

/// Like compare, with a tolerance relative to the largest expected value: what sums with cancellation allow.
inline auto compare_scaled(std::string const &label, std::vector<double> const &actual,
                           std::vector<double> const &expected, double relative, std::size_t columns = 0) {
    double scale = 0;
    for (double e : expected)
        scale = std::max(scale, std::abs(e));
    return compare(label, actual, expected, {.relative = 0, .absolute = relative * std::max(scale, 1e-3)}, columns);
}

/// Backward against the numerical Jacobian of the forward, for every argument that has a gradient, onto nothing and
/// onto gradients that are there already. Case must be in double.
template <class Case, class Build>
void check_jacobians(std::string const &name, std::vector<Argument> const &arguments, Build const &build) {
    static_assert(std::same_as<typename Case::scalar, double>);
    using Training = typename Case::Training;
    auto const output = forward<Case, Training>(arguments, build);
    auto const g = random_values(static_cast<index_t>(output.size()), 77);
    auto const fresh = backward<Case>(arguments, build, g, false), added = backward<Case>(arguments, build, g, true);
    int checked = 0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        if (fresh[i].empty())
            continue;
        auto changed = arguments;
        auto const jacobian = numerical_jacobian(
            [&](std::vector<double> const &x) {
                changed[i].values = x;
                return forward<Case, Training>(changed, build);
            },
            arguments[i].values);
        std::string const label = name + ", gradient of argument " + std::to_string(i);
        // differences of fourth order with step 1e-3 are exact to about 1e-11
        BOOST_TEST(compare_scaled(label, fresh[i], jacobian.backward(g), 1e-7));
        BOOST_TEST(compare_scaled(label + " onto an existing one", added[i], jacobian.backward(g), 1e-7));
        ++checked;
    }
    BOOST_TEST(checked > 0);
}

/// Relative to the largest value. double: a few hundred roundings of 1e-16. float: of 6e-8, and activations good to
/// 2e-7. 16 bit: native kernels only store weights so, which the arguments here survive exactly; portable ones round
/// activations as well, to 8 or 11 bits.
template <class Case>
double tolerance() {
    using S = typename Case::scalar;
    if constexpr (std::same_as<S, double>)
        return 1e-13;
    else if constexpr (std::same_as<S, float>)
        return 5e-6;
    else if constexpr (Case::kernels == Kernels::native)
        return 5e-6;
    else
        return std::same_as<S, bfloat16> ? 1.6e-2 : 2e-3;
}

/// Output and all gradients against the plain kernels in double; inference and training must agree to the bit.
template <class Case, class Build>
void check_agreement(std::string const &name, std::vector<Argument> const &given, Build const &build) {
    auto const arguments = representable<typename Case::scalar>(given);
    auto const output = forward<Case, typename Case::Training>(arguments, build);
    BOOST_TEST(compare_bits(name + ", inference", forward<Case, typename Case::Inference>(arguments, build), output));
    auto const expected = forward<ReferenceCase, ReferenceCase::Training>(arguments, build);
    BOOST_TEST(compare_scaled(name + ", output", as_double(output), expected, tolerance<Case>()));
    auto const g = as_double(random_values(static_cast<index_t>(output.size()), 78));
    auto const gradients = backward<Case>(arguments, build, g, false);
    auto const expected_gradients = backward<ReferenceCase>(arguments, build, g, false);
    for (std::size_t i = 0; i < arguments.size(); ++i)
        if (!expected_gradients[i].empty())
            BOOST_TEST(compare_scaled(name + ", gradient of argument " + std::to_string(i), gradients[i],
                                      expected_gradients[i], tolerance<Case>()));
        else
            BOOST_TEST(gradients[i].empty());
}

} // namespace protlm::test
