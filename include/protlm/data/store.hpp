#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/data/detail/store_format.hpp>
#include <protlm/data/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// A run of sequences of a store: everything, the training or the held-out part.
struct Subset {
    std::uint64_t first = 0, count = 0;
    bool operator==(Subset const &) const = default;
};

/// Whether opening a store reads all of it to compare checksums.
enum class StoreCheck {
    automatic, ///< up to 1 GiB: everything; above: header, sizes, end mark and vocabulary only
    full,      ///< always everything
    quick      ///< never more than header, sizes, end mark and vocabulary
};

/// Read-only token store, memory-mapped: opening costs no memory, and pages are read when their proteins are used.
/// Made by StoreWriter (the driver `prepare`). The training sequences come first, in the order of the FASTA files,
/// the held-out sequences after them.
class TokenStore {
  public:
    static constexpr std::uint64_t automatic_check_bytes = std::uint64_t(1) << 30;

    /// @throws Error naming the file and what is wrong: not a store, another version, truncated, damaged
    explicit TokenStore(std::filesystem::path const &path, StoreCheck check_what = StoreCheck::automatic)
        : TokenStore(MappedFile(path), path.string(), check_what) {}

    /// A store that already is in memory, which must outlive this object. @param name  for error messages
    static TokenStore from_memory(std::span<std::byte const> bytes, StoreCheck check_what = StoreCheck::automatic,
                                  std::string name = "memory") {
        TokenStore store;
        store.name_ = std::move(name);
        store.open(bytes, check_what);
        return store;
    }

    std::uint64_t size() const { return header_.counts.sequences; }
    std::uint64_t residues() const { return header_.counts.residues; }
    StoreCounts const &counts() const { return header_.counts; }
    StoreOptions options() const { return {header_.held_out, header_.split_seed, header_.deduplicated != 0}; }
    Vocabulary const &vocabulary() const { return vocabulary_; }
    /// The checksums in the header: of residues, index, ids and vocabulary. They tell one store from another.
    std::array<std::uint64_t, 4> checksums() const {
        std::array<std::uint64_t, 4> sums{};
        for (std::size_t i = 0; i < sums.size(); ++i)
            sums[i] = header_.section[i].checksum;
        return sums;
    }
    std::string const &name() const { return name_; }

    Subset all() const { return {0, size()}; }
    Subset training() const { return {0, size() - header_.counts.held_out}; }
    Subset held_out() const { return {training().count, header_.counts.held_out}; }

    /// Residue tokens (L) of sequence `i`, without special tokens; valid as long as the store.
    /// @throws Error when the index is damaged there (possible only when the checksums were not compared)
    std::span<std::uint8_t const> tokens(std::uint64_t i) const {
        auto const [begin, end] = bounds(i, &detail::StoreIndexEntry::residue, residues());
        return {section(detail::residues_section) + begin, end - begin};
    }
    std::uint64_t length(std::uint64_t i) const { return tokens(i).size(); }

    /// The identifier that the FASTA file gave to sequence `i`.
    std::string_view id(std::uint64_t i) const {
        auto const [begin, end] = bounds(i, &detail::StoreIndexEntry::id, header_.section[detail::ids_section].bytes);
        return {reinterpret_cast<char const *>(section(detail::ids_section)) + begin, end - begin};
    }

    /// @throws Error naming the file when others have written to it since it was opened; see MappedFile
    void check_unchanged() const { file_.check_unchanged(); }

    /// Whether a file begins as a store does; of another kind, or not to be read, it does not.
    static bool recognise(std::filesystem::path const &path) {
        try {
            MappedFile const file(path);
            auto const bytes = file.bytes();
            return bytes.size() >= detail::store_magic.size() &&
                   std::memcmp(bytes.data(), detail::store_magic.data(), detail::store_magic.size()) == 0;
        } catch (Error const &) {
            return false;
        }
    }

    /// Reads the whole store: compares every checksum, and checks that the index ascends and all tokens are residues.
    /// @throws Error naming the section that is damaged
    void verify() const;

  private:
    TokenStore() = default;
    TokenStore(MappedFile file, std::string name, StoreCheck check_what)
        : file_(std::move(file)), name_(std::move(name)) {
        open(file_.bytes(), check_what);
    }
    void open(std::span<std::byte const> bytes, StoreCheck check_what);
    void check_header() const;
    void verify_section(std::size_t which) const;
    void verify_tokens() const;

