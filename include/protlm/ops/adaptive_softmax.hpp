#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/ops/cross_entropy.hpp>

#include <span>
#include <vector>

namespace protlm::inline v0 {

/// The tokens of one cluster of a vocabulary.
template <class Exec>
struct TokenCluster {
    std::vector<index_t> host_rows;    // (Ri) where they stand
    Buffer<index_t, Exec> rows;        // (Ri)
    Buffer<std::int32_t, Exec> tokens; // (Ri) counted from the cluster's first
};

/// Sorts tokens by cluster. @param tokens (R), each in [0, ends.back()) @param ends one past the last token of each
/// cluster @throws Error when a token is in no cluster
template <class Context>
auto sort_by_cluster(Context &context, std::span<std::int32_t const> tokens, std::span<index_t const> ends) {
    std::vector<TokenCluster<typename Context::execution_space>> clusters(ends.size());
    std::vector<std::vector<std::int32_t>> within(ends.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        check(tokens[i] >= 0 && tokens[i] < ends.back(), "sort_by_cluster: tokens[", i, "] is ", tokens[i],
              ", expected at least 0 and below ", ends.back());
        std::size_t n = 0;
        while (tokens[i] >= ends[n])
            ++n;
        clusters[n].host_rows.push_back(static_cast<index_t>(i));
        within[n].push_back(tokens[i] - (n > 0 ? static_cast<std::int32_t>(ends[n - 1]) : 0));
    }
    for (std::size_t n = 0; n < ends.size(); ++n) {
        clusters[n].rows = context.template upload<index_t>(clusters[n].host_rows);
        clusters[n].tokens = context.template upload<std::int32_t>(within[n]);
    }
    return clusters;
}

/// Tokens (R) copied to the host: waits for them.
template <class Context, class Exec = typename Context::execution_space>
std::vector<std::int32_t> tokens_on_host(Context &context, Buffer<std::int32_t, Exec> const &tokens) {
    std::vector<std::int32_t> host(static_cast<std::size_t>(tokens.size()));
    copy_to_host(context.exec(), host.data(), tokens.view());
    return host;
}

/// Labels of an adaptive softmax: the head chooses among the shortlist's tokens and the clusters of rarer ones, a tail
/// among the tokens of one cluster.
template <class Exec>
struct AdaptiveLabels {
    Buffer<std::int32_t, Exec> head; // (R) the label, or shortlist's size + number of the tail
    std::vector<TokenCluster<Exec>> tails;
};

/// Sorts labels for head and tails. @param labels (R), each in [0, ends.back()) @param ends one past the last token of
/// each cluster, the shortlist first @throws Error when a label is in no cluster
template <class Context>
auto sort_labels(Context &context, std::span<std::int32_t const> labels, std::span<index_t const> ends) {
    AdaptiveLabels<typename Context::execution_space> sorted;
    sorted.tails = sort_by_cluster(context, labels, ends);
    sorted.tails.erase(sorted.tails.begin());
    std::vector<std::int32_t> head(labels.begin(), labels.end());
    for (std::size_t n = 0; n < sorted.tails.size(); ++n)
        for (index_t const row : sorted.tails[n].host_rows)
            head[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(ends[0]) + static_cast<std::int32_t>(n);
    sorted.head = context.template upload<std::int32_t>(head);
    return sorted;
}

namespace detail {

/// Cross entropy of some logits, row by row, and what its backward needs.
template <class A, class Exec>
struct RowLosses {
    Tensor<A, Exec> logits;
    Buffer<std::int32_t, Exec> labels;
    Buffer<A, Exec> losses, lse;
    Buffer<index_t, Exec> correct;

    template <class Context>
    RowLosses(Context &context, Tensor<A, Exec> from, Buffer<std::int32_t, Exec> right)
        : logits(std::move(from)), labels(std::move(right)), losses(context.template buffer<A>(logits.rows())),
          lse(context.template buffer<A>(logits.rows())), correct(context.template buffer<index_t>(logits.rows())) {
        check_extent("adaptive_cross_entropy", "labels", "entries", labels.size(), logits.rows());
        cross_entropy_forward(context.exec(), Rows<A const>(logits.value()), labels.data(), losses.data(), lse.data(),
                              correct.data());
    }
    void backward(Exec const &exec, A const *seed) const {
        auto const g = logits.accumulate();
        cross_entropy_backward(exec, Rows<A const>(logits.value()), labels.data(), lse.data(), seed, g.rows, !g.fresh);
    }
    std::vector<A> host_losses(Exec const &exec) const { return on_host(exec, losses); }
    std::vector<index_t> host_correct(Exec const &exec) const { return on_host(exec, correct); }

  private:
    template <class T>
    static std::vector<T> on_host(Exec const &exec, Buffer<T, Exec> const &buffer) {
        std::vector<T> values(static_cast<std::size_t>(buffer.size()));
        copy_to_host(exec, values.data(), buffer.view());
        return values;
    }
};

/// y (R, V) = logits - log of their sum of exponentials + shift of the row.
template <class Exec, class A>
void log_softmax_forward(Exec const &exec, Rows<A const> logits, Rows<A const> shift, index_t column, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::log_softmax", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t i) {
            A best = logits(i, 0), sum = 0;
            for (index_t j = 1; j < y.cols; ++j)
                best = logits(i, j) > best ? logits(i, j) : best;
            for (index_t j = 0; j < y.cols; ++j)
                sum += ::exp(logits(i, j) - best);
            A const total = best + ::log(sum) - (shift.data ? shift(i, column) : A(0));
            for (index_t j = 0; j < y.cols; ++j)
                y(i, j) = logits(i, j) - total;
        });
}

/// dlogits = [dlogits +] g - softmax sum(g), dshift += sum(g); either may be missing.
template <class Exec, class A>
void log_softmax_backward(Exec const &exec, Rows<A const> y, Rows<A const> g, Rows<A const> shift, index_t column,
                          Rows<A> dlogits, bool add, Rows<A> dshift) {
    Kokkos::parallel_for(
        "protlm::log_softmax_backward", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t i) {
            A sum = 0;
            for (index_t j = 0; j < y.cols; ++j)
                sum += g(i, j);
            A const offset = shift.data ? shift(i, column) : A(0);
            if (dlogits.data)
                for (index_t j = 0; j < y.cols; ++j) {
                    A const value = g(i, j) - static_cast<A>(::exp(y(i, j) - offset)) * sum;
                    dlogits(i, j) = add ? dlogits(i, j) + value : value;
                }
            if (dshift.data)
                dshift(i, column) += sum;
        });
}

} // namespace detail

