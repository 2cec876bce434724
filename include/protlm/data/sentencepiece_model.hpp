#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/data/pieces.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What a SentencePiece model says about its pieces; its scores, its training settings and its normaliser are of no use
/// for proteins, whose residues are pieces of their own.
struct SentencePieceModel {
    std::vector<std::string> pieces; ///< in the order of the ids
    std::int32_t unknown = -1;       ///< the piece of type UNKNOWN; -1: there is none
};

namespace detail {

/// Reads the wire format of protocol buffers: fields of a number, a wire type and a value, one after the other
/// (protobuf.dev/programming-guides/encoding). Never looks behind the end of its bytes.
class ProtobufReader {
  public:
    enum Wire : std::uint32_t { varint = 0, eight_bytes = 1, length_delimited = 2, four_bytes = 5 };

    /// @param base  where `bytes` begin in the file, for messages
    ProtobufReader(std::span<std::byte const> bytes, std::string_view where, std::size_t base = 0)
        : bytes_(bytes), where_(where), base_(base) {}

    bool at_end() const { return at_ == bytes_.size(); }
    std::size_t place() const { return base_ + at_; } ///< of the next byte in the file
    std::uint32_t field() const { return field_; }
    std::uint32_t wire() const { return wire_; }

    /// Moves to the next field's value. @throws Error for field 0, groups and wire types that do not exist
    void next() {
        std::size_t const begin = place();
        std::uint64_t const key = read_varint();
        field_ = static_cast<std::uint32_t>(key >> 3);
        wire_ = static_cast<std::uint32_t>(key & 7);
        check(key >> 32 == 0 && field_ != 0, where_, ": byte ", begin, ": field number ", key >> 3,
              ": this is no SentencePiece model");
        check(wire_ <= length_delimited || wire_ == four_bytes, where_, ": byte ", begin, ": field ", field_,
              " has wire type ", wire_, ": this is no SentencePiece model");
    }

    /// The value of a varint field.
    std::uint64_t number() {
        expect(varint);
        return read_varint();
    }

    /// The value of a length-delimited field: text, bytes or a message.
    std::span<std::byte const> bytes() {
        expect(length_delimited);
        std::size_t const begin = place();
        std::uint64_t const size = read_varint();
        check(size <= bytes_.size() - at_, where_, ": byte ", begin, ": field ", field_, " has ", size,
              " bytes, but only ", bytes_.size() - at_, " are left: is the file truncated?");
        at_ += static_cast<std::size_t>(size);
        return bytes_.subspan(at_ - static_cast<std::size_t>(size), static_cast<std::size_t>(size));
    }

    /// Passes over the value, whatever it is.
    void skip() {
        if (wire_ == varint) {
            read_varint();
        } else if (wire_ == length_delimited) {
            bytes();
        } else {
            std::size_t const size = wire_ == eight_bytes ? 8 : 4;
            check(size <= bytes_.size() - at_, where_, ": byte ", place(), ": field ", field_, " has ", size,
                  " bytes, but only ", bytes_.size() - at_, " are left: is the file truncated?");
            at_ += size;
        }
    }

  private:
    void expect(Wire wanted) const {
        check(wire_ == wanted, where_, ": byte ", place(), ": field ", field_, " has wire type ", wire_, ", expected ",
              static_cast<std::uint32_t>(wanted), ": this is no SentencePiece model");
    }

    std::uint64_t read_varint() {
        std::size_t const begin = place();
        std::uint64_t value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            check(at_ < bytes_.size(), where_, ": byte ", begin, ": ends inside a number: is the file truncated?");
            auto const byte = std::to_integer<std::uint64_t>(bytes_[at_++]);
            check(shift < 63 || byte <= 1, where_, ": byte ", begin, ": a number has more than 64 bits");
            value |= (byte & 0x7F) << shift;
            if (byte < 0x80)
                return value;
        }
        fail(where_, ": byte ", begin, ": a number has more than 10 bytes");
    }

    std::span<std::byte const> bytes_;
    std::string_view where_;
    std::size_t base_, at_ = 0;
    std::uint32_t field_ = 0, wire_ = 0;
};

/// Adds one message SentencePiece: 1 piece, 2 score, 3 type (sentencepiece_model.proto of SentencePiece).
inline void add_sentence_piece(ProtobufReader fields, SentencePieceModel &model, std::string_view where) {
    enum Type : std::uint64_t { normal = 1, unknown = 2, user_defined = 4, last = 6 };
    std::size_t const id = model.pieces.size();
    std::string text;
    std::uint64_t type = normal;
    while (!fields.at_end()) {
        fields.next();
        if (fields.field() == 1) {
            auto const bytes = fields.bytes();
            text.assign(reinterpret_cast<char const *>(bytes.data()), bytes.size());
        } else if (fields.field() == 3) {
            type = fields.number();
        } else {
            fields.skip();
        }
    }
    check(!text.empty(), where, ": piece ", id, " is empty");
    check(type >= normal && type <= last, where, ": piece ", id, " has type ", type, ", expected 1 to 6");
    check(residue_of_piece(text) == '\0' || type == normal || type == user_defined, where, ": piece ", id,
          " is the residue ", text, ", but its type is ", type, ": no text becomes that piece");
    if (type == unknown) {
        check(model.unknown < 0, where, ": pieces ", model.unknown, " and ", id, " are both the unknown one");
        model.unknown = static_cast<std::int32_t>(id);
    }
    model.pieces.push_back(std::move(text));
}

} // namespace detail

/// The pieces of a SentencePiece model: field 1 of the message ModelProto, once for every piece.
/// @param where  names the origin in error messages
/// @throws Error with the byte at which the message is broken, or the number of the piece that is
inline SentencePieceModel parse_sentencepiece_model(std::span<std::byte const> bytes, std::string_view where) {
    SentencePieceModel model;
    detail::ProtobufReader fields(bytes, where);
    while (!fields.at_end()) {
        fields.next();
        if (fields.field() != 1) {
            fields.skip();
            continue;
        }
        check(model.pieces.size() < most_pieces, where, ": more than ", most_pieces, " pieces");
        auto const piece = fields.bytes();
        detail::add_sentence_piece({piece, where, fields.place() - piece.size()}, model, where);
    }
    check(!model.pieces.empty(), where, ": holds no pieces: this is no SentencePiece model");
    return model;
}

/// Reads a spiece.model. @throws Error naming the file
inline SentencePieceModel read_sentencepiece_model(std::filesystem::path const &path) {
    MappedFile const file(path);
    refuse_web_page(file.bytes(), path.string());
    return parse_sentencepiece_model(file.bytes(), path.string());
}

} // namespace protlm::inline v0
