#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/floating_point.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/model/detail/weight_plan.hpp>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace protlm::inline v0::detail {

/// The first of `count` values that is no finite number, or `count`. Looks at the bits of the exponents.
template <Scalar S>
index_t first_not_finite(S const *values, index_t count) {
    using Bits = std::conditional_t<sizeof(S) == 8, std::uint64_t,
                                    std::conditional_t<sizeof(S) == 4, std::uint32_t, std::uint16_t>>;
    constexpr Bits mask = sizeof(S) == 8            ? static_cast<Bits>(0x7ff0000000000000u)
                          : sizeof(S) == 4          ? static_cast<Bits>(0x7f800000u)
                          : std::is_same_v<S, half> ? static_cast<Bits>(0x7c00u)
                                                    : static_cast<Bits>(0x7f80u);
    auto const bits = [&](index_t i) {
        Bits result;
        std::memcpy(&result, static_cast<void const *>(values + i), sizeof result);
        return result;
    };
    Bits bad = 0;
    for (index_t i = 0; i < count; ++i) // nothing stands in the way of vector instructions
        bad = static_cast<Bits>(bad | ((bits(i) & mask) == mask));
    index_t first = bad ? 0 : count;
    while (first < count && (bits(first) & mask) != mask)
        ++first;
    return first;
}

/// What was seen while a piece was read.
struct PieceReport {
    index_t not_finite = -1; // the first element that is no finite number; -1: none
    std::uint32_t crc32 = 0; // of its bytes, where its file has checksums
};

/// Reads one piece to `values` on the host.
template <Scalar S>
PieceReport read_piece(WeightPiece const &piece, S *values) {
    PieceReport report;
    bool const checked = piece.file->checked(*piece.tensor).is_tensor;
    piece.file->read_range_once(*piece.tensor, piece.first, values, piece.count, checked ? &report.crc32 : nullptr);
    if (auto const bad = first_not_finite(values, piece.count); bad < piece.count)
        report.not_finite = piece.first + bad;
    return report;
}

/// Reads all pieces into the flat buffer: on hosts in parallel and without a copy between, else through one piece.
template <Scalar S, class Exec>
std::vector<PieceReport> read_pieces(std::vector<WeightPiece> const &pieces, S *values) {
    using Memory = typename Exec::memory_space;
    std::vector<PieceReport> reports(pieces.size());
    if constexpr (Kokkos::SpaceAccessibility<Kokkos::HostSpace, Memory>::accessible) {
        using Host = Kokkos::DefaultHostExecutionSpace;
        using Policy = Kokkos::RangePolicy<Host, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::IndexType<index_t>>;
        auto const *piece = pieces.data();
        auto *report = reports.data();
        // No piece can fail: ranges and types are checked, and every number has a nearest S.
        Kokkos::parallel_for("protlm::load_weights", Policy(0, static_cast<index_t>(pieces.size())).set_chunk_size(1),
                             [=](index_t i) { report[i] = read_piece(piece[i], values + piece[i].target); });
        Host().fence();
    } else {
        std::vector<S> staged;
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            auto const &p = pieces[i];
            staged.resize(static_cast<std::size_t>(p.count));
            reports[i] = read_piece(p, staged.data());
            copy_from_host(Exec(), VectorView<S, Exec>(values + p.target, staged.size()), staged.data());
        }
    }
    return reports;
}

/// @throws Error naming file, tensor and element of the first value that is no finite number of type S
template <Scalar S>
void require_finite(std::vector<WeightPiece> const &pieces, std::vector<PieceReport> const &reports) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (reports[i].not_finite < 0)
            continue;
        auto const &[file, tensor, first, count, target] = pieces[i];
        double value = 0;
        file->read_range(*tensor, reports[i].not_finite, &value, 1);
        auto const where = file->name() + ": tensor \"" + excerpt(tensor->name) + "\": element " +
                           std::to_string(reports[i].not_finite);
        check(is_finite(value), where, " is ", value != value ? "no number (NaN)" : "infinite",
              "; weights must be finite numbers: was the model damaged, or its training diverging?");
        fail(where, " is ", value, ", which no ", data_type_name(data_type_of<S>()),
             " can hold; read the model in another precision (bfloat16 has the range of float32)");
    }
}

/// @throws Error naming the tensor whose bytes are not those that were written
inline void require_checksums(std::vector<WeightPiece> const &pieces, std::vector<PieceReport> const &reports) {
    std::set<std::byte const *> seen;
    for (std::size_t i = 0, next = 0; i < pieces.size(); i = next) {
        auto const &tensor = *pieces[i].tensor;
        auto const stretch = pieces[i].file->checked(tensor);
        std::uint32_t crc32 = reports[i].crc32;
        for (next = i + 1; next < pieces.size() && pieces[next].first > 0; ++next)
            crc32 = crc32_joined(crc32, reports[next].crc32,
                                 static_cast<std::size_t>(pieces[next].count * data_type_size(tensor.dtype)));
        if (stretch.crc32 == 0 || !seen.insert(stretch.bytes.data()).second)
            continue;
        check(stretch.crc32 == (stretch.is_tensor ? crc32 : crc32_of(stretch.bytes)), pieces[i].file->name(),
              ": tensor \"", excerpt(tensor.name),
              "\": its bytes are damaged (their CRC-32 is not that of the zip directory); copy or download the file "
              "again");
    }
}

} // namespace protlm::inline v0::detail
