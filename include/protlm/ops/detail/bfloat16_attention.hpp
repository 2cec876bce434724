#pragma once

// Attention's products by pairs of bfloat16 on processors that multiply them: queries, keys, values and probabilities
// are rounded, sums and the softmax between the products are float.

#include <protlm/ops/detail/attention_host.hpp>
#include <protlm/ops/detail/bfloat16_unit.hpp>

namespace protlm::inline v0::detail {

/// True when attention's products may be by pairs: tiles are made of the same registers as the pairs.
inline bool has_rounded_operands() {
#if defined(__x86_64__) && !defined(__CUDACC__)
    return lanes<float> == 16 && has_bfloat16_unit();
#else
    return false;
#endif
}

#if defined(__x86_64__) && !defined(__CUDACC__)

/// The operands of one forward task rounded to bfloat16. @see ExactOperands
class RoundedOperands {
  public:
    static constexpr bool rounded = true;
    RoundedOperands(float *memory, index_t width)
        : width_(width), stride_(padded<float>(width)), pairs_((width + 1) / 2), row_(padded<float>(pairs_)),
          staged_(memory), q_(reinterpret_cast<BfloatPair *>(staged_ + query_chunk * stride_)),
          k_(q_ + query_chunk * row_), k_transposed_(k_ + key_tile * row_), v_(k_transposed_ + key_tile * row_),
          p_(v_ + key_tile / 2 * stride_) {}
    static index_t size(index_t width) {
        index_t const stride = padded<float>(width), row = padded<float>((width + 1) / 2);
        return query_chunk * (stride + row) + 2 * key_tile * row + key_tile / 2 * stride + query_tile * key_tile / 2;
    }

    template <class S>
    void set_queries(Rows<float const> q, index_t row, index_t n, index_t first, float factor, S const *bias) {
        copy_head(q, row, n, first, width_, factor, staged_, bias);
        for (index_t i = 0; i < n; ++i)
            round_row(staged_ + i * stride_, width_, q_ + i * row_);
    }
    void set_keys(Rows<float const> k, Rows<float const> v, index_t row, index_t n, index_t first) {
        for (index_t i = 0; i < n; ++i)
            round_row(k.row(row + i) + first, width_, k_ + i * row_);
        transpose(reinterpret_cast<std::int32_t const *>(k_), row_, n, pairs_,
                  reinterpret_cast<std::int32_t *>(k_transposed_), key_tile);
        if (index_t const cols = padded<float>(n); n < cols)
            for (index_t p = 0; p < pairs_; ++p)
                std::fill(k_transposed_ + p * key_tile + n, k_transposed_ + p * key_tile + cols, BfloatPair(0));
        if (stride_ == width_) {
            for (index_t i = 0; i < n; i += 2)
                round_rows_together(v.row(row + i) + first, i + 1 < n ? v.row(row + i + 1) + first : nullptr, stride_,
                                    v_ + i / 2 * stride_);
        } else {
            float *const last = staged_ + (query_chunk - 2) * stride_; // q is rounded already
            for (index_t i = 0; i < n; i += 2) {
                index_t const together = std::min<index_t>(2, n - i);
                copy_head(v, row + i, together, first, width_, 1.0f, last);
                round_rows_together(last, together == 2 ? last + stride_ : nullptr, stride_, v_ + i / 2 * stride_);
            }
        }
    }
    void scores(index_t row, SumsFrom<float> from, float *tile, index_t rows, index_t cols) const {
        pair_tile_product(q_ + row * row_, row_, k_transposed_, key_tile, from, tile, tile_stride, rows, cols, pairs_);
    }
    void mix(float *tile, float *out, index_t rows, index_t keys) const {
        for (index_t i = 0; i < rows; ++i)
            round_row(tile + i * tile_stride, keys, p_ + i * (key_tile / 2));
        pair_tile_product(p_, key_tile / 2, v_, stride_, {out, stride_}, out, stride_, rows, stride_, (keys + 1) / 2);
    }

  private:
    index_t width_, stride_, pairs_, row_; // elements of a head, padded; its pairs, padded
    float *staged_;
    BfloatPair *q_, *k_, *k_transposed_, *v_, *p_;
};

#endif

/// out (Tq, H D) = softmax(score) v, lse (Tq, H) = log of the sums of exponentials; with `rounded`, products of
/// bfloat16 where the processor has them.
template <bool rounded, class Context, class Exec, class A, class Score, class Mask, class Dropout>
void attention_forward_any_host(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                                Segments<Exec> const &keys, Score const &score, Mask const &mask,
                                Dropout const &dropout, Rows<A> out, A *lse) {
#if defined(__x86_64__) && !defined(__CUDACC__)
    if constexpr (rounded && std::same_as<A, float>)
        if (has_rounded_operands()) {
            attention_forward_host<RoundedOperands>(context, rows, queries, keys, score, mask, dropout, out, lse);
            return;
        }
#endif
    attention_forward_host<ExactOperands<A>>(context, rows, queries, keys, score, mask, dropout, out, lse);
}

} // namespace protlm::inline v0::detail