    std::uint8_t const *section(std::size_t which) const {
        return reinterpret_cast<std::uint8_t const *>(bytes_.data()) + header_.section[which].offset;
    }
    detail::StoreIndexEntry entry(std::uint64_t i) const {
        return detail::read_as<detail::StoreIndexEntry>(section(detail::index_section) +
                                                        i * sizeof(detail::StoreIndexEntry));
    }
    std::pair<std::uint64_t, std::uint64_t> bounds(std::uint64_t i, std::uint64_t detail::StoreIndexEntry::*what,
                                                   std::uint64_t limit) const {
        check(i < size(), name_, ": sequence ", i, " of ", size());
        std::uint64_t const begin = entry(i).*what, end = entry(i + 1).*what;
        check(begin <= end && end <= limit, name_, ": damaged index at sequence ", i);
        return {begin, end};
    }

    MappedFile file_;
    std::string name_;
    std::span<std::byte const> bytes_;
    detail::StoreHeader header_;
    Vocabulary vocabulary_;
};

inline void TokenStore::open(std::span<std::byte const> bytes, StoreCheck check_what) {
    bytes_ = bytes;
    check(bytes.size() >= sizeof(header_) + detail::store_end_mark.size() &&
              std::memcmp(bytes.data(), detail::store_magic.data(), detail::store_magic.size()) == 0,
          name_, ": not a protlm token store, or one that was never completed");
    header_ = detail::read_as<detail::StoreHeader>(bytes.data());
    check_header();
    verify_section(detail::vocabulary_section);
    vocabulary_ = parse_vocabulary({reinterpret_cast<char const *>(section(detail::vocabulary_section)),
                                    header_.section[detail::vocabulary_section].bytes},
                                   name_ + ": vocabulary");
    if (check_what == StoreCheck::full ||
        (check_what == StoreCheck::automatic && bytes.size() <= automatic_check_bytes))
        verify();
    // Sampling is random: where the store cannot stay in memory, reading ahead would only push pages out.
    auto const memory =
        static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    if (file_.size() > memory / 2)
        ::madvise(const_cast<std::byte *>(bytes.data()), bytes.size(), MADV_RANDOM);
}

inline void TokenStore::check_header() const {
    check(header_.version == detail::store_version, name_, ": version ", header_.version,
          " of the token store, expected ", detail::store_version);
    check(header_.header_bytes == sizeof(header_) && header_.checksum == detail::header_checksum(header_), name_,
          ": damaged header");
    check(header_.file_bytes == bytes_.size(), name_, ": has ", bytes_.size(), " bytes, expected ", header_.file_bytes,
          header_.file_bytes > bytes_.size() ? " (truncated?)" : "");
    for (std::size_t i = 0; i < header_.section.size(); ++i) {
        auto const &[offset, bytes, sum] = header_.section[i];
        check(offset >= sizeof(header_) && offset <= bytes_.size() && bytes <= bytes_.size() - offset, name_,
              ": section ", detail::store_section_names[i], " lies outside the file");
    }
    StoreCounts const &counts = header_.counts;
    check(header_.section[detail::residues_section].bytes == counts.residues && counts.sequences < header_.file_bytes &&
              counts.held_out <= counts.sequences &&
              header_.section[detail::index_section].bytes == (counts.sequences + 1) * sizeof(detail::StoreIndexEntry),
          name_, ": the counts do not agree with the sizes of the sections");
    auto const *const end = bytes_.data() + bytes_.size() - detail::store_end_mark.size();
    check(std::memcmp(end, detail::store_end_mark.data(), detail::store_end_mark.size()) == 0, name_,
          ": the end mark is missing");
}

inline void TokenStore::verify_section(std::size_t which) const {
    detail::StoreSection const &it = header_.section[which];
    check(detail::xxh64(section(which), it.bytes) == it.checksum, name_, ": section ",
          detail::store_section_names[which], " is damaged (its checksum differs)");
}

inline void TokenStore::verify() const {
    for (std::size_t i = 0; i < header_.section.size(); ++i)
        verify_section(i);
    for (std::uint64_t i = 0; i < size(); ++i) {
        tokens(i);
        id(i);
    }
    check(entry(0).residue == 0 && entry(size()).residue == residues(), name_, ": the index leaves residues out");
    verify_tokens();
}

inline void TokenStore::verify_tokens() const {
    std::array<bool, 256> allowed{};
    for (std::uint8_t const token : vocabulary_.residues)
        allowed[token] = true;
    if (vocabulary_.unknown >= 0 && vocabulary_.unknown < 128)
        allowed[static_cast<std::size_t>(vocabulary_.unknown)] = true;
    std::span<std::uint8_t const> const tokens(section(detail::residues_section), residues());
    std::uint8_t least = 255, most = 0; // most vocabularies number their residues without gaps: then this is enough
    for (std::uint8_t const token : tokens) {
        least = std::min(least, token);
        most = std::max(most, token);
    }
    if (least > most || std::all_of(&allowed[least], &allowed[most] + 1, [](bool is) { return is; }))
        return;
    for (std::uint8_t const token : tokens)
        check(allowed[token], name_, ": holds token ", int(token), ", which is no residue");
}

} // namespace protlm::inline v0
