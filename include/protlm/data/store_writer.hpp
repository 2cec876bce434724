#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/data/detail/sequence_set.hpp>
#include <protlm/data/detail/side_file.hpp>
#include <protlm/data/detail/store_format.hpp>
#include <protlm/data/vocabulary.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What StoreWriter::add did with a sequence.
enum class Stored { training, held_out, duplicate };

/// Writes a token store in one pass and in constant memory (plus the set of hashes when it deduplicates).
/// The store appears under its name when `commit` has written and synced all of it; after an error or a kill there is
/// at most a file that ends in ".partial".
///
/// Which sequences are held out depends on their letters and the seed only, not on their order, their number, the
/// vocabulary or the other sequences; equal sequences are always on the same side.
class StoreWriter {
  public:
    /// @throws Error when the folder cannot be written or `options.held_out` is not in [0, 1]
    StoreWriter(std::filesystem::path const &path, Vocabulary vocabulary, StoreOptions options = {})
        : path_(path), file_(path), training_(path), held_out_(path), held_out_residues_(path),
          vocabulary_(std::move(vocabulary)), options_(options) {
        check(options.held_out >= 0 && options.held_out <= 1, "StoreWriter: held_out is ", options.held_out,
              ", expected 0 to 1");
        for (std::int32_t token = 0; token < std::min(vocabulary_.size(), 256); ++token)
            letter_[static_cast<std::size_t>(token)] = vocabulary_.letter(token);
        detail::StoreHeader const blank; // without the magic: written last, so that nothing looks complete before
        file_.write(&blank, sizeof(blank));
    }

    /// Appends one protein.
    /// @param id      any bytes
    /// @param tokens  (L) residues without special tokens, at most 2^32 - 1
    /// @throws Error, for example when the disk is full; the writer is then of no more use
    Stored add(std::string_view id, std::span<std::uint8_t const> tokens);

    /// Adds letters and sequences to the counts that the store reports but the writer cannot see.
    void note(std::uint64_t skipped, std::uint64_t mapped, std::uint64_t masked) {
        counts_.skipped += skipped;
        counts_.mapped += mapped;
        counts_.masked += masked;
    }

    StoreCounts const &counts() const { return counts_; }

    /// How many more bytes of its disk the store takes until `commit` is done, when `fraction` of what it gets has been
    /// added, and the rest is like it. Index and ids are on the disk twice for a while.
    double room_to_go(double fraction) const {
        auto const residues = static_cast<double>(counts_.residues);
        double const rest = 16 * static_cast<double>(counts_.sequences) + static_cast<double>(id_bytes_);
        double const peak = residues + static_cast<double>(counts_.held_out_residues) + 2 * rest;
        return peak / fraction - (residues + rest);
    }

    /// Looks whether the disk has that room, so that a disk that is too small is noticed early. Where duplicates are
    /// left out nobody knows how many will come, and nothing is refused.
    /// @throws Error with what is needed and what is free
    void check_room(double fraction) const {
        std::error_code unknown;
        auto const free = std::filesystem::space(std::filesystem::absolute(path_).parent_path(), unknown).available;
        double const needed = room_to_go(fraction);
        check(unknown || options_.deduplicate || needed <= static_cast<double>(free), path_.string(), ": needs about ",
              static_cast<std::uint64_t>(std::max(needed, 0.0)), " more bytes on its disk, of which ", free,
              " are free");
    }

    /// Completes the store. @throws Error; an older store of this name then still stands
    StoreCounts commit();

  private:
    /// Index entries (as lengths) and ids of one side of the split, until they can be put behind the residues.
    struct Side {
        explicit Side(std::filesystem::path const &beside) : lengths(beside), ids(beside) {}
        detail::SideFile lengths, ids;
    };
    void write(void const *data, std::size_t size);
    void begin_section(std::size_t which);
    void end_section(std::size_t which);
    void write_index();
    void write_header();

    std::filesystem::path path_;
    AtomicFile file_;
    Side training_, held_out_;
    detail::SideFile held_out_residues_;
    Vocabulary vocabulary_;
    StoreOptions options_;
    StoreCounts counts_;
    std::array<char, 256> letter_{};
    std::vector<char> letters_;
    detail::SequenceSet seen_;
    detail::Xxh64 checksum_;
    bool in_residues_ = false;
    std::uint64_t id_bytes_ = 0;
    std::array<detail::StoreSection, 4> section_;
};

