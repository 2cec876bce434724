#pragma once

#include <protlm/core/tensor.hpp>
#include <protlm/ops/detail/vector_unit.hpp>

namespace protlm::inline v0 {

/// Activation functions by Hugging Face's names: "gelu" (with erf), "gelu_new" (with tanh), "relu", "silu", "tanh";
/// none for linear. GELU and SiLU: Hendrycks and Gimpel, arXiv 1606.08415.
enum class Activation { none, gelu, gelu_tanh, relu, silu, tanh };

namespace detail {

template <class T>
struct ValueAndSlope {
    T value, slope;
};

/// f(x) and f'(x) of one element; for every device.
template <class T>
KOKKOS_INLINE_FUNCTION ValueAndSlope<T> activate(Activation activation, T x) {
    switch (activation) {
    case Activation::relu:
        return {x <= T(0) ? T(0) : x, x <= T(0) ? T(0) : x > T(0) ? T(1) : x}; // NaN stays NaN
    case Activation::gelu: {
        T const distribution = T(0.5) * ::erfc(-x * T(0.70710678118654752));
        return {x * distribution, distribution + x * T(0.3989422804014327) * static_cast<T>(::exp(T(-0.5) * x * x))};
    }
    case Activation::gelu_tanh: {
        T const c = T(0.7978845608028654), cubic = T(0.044715);
        T const t = ::tanh(c * (x + cubic * x * x * x));
        return {T(0.5) * x * (T(1) + t),
                T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * c * (T(1) + T(3) * cubic * x * x)};
    }
    case Activation::silu: {
        T const sigmoid = T(0.5) * (T(1) + ::tanh(T(0.5) * x)); // does not overflow
        return {x * sigmoid, sigmoid * (T(1) + x * (T(1) - sigmoid))};
    }
    case Activation::tanh: {
        T const t = ::tanh(x);
        return {t, T(1) - t * t};
    }
    default:
        return {x, T(1)};
    }
}

/// f(x) of one register.
template <Activation activation, class S>
inline Vec<S> activate_vector(Vec<S> x) {
    if constexpr (activation == Activation::relu)
        return x <= S(0) ? Vec<S>{} : x; // NaN stays NaN
    else if constexpr (activation == Activation::gelu)
        return x * normal(x).distribution;
    else if constexpr (activation == Activation::gelu_tanh)
        return S(0.5) * x * (S(1) + tanh<S>(S(0.7978845608028654) * (x + S(0.044715) * x * x * x)));
    else if constexpr (activation == Activation::silu)
        return x * (S(0.5) * (S(1) + tanh<S>(S(0.5) * x)));
    else if constexpr (activation == Activation::tanh)
        return tanh<S>(x);
    else
        return x;
}

/// f'(x) of one register.
template <Activation activation, class S>
inline Vec<S> slope_vector(Vec<S> x) {
    if constexpr (activation == Activation::relu) {
        return x <= S(0) ? Vec<S>{} : x > S(0) ? broadcast(S(1)) : x;
    } else if constexpr (activation == Activation::gelu) {
        auto const n = normal(x);
        return n.distribution + x * n.density;
    } else if constexpr (activation == Activation::gelu_tanh) {
        S const c = S(0.7978845608028654), cubic = S(0.044715);
        auto const t = tanh<S>(c * (x + cubic * x * x * x));
        return S(0.5) * (S(1) + t) + S(0.5) * x * (S(1) - t * t) * c * (S(1) + S(3) * cubic * x * x);
    } else if constexpr (activation == Activation::silu) {
        auto const sigmoid = S(0.5) * (S(1) + tanh<S>(S(0.5) * x));
        return sigmoid * (S(1) + x * (S(1) - sigmoid));
    } else if constexpr (activation == Activation::tanh) {
        auto const t = tanh<S>(x);
        return S(1) - t * t;
    } else {
        return broadcast(S(1));
    }
}

/// Calls f with the activation as a compile-time constant.
template <class F>
inline void with_activation(Activation activation, F f) {
    switch (activation) {
    case Activation::none:
        return f(std::integral_constant<Activation, Activation::none>());
    case Activation::gelu:
        return f(std::integral_constant<Activation, Activation::gelu>());
    case Activation::gelu_tanh:
        return f(std::integral_constant<Activation, Activation::gelu_tanh>());
    case Activation::relu:
        return f(std::integral_constant<Activation, Activation::relu>());
    case Activation::silu:
        return f(std::integral_constant<Activation, Activation::silu>());
    case Activation::tanh:
        return f(std::integral_constant<Activation, Activation::tanh>());
    }
}

} // namespace detail
} // namespace protlm::inline v0
