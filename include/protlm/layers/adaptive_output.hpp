#pragma once

#include <protlm/ops/adaptive_softmax.hpp>
#include <protlm/ops/concatenate.hpp>
#include <protlm/ops/gather.hpp>
#include <protlm/ops/linear.hpp>
#include <protlm/ops/linear_transposed.hpp>

#include <vector>

namespace protlm::inline v0 {

/// Softmax over a vocabulary in clusters: a head for the shortlist and the clusters of rarer tokens, a tail for each of
/// these. With one cluster a plain softmax. Equal to Hugging Face's ProjectedAdaptiveLogSoftmax. Grave et al., arXiv
/// 1609.04309.
template <Scalar S, class Exec>
struct AdaptiveOutput {
    using A = accumulate_t<S>;
    using Hidden = Tensor<A, Exec>;

    std::vector<Weight<S, Exec>> weights, biases; // (Vi, Ei), (1, Vi) of each cluster, the shortlist first
    std::vector<Weight<S, Exec>> projections;     // (C, Ei) of each cluster; empty: Ei is C
    Weight<S, Exec> cluster_weight, cluster_bias; // (tails, E0), (1, tails), where there are tails
    std::vector<index_t> ends;                    // one past the last token of each cluster

    /// Logits (R, V) of hidden states (R, C); with several clusters log probabilities, which are logits, too.
    template <class Context>
    Hidden logits(Context &context, Hidden const &hidden) const {
        if (weights.size() == 1)
            return cluster_logits(context, hidden, 0);
        auto const head = log_softmax(context, head_logits(context, hidden));
        std::vector<ColumnRange<A, Exec>> parts{{head, 0, ends[0]}};
        for (std::size_t n = 1; n < weights.size(); ++n) {
            auto const choice = ends[0] + static_cast<index_t>(n) - 1;
            auto const tail = log_softmax(context, cluster_logits(context, hidden, n), head, choice);
            parts.push_back({tail, 0, tail.cols()});
        }
        return concatenate_columns(context, parts);
    }

    /// Cross entropy of hidden states (R, C), with a tail's logits for the labels of its cluster only.
    /// @param labels (R); with several clusters it waits for them on the host
    template <class Context>
    Loss<A, Exec> loss(Context &context, Hidden const &hidden, Buffer<std::int32_t, Exec> const &labels) const {
        if (weights.size() == 1)
            return cross_entropy(context, cluster_logits(context, hidden, 0), labels);
        auto const sorted = sort_labels(context, tokens_on_host(context, labels), std::span(ends));
        std::vector<Hidden> tails;
        for (std::size_t n = 1; n < weights.size(); ++n)
            tails.push_back(cluster_logits(context, gather_rows(context, hidden, sorted.tails[n - 1].rows), n));
        return adaptive_cross_entropy(context, head_logits(context, hidden), tails, sorted);
    }

  private:
    template <class Context>
    Hidden projected(Context &context, Hidden const &hidden, std::size_t n) const {
        return projections.empty() ? hidden : linear_transposed<Context, S>(context, hidden, projections[n]);
    }
    /// Logits of one cluster's tokens.
    template <class Context>
    Hidden cluster_logits(Context &context, Hidden const &hidden, std::size_t n) const {
        return linear<Context, S>(context, projected(context, hidden, n), weights[n], biases[n]);
    }
    /// Logits of the shortlist's tokens and of the tails.
    template <class Context>
    Hidden head_logits(Context &context, Hidden const &hidden) const {
        auto const x = projected(context, hidden, 0);
        auto const tokens = linear<Context, S>(context, x, weights[0], biases[0]);
        auto const tails = linear<Context, S>(context, x, cluster_weight, cluster_bias);
        return concatenate_columns(
            context, std::vector<ColumnRange<A, Exec>>{{tokens, 0, tokens.cols()}, {tails, 0, tails.cols()}});
    }
};

} // namespace protlm::inline v0
