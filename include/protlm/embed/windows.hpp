#pragma once

#include <protlm/core/context.hpp>
#include <protlm/embed/encoder_shape.hpp>

#include <optional>

namespace protlm::inline v0 {

/// What is asked of the windows of proteins that are longer than a model can take, or than one wants it to take.
struct WindowOptions {
    index_t length = 0;   ///< residues of a window; 0: as many as the model can take, none where it has no limit
    index_t overlap = -1; ///< residues that neighbours share at least, below the length; -1: half a window
};

/// How proteins become sequences of a model. A protein of L residues is one sequence where L <= W; else n windows of W
/// residues each, n the least number that lets neighbours share O residues:
///
///     n = ceil((L - O) / (W - O)),   window k starts at residue s_k = floor(k (L - W) / (n - 1))
///
/// A residue that several windows cover has the weighted mean of what they say. A window's weight is the distance to
/// its nearer border, counted from 1; the protein's own ends are no borders, because nothing is cut off there:
///
///     w_k(i) = min(i - s_k + 1 if k > 0, s_k + W - i if k < n - 1),   y_i = sum_k w_k(i) h_k(i) / sum_k w_k(i)
///
/// So a window counts least where it sees least of a residue's neighbours, and along the protein the mean passes from
/// one window to the next without a step.
struct Windows {
    index_t length = 0;  ///< W; 0: every protein is one sequence
    index_t overlap = 0; ///< O, 0 <= O < W

    /// n, of a protein of `residues` residues.
    KOKKOS_INLINE_FUNCTION index_t count(index_t residues) const {
        return length == 0 || residues <= length ? 1 : (residues - overlap - 1) / (length - overlap) + 1;
    }
    /// Whether such a protein is cut into windows.
    KOKKOS_INLINE_FUNCTION bool cut(index_t residues) const { return count(residues) > 1; }
    /// s_k. @param k  from 0
    KOKKOS_INLINE_FUNCTION index_t first(index_t k, index_t residues) const {
        return k == 0 ? 0 : k * (residues - length) / (count(residues) - 1);
    }
    /// Residues of each of the protein's sequences.
    KOKKOS_INLINE_FUNCTION index_t size(index_t residues) const { return cut(residues) ? length : residues; }
    /// Tokens of all its sequences. @param special  tokens around each
    KOKKOS_INLINE_FUNCTION index_t tokens(index_t residues, index_t special) const {
        return count(residues) * (size(residues) + special);
    }
    KOKKOS_INLINE_FUNCTION bool covers(index_t k, index_t i, index_t residues) const {
        index_t const start = first(k, residues);
        return i >= start && i < start + size(residues);
    }
    /// w_k(i) of a window that covers residue `i`; 1 where there is one window only.
    KOKKOS_INLINE_FUNCTION index_t weight(index_t k, index_t i, index_t residues) const {
        index_t const last = count(residues) - 1, start = first(k, residues);
        index_t const before = i - start + 1, after = start + length - i;
        return last == 0 ? 1 : k == 0 ? after : k == last ? before : before < after ? before : after;
    }
    /// w_k(i) divided by the sum over all windows that cover residue `i`; exactly 1 where no other does.
    KOKKOS_INLINE_FUNCTION double share(index_t k, index_t i, index_t residues) const {
        index_t const mine = weight(k, i, residues), last = count(residues) - 1;
        index_t sum = mine;
        for (index_t j = k - 1; j >= 0 && covers(j, i, residues); --j)
            sum += weight(j, i, residues);
        for (index_t j = k + 1; j <= last && covers(j, i, residues); ++j)
            sum += weight(j, i, residues);
        return static_cast<double>(mine) / static_cast<double>(sum);
    }
};

/// The most residues of one sequence that a model can take; 0: no limit. @param special  tokens around it
/// @throws Error when a model has no room for a residue
inline index_t residue_limit(EncoderShape const &shape, index_t special) {
    check(shape.positions == 0 || shape.positions > special, "the model has ", shape.positions, " positions, and ",
          special, " special tokens leave no room for a residue");
    return shape.positions == 0 ? 0 : shape.positions - special;
}

/// The windows that are meant for a model; none of `options`: no protein is cut.
/// @throws Error for a window that is longer than the model can take, or an overlap that is no part of it
inline Windows resolve_windows(std::optional<WindowOptions> const &options, EncoderShape const &shape,
                               index_t special) {
    if (!options)
        return {};
    index_t const limit = residue_limit(shape, special), length = options->length > 0 ? options->length : limit;
    check(options->length >= 0, "windows: the length is ", options->length, ", expected at least 0");
    check(limit == 0 || length <= limit, "windows: the length is ", length, " residues, but the model can take ",
          limit);
    if (length == 0) {
        check(options->overlap <= 0, "windows: the overlap is ", options->overlap,
              ", but the model takes proteins of any length, and no length of windows is given");
        return {};
    }
    index_t const overlap = options->overlap == -1 ? length / 2 : options->overlap;
    check(overlap >= 0 && overlap < length, "windows: the overlap is ", overlap, ", expected 0 to ", length - 1,
          ", less than a window");
    return {length, overlap};
}

namespace detail {

/// Adds the rows of window `k` to the means `y` of a protein of `residues` residues. Windows come in their order.
/// @param hidden  (W, C) rows of the window's residues  @param y  (residues, C)
template <class Exec, class A>
void add_window(Exec const &exec, Windows windows, index_t k, index_t residues, Rows<A const> hidden, Rows<A> y) {
    index_t const start = windows.first(k, residues);
    index_t const step = is_host_space<Exec> ? y.cols : 1; // columns of one task
    index_t const tasks = y.cols / step;
    Kokkos::parallel_for(
        "protlm::add_window", range(exec, 0, hidden.rows * tasks), KOKKOS_LAMBDA(index_t item) {
            index_t const row = item / tasks, begin = item % tasks * step, i = start + row;
            bool const met = k > 0 && windows.covers(k - 1, i, residues);
            double const share = windows.share(k, i, residues);
            A const *from = hidden.row(row);
            A *to = y.row(i);
            for (index_t c = begin; c < begin + step; ++c)
                to[c] = static_cast<A>((met ? static_cast<double>(to[c]) : 0.0) + share * static_cast<double>(from[c]));
        });
}

} // namespace detail

} // namespace protlm::inline v0
