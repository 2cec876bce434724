#pragma once

// Which probabilities of attention a dropout drops. The 128 keys of a tile take 16 counters of the generator, each of
// which decides about 8 keys by 16 bits: counter c about keys 4 c to 4 c + 3 and 64 + 4 c to 64 + 4 c + 3 of the tile.
// In this order a host's registers of counters become rows of decisions without a shuffle.

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/ops/detail/attention_shape.hpp>
#include <protlm/ops/detail/philox_unit.hpp>

#include <algorithm>
#include <cmath>

namespace protlm::inline v0::detail {

static_assert(key_tile == tile_decisions);

/// Attention that drops nothing: inference.
struct KeepAll {
    static constexpr bool drops = false;
};

/// The kernel part of an attention's dropout: what is dropped is a function of seed, epoch, op, head, the query's
/// protein and position, and the key's number among the keys of its sequence.
struct ProbabilityDropout {
    static constexpr bool drops = true;
    static constexpr std::uint32_t steps = 65536; // rates are whole numbers of 1 / steps

    std::uint32_t threshold = 0;            // drop where 16 random bits are below; 0: nothing is dropped
    double scale = 1.0;                     // of what is kept
    std::uint64_t op_key = 0;               // the generator's of head 0; other heads have the numbers behind it
    std::uint64_t const *sample = nullptr;  // (Tq), or null
    std::int32_t const *position = nullptr; // (Tq), or null

    KOKKOS_FUNCTION std::uint64_t head_key(AttentionPlace const &place) const {
        return op_key + static_cast<std::uint64_t>(place.head);
    }
    /// Counter number `block` of query row t.
    KOKKOS_FUNCTION PhiloxWords counter(index_t t, std::uint32_t block) const {
        std::uint64_t const s = sample ? sample[t] : 0;
        std::uint32_t const p = position ? static_cast<std::uint32_t>(position[t]) : static_cast<std::uint32_t>(t);
        return {{p, static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32), block}};
    }
    /// What the probability of a pair is multiplied with.
    template <class A>
    KOKKOS_FUNCTION A factor(AttentionPlace const &place, index_t query, index_t key) const {
        if (threshold == 0)
            return A(1);
        index_t const tile = key / key_tile, j = key % key_tile, half = j / 64;
        auto const block = static_cast<std::uint32_t>(tile * tile_counters + j % 64 / 4);
        auto const words = philox(counter(place.query_row + query, block), head_key(place));
        std::uint32_t const bits = words[static_cast<int>(2 * half + j % 4 / 2)] >> (16 * (j % 2)) & 0xFFFFu;
        return bits < threshold ? A(0) : static_cast<A>(scale);
    }
};

/// The dropout of one attention: its kernel part, and what that points to, kept for the backward.
template <class Exec>
struct AttentionDropout {
    ProbabilityDropout kernel = {};
    DropoutKeys<Exec> rows = {};
};
struct NoAttentionDropout {
    KeepAll kernel;
};

/// The dropout of the next op; none in inference. A rate is rounded to a whole number of 1 / 65536, and the scale is
/// that of the rounded rate.
template <class Context, class Exec = typename Context::execution_space>
auto attention_dropout(Context &context, Segments<Exec> const &queries, double rate) {
    if constexpr (!Context::training) {
        return NoAttentionDropout();
    } else {
        std::uint32_t const op = context.next_op(); // also when nothing is dropped: later ops keep their numbers
        double const steps = ProbabilityDropout::steps;
        auto const threshold = static_cast<std::uint32_t>(std::min(std::round(rate * steps), steps - 1));
        if (threshold == 0)
            return AttentionDropout<Exec>();
        auto const &rows = context.dropout();
        check(rows.sample.size() == 0 || rows.sample.size() == queries.total(), "attention: there are ",
              queries.total(), " queries, but the keys of dropout in force are for ", rows.sample.size());
        auto const words = CounterRandom{rows.seed, Purpose::attention_dropout, rows.epoch}(op, 0);
        bool const numbered = rows.sample.size() == 0; // a row's number stands for protein and position
        return AttentionDropout<Exec>{
            {threshold, steps / (steps - threshold), (static_cast<std::uint64_t>(words[1]) << 32) | words[0],
             numbered ? nullptr : rows.sample.data(), numbered ? nullptr : rows.position.data()},
            rows};
    }
}

/// The factors of one query and a tile of keys from number k0 on, on hosts: lane by lane of their registers.
template <class A>
class DropoutRow {
  public:
    DropoutRow(ProbabilityDropout const &dropout, AttentionPlace const &place, index_t query, index_t k0)
        : threshold_(static_cast<Int<A>>(dropout.threshold)), scale_(static_cast<A>(dropout.scale)) {
        auto const first = static_cast<std::uint32_t>(k0 / key_tile * tile_counters);
        philox_tile(dropout.counter(place.query_row + query, first), dropout.head_key(place), bits_);
    }
    /// Of keys k0 + j and those behind it.
    Vec<A> operator()(index_t j) const {
        return lanes_of_16_bits<A>(bits_ + j) < threshold_ ? Vec<A>{} : broadcast(scale_);
    }

  private:
    std::uint16_t bits_[key_tile];
    Int<A> threshold_;
    A scale_;
};

} // namespace protlm::inline v0::detail
