#pragma once

#include <protlm/core/tensor.hpp>

#include <span>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// Which of `wanted` layers of a model of `layers` layers are meant, one entry each, in the order asked for: 0 is the
/// embedding's output, -1 the last layer, -2 that before it; none wanted: the last.
/// @throws Error for a layer that the model does not have, or that is asked for twice
inline std::vector<index_t> resolve_layers(std::vector<index_t> const &wanted, index_t layers) {
    std::vector<index_t> resolved;
    for (index_t const layer : wanted.empty() ? std::vector<index_t>{-1} : wanted) {
        index_t const meant = layer < 0 ? layers + 1 + layer : layer;
        check(meant >= 0 && meant <= layers, "Embedder: layer is ", layer, ", but the model has ", layers);
        for (index_t const other : resolved)
            check(other != meant, "Embedder: layer ", meant, " is asked for twice");
        resolved.push_back(meant);
    }
    return resolved;
}

/// What one pass over a batch gave, in the memory of `Exec`; one slot a layer, in the order asked for. Tensors may be
/// kept: copies share their memory.
template <class A, class Exec>
struct EmbeddedBatch {
    std::span<index_t const> members;      ///< (B) proteins' numbers in the input
    std::span<std::int64_t const> offsets; ///< (B+1) rows of each in `states`, special tokens included
    index_t before = 0, after = 0;         ///< special tokens around the residues of every protein
    std::vector<Tensor<A, Exec>> vectors;  ///< [slot] (B, C); empty tensors with Pooling::none
    std::vector<Tensor<A, Exec>> states;   ///< [slot] (T, C); empty tensors where no residues were asked for

    /// The first row of member `b`'s residues in `states`.
    index_t first_residue(std::size_t b) const { return offsets[b] + before; }
    /// How many residues member `b` has.
    index_t residues(std::size_t b) const { return offsets[b + 1] - offsets[b] - before - after; }
};

/// The embedding of one protein in host memory, as Embedder hands it out; the spans are valid during that call. Slots
/// are layers, in the order asked for.
template <class A>
struct ProteinEmbedding {
    index_t protein = 0;                      ///< its number in the input
    std::span<A const *const> vector_places;  ///< [slot] C values; null: none
    std::span<A const *const> residue_places; ///< [slot] L x C values; null: none
    index_t length = 0, width = 0;            ///< L, C
    index_t windows = 1;                      ///< that the protein was cut into; 1: embedded as a whole

    /// Layers that were asked for.
    index_t slots() const { return static_cast<index_t>(vector_places.size()); }
    /// (C): the protein's vector; empty with Pooling::none.
    std::span<A const> vector(index_t slot = 0) const { return values(vector_places, slot, width); }
    /// (L, C) row-major, without special tokens; empty unless asked for.
    std::span<A const> residues(index_t slot = 0) const { return values(residue_places, slot, length * width); }

  private:
    static std::span<A const> values(std::span<A const *const> places, index_t slot, index_t count) {
        A const *const place = places[static_cast<std::size_t>(slot)];
        return {place, place ? static_cast<std::size_t>(count) : 0};
    }
};

} // namespace protlm::inline v0
