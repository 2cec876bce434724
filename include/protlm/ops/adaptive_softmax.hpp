#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/ops/cross_entropy.hpp>

#include <span>
#include <vector>

namespace protlm::inline v0 {

/// Labels of an adaptive softmax, sorted by cluster: the head chooses among the shortlist's tokens and the clusters of
/// rarer ones, a tail among the tokens of one cluster.
template <class Exec>
struct AdaptiveLabels {
    struct Tail {
        std::vector<index_t> host_rows;    // (Ri) rows whose label is in this cluster
        Buffer<index_t, Exec> rows;        // (Ri)
        Buffer<std::int32_t, Exec> labels; // (Ri) from 0 within the cluster
    };
    Buffer<std::int32_t, Exec> head; // (R) the label, or shortlist's size + number of the tail
    std::vector<Tail> tails;
};

/// Sorts labels by cluster. @param labels (R), each in [0, ends.back()) @param ends one past the last token of each
/// cluster, the shortlist first @throws Error when a label is in no cluster
template <class Context>
auto sort_labels(Context &context, std::span<std::int32_t const> labels, std::span<index_t const> ends) {
    AdaptiveLabels<typename Context::execution_space> sorted;
    std::vector<std::int32_t> head(labels.size());
    std::vector<std::vector<std::int32_t>> within(ends.size() - 1);
    sorted.tails.resize(ends.size() - 1);
    for (std::size_t i = 0; i < labels.size(); ++i) {
        check(labels[i] >= 0 && labels[i] < ends.back(), "sort_labels: labels[", i, "] is ", labels[i],
              ", expected at least 0 and below ", ends.back());
        std::size_t cluster = 0;
        while (labels[i] >= ends[cluster])
            ++cluster;
        head[i] =
            cluster == 0 ? labels[i] : static_cast<std::int32_t>(ends[0]) + static_cast<std::int32_t>(cluster) - 1;
        if (cluster > 0) {
            sorted.tails[cluster - 1].host_rows.push_back(static_cast<index_t>(i));
            within[cluster - 1].push_back(labels[i] - static_cast<std::int32_t>(ends[cluster - 1]));
        }
    }
    sorted.head = context.template upload<std::int32_t>(head);
    for (std::size_t n = 0; n < within.size(); ++n) {
        sorted.tails[n].rows = context.template upload<index_t>(sorted.tails[n].host_rows);
        sorted.tails[n].labels = context.template upload<std::int32_t>(within[n]);
    }
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
    auto host_losses() const { return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), losses.view()); }
    auto host_correct() const { return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), correct.view()); }
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
    auto const losses = parts[0].host_losses();
    auto const correct = parts[0].host_correct();
    for (std::size_t n = 0; n < tails.size(); ++n) {
        if (labels.tails[n].host_rows.empty())
            continue;
        parts.emplace_back(context, tails[n], labels.tails[n].labels);
        auto const more = parts.back().host_losses();
        auto const right = parts.back().host_correct();
        for (std::size_t i = 0; i < more.extent(0); ++i) {
            auto const row = static_cast<std::size_t>(labels.tails[n].host_rows[i]);
            losses(row) += more(i);
            correct(row) *= right(i);
        }
    }
    Loss<A, Exec> loss{context.template tensor<A>(1, 1), head.rows(), 0};
    double sum = 0.0;
    for (std::size_t i = 0; i < losses.extent(0); ++i) {
        sum += static_cast<double>(losses(i));
        loss.correct += correct(i);
    }
    Kokkos::deep_copy(context.exec(), loss.sum.view(), static_cast<A>(sum));
    if constexpr (Context::training)
        context.tape().record([&context, parts, total = loss.sum] {
            if (!total.has_gradient())
                return; // no loss depends on it
            for (auto const &part : parts)
                part.backward(context.exec(), total.gradient().data);
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
                    Kokkos::deep_copy(context.exec(), shift.gradient_view(), A(0));
            }
            detail::log_softmax_backward(context.exec(), Rows<A const>(y.value()), Rows<A const>(y.gradient()), shifts,
                                         column, dlogits, add, dshift);
        });
    return y;
}

} // namespace protlm::inline v0
