#pragma once

#include <protlm/ops/adaptive_softmax.hpp>
#include <protlm/ops/concatenate.hpp>
#include <protlm/ops/embedding.hpp>
#include <protlm/ops/linear.hpp>
#include <protlm/ops/scale.hpp>

#include <vector>

namespace protlm::inline v0 {

/// Embedding in which rarer tokens have narrower rows, projected to the model's width, all times a factor. Baevski and
/// Auli, arXiv 1809.10853.
template <Scalar S, class Exec>
struct AdaptiveEmbedding {
    using A = accumulate_t<S>;
    using Hidden = Tensor<A, Exec>;

    std::vector<Weight<S, Exec>> tables;      // (Vi, Ei) of each cluster
    std::vector<Weight<S, Exec>> projections; // (C, Ei) of each table; empty: Ei is C
    std::vector<index_t> ends;                // one past the last token of each table
    A factor = A(1);

    /// (T, C) of tokens (T), each below ends.back(). With several tables it waits for the tokens on the host.
    template <class Context>
    Hidden operator()(Context &context, Buffer<std::int32_t, Exec> const &tokens) const {
        return scale(context, tables.size() == 1 ? part(context, 0, tokens) : clusters(context, tokens), factor);
    }

  private:
    template <class Context>
    Hidden part(Context &context, std::size_t n, Buffer<std::int32_t, Exec> const &tokens) const {
        std::array<Lookup<S, Exec>, 1> const lookup{{{tokens, tables[n]}}};
        auto const rows = embedding<Context, S>(context, lookup);
        return projections.empty() ? rows : linear<Context, S>(context, rows, projections[n], {});
    }

    /// Every table is asked, also for no token: all ranks see the same gradients complete.
    template <class Context>
    Hidden clusters(Context &context, Buffer<std::int32_t, Exec> const &tokens) const {
        auto const sorted = sort_by_cluster(context, tokens_on_host(context, tokens), std::span(ends));
        std::vector<PlacedRows<A, Exec>> parts;
        for (std::size_t n = 0; n < sorted.size(); ++n)
            parts.push_back({part(context, n, sorted[n].tokens), sorted[n].rows});
        return place_rows(context, tokens.size(), parts);
    }
};

} // namespace protlm::inline v0
