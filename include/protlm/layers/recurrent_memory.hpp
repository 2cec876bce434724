#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// y[i] = x[from[i]] where from[i] is not negative, else memory[-1 - from[i]].
template <class Exec, class A>
void keep_rows(Exec const &exec, index_t const *from, Rows<A const> memory, Rows<A const> x, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::keep_rows", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t i) {
            A const *source = from[i] < 0 ? memory.row(-1 - from[i]) : x.row(from[i]);
            A *to = y.row(i);
            for (index_t j = 0; j < y.cols; ++j)
                to[j] = source[j];
        });
}

} // namespace detail

/// What a recurrent model remembers of the segments that it has seen: the last inputs of each layer, without gradient.
/// Each sequence has a memory of its own length. Made by default it is empty. Dai et al., arXiv 1901.02860,
/// section 3.2.
template <class A, class Exec>
struct RecurrentMemory {
    std::vector<Tensor<A, Exec>> layers; // (M, C) each
    Segments<Exec> segments;             // rows of each sequence

    /// True when there is nothing to attend to.
    bool empty() const { return layers.empty() || segments.total() == 0; }
    /// Number of sequences; 0 before the first segment.
    index_t sequences() const { return layers.empty() ? 0 : segments.count(); }

    /// `length` rows of zeros for each sequence, as Hugging Face begins. @param count layers @param width C
    template <class Context>
    static RecurrentMemory zeros(Context &context, index_t count, index_t sequences, index_t length, index_t width) {
        std::vector<std::int64_t> offsets;
        for (index_t b = 0; b <= sequences; ++b)
            offsets.push_back(b * length);
        RecurrentMemory memory{{}, make_segments(context, offsets)};
        for (index_t n = 0; n < count; ++n) {
            memory.layers.emplace_back(context.pool(), sequences * length, width, false);
            zero_values(context.exec(), memory.layers.back().view());
        }
        return memory;
    }

    /// @throws Error when this is the memory of another model or of other sequences
    void validate(char const *model, index_t count, index_t sequence_count, index_t width) const {
        if (layers.empty())
            return;
        check_extent(model, "memory", "layers", layers.size(), count);
        check_extent(model, "memory", "sequences", segments.count(), sequence_count);
        check_extent(model, "memory", "columns", layers.front().cols(), width);
    }

    /// The memory of some sequences only, in the order given; a sequence may be named more than once.
    /// @throws Error when there is no such sequence
    template <class Context>
    RecurrentMemory select(Context &context, std::span<index_t const> chosen) const {
        if (layers.empty())
            return {};
        std::vector<std::int64_t> offsets{0};
        std::vector<index_t> from;
        for (index_t const b : chosen) {
            check(b >= 0 && b < segments.count(), "RecurrentMemory: select: sequence ", b, " of ", segments.count());
            for (index_t i = 0; i < segments.length(b); ++i)
                from.push_back(segments.host[static_cast<std::size_t>(b)] + i);
            offsets.push_back(static_cast<std::int64_t>(from.size()));
        }
        return taken(context, layers, from, offsets);
    }

    /// Each sequence's last `length` rows of (memory, inputs) replace the memory; 0 forgets all.
    /// @param inputs (T, C) of each layer @param current offsets of T @param first_rows of each sequence's inputs, only
    /// so many count @throws Error when extents disagree
    template <class Context>
    void update(Context &context, std::vector<Tensor<A, Exec>> const &inputs, Segments<Exec> const &current,
                index_t length, index_t first_rows = std::numeric_limits<index_t>::max()) {
        if (length == 0) {
            *this = {};
            return;
        }
        bool const first = layers.empty();
        if (!first) {
            check_extent("RecurrentMemory", "inputs", "layers", inputs.size(), layers.size());
            check_extent("RecurrentMemory", "inputs", "sequences", current.count(), segments.count());
        }
        std::vector<std::int64_t> offsets{0};
        std::vector<index_t> from;
        for (index_t b = 0; b < current.count(); ++b) {
            index_t const before = first ? 0 : segments.length(b),
                          all = before + std::min(current.length(b), first_rows);
            for (index_t i = std::max<index_t>(all - length, 0); i < all; ++i)
                from.push_back(i < before ? -1 - (segments.host[static_cast<std::size_t>(b)] + i)
                                          : current.host[static_cast<std::size_t>(b)] + i - before);
            offsets.push_back(static_cast<std::int64_t>(from.size()));
        }
        *this = taken(context, inputs, from, offsets);
    }

  private:
    template <class Context>
    RecurrentMemory taken(Context &context, std::vector<Tensor<A, Exec>> const &inputs,
                          std::vector<index_t> const &from, std::vector<std::int64_t> const &offsets) const {
        auto const rows = context.template upload<index_t>(from);
        RecurrentMemory result{{}, make_segments(context, offsets)};
        for (std::size_t n = 0; n < inputs.size(); ++n) {
            result.layers.emplace_back(context.pool(), rows.size(), inputs[n].cols(), false);
            detail::keep_rows(context.exec(), rows.data(),
                              layers.empty() ? Rows<A const>{} : Rows<A const>(layers[n].value()),
                              Rows<A const>(inputs[n].value()), result.layers.back().value());
        }
        return result;
    }
};

} // namespace protlm::inline v0