inline void StoreWriter::write(void const *data, std::size_t size) {
    if (size == 0)
        return; // an empty protein's span may point nowhere
    checksum_.update(data, size);
    file_.write(data, size);
}

inline void StoreWriter::begin_section(std::size_t which) {
    static constexpr std::array<char, detail::store_alignment> zeros{};
    if (std::size_t const beyond = file_.written() % detail::store_alignment; beyond > 0)
        file_.write(zeros.data(), detail::store_alignment - beyond);
    section_[which].offset = file_.written();
    checksum_ = detail::Xxh64();
}

inline void StoreWriter::end_section(std::size_t which) {
    section_[which].bytes = file_.written() - section_[which].offset;
    section_[which].checksum = checksum_.digest();
}

inline Stored StoreWriter::add(std::string_view id, std::span<std::uint8_t const> tokens) {
    check(tokens.size() < (std::uint64_t(1) << 32), "StoreWriter: record ", id, " has ", tokens.size(),
          " residues, expected below 2^32");
    if (!std::exchange(in_residues_, true))
        begin_section(detail::residues_section);
    bool held_out = options_.held_out >= 1;
    if (options_.deduplicate || (options_.held_out > 0 && !held_out)) {
        letters_.resize(tokens.size());
        for (std::size_t i = 0; i < tokens.size(); ++i)
            letters_[i] = letter_[tokens[i]];
        if (options_.deduplicate && !seen_.insert({detail::xxh64(letters_.data(), letters_.size(), 1),
                                                   detail::xxh64(letters_.data(), letters_.size(), 2)})) {
            ++counts_.duplicates;
            return Stored::duplicate;
        }
        std::uint64_t const hash = detail::xxh64(letters_.data(), letters_.size(), options_.split_seed + 3);
        held_out = held_out || static_cast<double>(hash >> 11) * 0x1p-53 < options_.held_out;
    }
    Side &side = held_out ? held_out_ : training_;
    std::array<std::uint64_t, 2> const lengths{tokens.size(), id.size()};
    side.lengths.write(lengths.data(), sizeof(lengths));
    side.ids.write(id.data(), id.size());
    id_bytes_ += id.size();
    if (held_out)
        held_out_residues_.write(tokens.data(), tokens.size());
    else
        write(tokens.data(), tokens.size());
    ++counts_.sequences;
    counts_.residues += tokens.size();
    counts_.held_out += held_out;
    counts_.held_out_residues += held_out ? tokens.size() : 0;
    return held_out ? Stored::held_out : Stored::training;
}

inline void StoreWriter::write_index() {
    detail::StoreIndexEntry entry;
    for (Side *side : {&training_, &held_out_})
        side->lengths.read_back([&](char const *data, std::size_t size) {
            for (std::size_t at = 0; at < size; at += sizeof(entry)) {
                write(&entry, sizeof(entry));
                auto const length = detail::read_as<detail::StoreIndexEntry>(data + at);
                entry.residue += length.residue;
                entry.id += length.id;
            }
        });
    write(&entry, sizeof(entry));
}

inline StoreCounts StoreWriter::commit() {
    auto const append = [this](char const *data, std::size_t size) { write(data, size); };
    if (!std::exchange(in_residues_, true))
        begin_section(detail::residues_section);
    held_out_residues_.read_back(append);
    end_section(detail::residues_section);
    begin_section(detail::index_section);
    write_index();
    end_section(detail::index_section);
    begin_section(detail::ids_section);
    training_.ids.read_back(append);
    held_out_.ids.read_back(append);
    end_section(detail::ids_section);
    begin_section(detail::vocabulary_section);
    std::string const text = vocabulary_text(vocabulary_);
    write(text.data(), text.size());
    end_section(detail::vocabulary_section);
    file_.write(detail::store_end_mark);
    write_header();
    file_.commit();
    return counts_;
}

inline void StoreWriter::write_header() {
    detail::StoreHeader header;
    std::copy(detail::store_magic.begin(), detail::store_magic.end(), header.magic.begin());
    header.header_bytes = sizeof(header);
    header.file_bytes = file_.written();
    header.counts = counts_;
    header.held_out = options_.held_out;
    header.split_seed = options_.split_seed;
    header.deduplicated = options_.deduplicate;
    header.section = section_;
    header.checksum = detail::header_checksum(header);
    file_.rewrite(0, &header, sizeof(header));
}

} // namespace protlm::inline v0
