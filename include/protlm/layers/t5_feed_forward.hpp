#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/layers/t5_attention.hpp>
#include <protlm/ops/gated_activation.hpp>

#include <algorithm>

namespace protlm::inline v0 {

/// Where one feed-forward block and the norm in front of it lie in a table; `gate` only where it is gated.
struct T5FeedForwardIds {
    LinearIds inner, gate, output;
    ParameterId norm = -1;
};

/// Adds wi, or wi_0 and wi_1 placed together, and wo without bias below `name`.
/// @param width C @param inner F @param factor initializer_factor
inline T5FeedForwardIds add_t5_feed_forward(ParameterTable &table, std::string const &name, index_t width,
                                            index_t inner, bool gated, double factor) {
    double const in = factor / std::sqrt(static_cast<double>(width));
    double const out = factor / std::sqrt(static_cast<double>(inner));
    T5FeedForwardIds ids;
    ids.inner = detail::add_t5_map(table, name + (gated ? ".wi_0" : ".wi"), inner, width, in);
    if (gated) {
        ids.gate = detail::add_t5_map(table, name + ".wi_1", inner, width, in);
        table.place_together({ids.inner.weight, ids.gate.weight});
    }
    ids.output = detail::add_t5_map(table, name + ".wo", width, inner, out);
    return ids;
}

/// x + dropout(wo(dropout(f(wi(norm(x)))))), or with f(wi_0(.)) * wi_1(.) inside. Raffel et al., arXiv 1910.10683,
/// section 2.1; gated: Shazeer, arXiv 2002.05202.
template <Scalar S, class Exec>
struct T5FeedForward {
    RmsNorm<S, Exec> norm;
    Linear<S, Exec> inner;  // (F, C), or (2 F, C) where gated
    Linear<S, Exec> output; // (C, F)
    Activation activation = Activation::relu;
    bool gated = false;

    T5FeedForward() = default;
    T5FeedForward(Parameters<S, Exec> const &parameters, T5FeedForwardIds const &ids, double eps, Activation f)
        : norm(parameters, ids.norm, eps), output(parameters, ids.output), activation(f), gated(ids.gate.weight >= 0) {
        inner = gated ? Linear<S, Exec>(parameters, {ids.inner, ids.gate}) : Linear<S, Exec>(parameters, ids.inner);
    }

    /// Rows of a batch above which inference takes `block_rows` at a time, so that the inner values (T, F) of a very
    /// long protein are never there at once; weights are packed anew for each block.
    static constexpr index_t whole_rows = 16384, block_rows = 8192;

    /// (T, C) to (T, C).
    template <class Context, class A>
    Tensor<A, Exec> operator()(Context &context, Tensor<A, Exec> const &x, double dropout_rate) const {
        if constexpr (!Context::training)
            if (x.rows() > whole_rows)
                return in_blocks(context, x);
        return whole(context, x, dropout_rate);
    }

  private:
    template <class Context, class A>
    Tensor<A, Exec> whole(Context &context, Tensor<A, Exec> const &x, double dropout_rate) const {
        auto const u = norm(context, x);
        auto const h = gated ? gated_activation<Context, A>(context, inner(context, u), activation)
                             : inner(context, u, activation);
        return output.with_residual(context, dropout(context, h, dropout_rate), x, dropout_rate);
    }

    template <class Context, class A>
    Tensor<A, Exec> in_blocks(Context &context, Tensor<A, Exec> const &x) const {
        using Space = typename Exec::memory_space;
        context.pool().trim(); // attention's blocks and these are of no use to each other, and memory is short
        auto const y = context.template tensor<A>(x.rows(), x.cols());
        for (index_t first = 0; first < x.rows(); first += block_rows) {
            index_t const rows = std::min(block_rows, x.rows() - first), place = first * x.cols();
            auto const part = context.template tensor<A>(rows, x.cols());
            copy_values<Space, Space>(context.exec(), part.view().data(),
                                      static_cast<A const *>(x.view().data() + place), rows * x.cols());
            auto const done = whole(context, part, 0.0);
            copy_values<Space, Space>(context.exec(), y.view().data() + place,
                                      static_cast<A const *>(done.view().data()), rows * x.cols());
        }
        context.pool().trim();
        return y;
    }
};

} // namespace protlm::inline v0