/// Cross entropy of an adaptive softmax: a label of the shortlist costs -log p(label) of the head, one of a cluster
/// -log p(cluster) of the head and -log p(label) of its tail. `correct` counts labels that the likeliest choice of the
/// head, and then of its tail, finds. Summed and waiting like `cross_entropy`. Grave et al., arXiv 1609.04309.
/// Backward: accumulates into head and tails.
/// @param head logits (R, shortlist + tails) @param tails logits (Ri, Vi) of the rows that `labels` names
/// @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Loss<A, Exec> adaptive_cross_entropy(Context &context, Tensor<A, Exec> const &head,
                                     std::vector<Tensor<A, Exec>> const &tails, AdaptiveLabels<Exec> const &labels) {
    check_extent("adaptive_cross_entropy", "tails", "entries", tails.size(), labels.tails.size());
    std::vector<detail::RowLosses<A, Exec>> parts{{context, head, labels.head}};
    auto losses = parts[0].host_losses(context.exec());
    auto correct = parts[0].host_correct(context.exec());
    for (std::size_t n = 0; n < tails.size(); ++n) {
        if (labels.tails[n].host_rows.empty())
            continue;
        parts.emplace_back(context, tails[n], labels.tails[n].tokens);
        auto const more = parts.back().host_losses(context.exec());
        auto const right = parts.back().host_correct(context.exec());
        for (std::size_t i = 0; i < more.size(); ++i) {
            auto const row = static_cast<std::size_t>(labels.tails[n].host_rows[i]);
            losses[row] += more[i];
            correct[row] *= right[i];
        }
    }
    Loss<A, Exec> loss{context.template tensor<A>(1, 1), head.rows(), 0};
    double sum = 0.0;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        sum += static_cast<double>(losses[i]);
        loss.correct += correct[i];
    }
    auto const total = static_cast<A>(sum);
    copy_from_host(context.exec(), loss.sum.view(), &total);
    if constexpr (Context::training)
        context.tape().record([&context, parts, result = loss.sum] {
            if (!result.has_gradient())
                return; // no loss depends on it
            for (auto const &part : parts)
                part.backward(context.exec(), result.gradient().data);
        });
    return loss;
}

/// y (R, V) = log softmax of each row of logits, plus a number of the row: column `column` of `shift`, if given.
/// Backward: accumulates into logits and shift. @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> log_softmax(Context &context, Tensor<A, Exec> logits,
                            Tensor<A, typename Context::execution_space> shift = {}, index_t column = 0) {
    if (shift) {
        check_extent("log_softmax", "shift", "rows", shift.rows(), logits.rows());
        check(column >= 0 && column < shift.cols(), "log_softmax: column ", column, " of ", shift.cols());
    }
    auto const y = context.template tensor<A>(logits.rows(), logits.cols());
    Rows<A const> const shifts = shift ? Rows<A const>(shift.value()) : Rows<A const>{};
    detail::log_softmax_forward(context.exec(), Rows<A const>(logits.value()), shifts, column, y.value());
    if constexpr (Context::training)
        context.tape().record([&context, logits, shift, shifts, column, y] {
            if (!y.has_gradient())
                return; // no loss depends on it
            Rows<A> dlogits, dshift;
            bool add = false;
            if (logits.needs_gradient()) {
                auto const target = logits.accumulate();
                dlogits = target.rows;
                add = !target.fresh;
            }
            if (shift.needs_gradient()) {
                auto const target = shift.accumulate();
                dshift = target.rows;
                if (target.fresh)
                    zero_values(context.exec(), shift.gradient_view());
            }
            detail::log_softmax_backward(context.exec(), Rows<A const>(y.value()), Rows<A const>(y.gradient()), shifts,
                                         column, dlogits, add, dshift);
        });
    return y;
}

} // namespace protlm::inline v0
