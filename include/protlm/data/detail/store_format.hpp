#pragma once

#include <protlm/data/detail/xxhash64.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace protlm::inline v0 {

/// What a token store holds and what was left out when it was made.
struct StoreCounts {
    std::uint64_t sequences = 0, residues = 0;         ///< stored, training and held-out together
    std::uint64_t held_out = 0, held_out_residues = 0; ///< of these, kept for evaluation
    std::uint64_t duplicates = 0;                      ///< left out: the same sequence was there before
    std::uint64_t skipped = 0;                         ///< left out: empty or shorter than the minimum
    std::uint64_t mapped = 0;                          ///< letters U, Z, O and B read as X
    std::uint64_t masked = 0;                          ///< invalid letters read as X
    bool operator==(StoreCounts const &) const = default;
};

/// How sequences are chosen for a store.
struct StoreOptions {
    double held_out = 0;          ///< expected fraction of the distinct sequences kept for evaluation, 0 to 1
    std::uint64_t split_seed = 0; ///< another seed chooses another held-out set
    bool deduplicate = false;     ///< keep only the first of equal sequences (needs 20 to 45 bytes a sequence)
};

} // namespace protlm::inline v0

namespace protlm::inline v0::detail {

// The token store on disk; docs/formats.md describes it. All numbers are little-endian.

inline constexpr std::string_view store_magic = "PLMSTORE", store_end_mark = "PLMSTEND";
inline constexpr std::uint32_t store_version = 1;
inline constexpr std::size_t store_alignment = 64; // of every section

/// One part of the file. The checksum is XXH64 with seed 0.
struct StoreSection {
    std::uint64_t offset = 0, bytes = 0, checksum = 0;
};

enum StoreSectionName : std::size_t { residues_section, index_section, ids_section, vocabulary_section };
inline constexpr std::array<std::string_view, 4> store_section_names{"residues", "index", "ids", "vocabulary"};

/// First bytes of the file.
struct StoreHeader {
    std::array<char, 8> magic{};
    std::uint32_t version = store_version;
    std::uint32_t header_bytes = 0;
    std::uint64_t file_bytes = 0;
    StoreCounts counts;
    double held_out = 0;
    std::uint64_t split_seed = 0;
    std::uint64_t deduplicated = 0;
    std::array<StoreSection, 4> section;
    std::uint64_t checksum = 0; // of the bytes before it
};
static_assert(std::is_trivially_copyable_v<StoreHeader> && sizeof(StoreHeader) == 216 &&
              offsetof(StoreHeader, checksum) == 208);

/// Where a sequence begins; the index has one more entry than there are sequences.
struct StoreIndexEntry {
    std::uint64_t residue = 0, id = 0;
};
static_assert(sizeof(StoreIndexEntry) == 16);

inline std::uint64_t header_checksum(StoreHeader const &header) {
    return xxh64(&header, offsetof(StoreHeader, checksum));
}

} // namespace protlm::inline v0::detail
