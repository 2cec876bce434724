#pragma once

#include <protlm/core/check.hpp>
#include <protlm/io/detail/json_sax.hpp>
#include <protlm/io/detail/little_endian.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace protlm::inline v0 {

/// The members of a zip file as spans of its bytes, zip64 included: nothing is unpacked, because torch stores tensors
/// uncompressed. Format: PKWARE's APPNOTE.TXT 6.3, sections 4.3 to 4.5.
class ZipArchive {
  public:
    /// One file in the archive; both views are valid as long as the archive's bytes.
    struct Member {
        std::string_view name;
        std::span<std::byte const> bytes;
        std::uint32_t crc32 = 0; ///< of the bytes, as the directory has it; 0 where a writer left it out
    };

    /// @param bytes the whole file, which must stay valid @param name stands for the file in messages
    /// @throws Error naming the file and the member when the directory at its end is missing or damaged, or a member
    /// is compressed, encrypted, repeated or leaves the file
    ZipArchive(std::span<std::byte const> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {
        read_directory();
    }

    /// All members in the order of the directory.
    std::vector<Member> const &members() const { return members_; }

    /// The member of that name, or nullptr.
    Member const *find(std::string_view name) const {
        auto const place = index_.find(name);
        return place == index_.end() ? nullptr : &members_[place->second];
    }

  private:
    static constexpr std::uint32_t end_mark = 0x06054b50, end64_mark = 0x06064b50, locator_mark = 0x07064b50,
                                   entry_mark = 0x02014b50, local_mark = 0x04034b50;
    struct Directory {
        std::uint64_t entries, size, offset;
    };

    template <class T>
    T at(std::uint64_t position) const {
        check(position <= bytes_.size() && sizeof(T) <= bytes_.size() - position, name_,
              ": the zip directory leaves "
              "the file at byte ",
              position, " of ", bytes_.size(), "; it is truncated or damaged");
        return detail::load_little<T>(bytes_.data() + position);
    }
    std::span<std::byte const> part(std::uint64_t begin, std::uint64_t size, std::string_view what) const {
        check(begin <= bytes_.size() && size <= bytes_.size() - begin, name_, ": ", detail::excerpt(what), " has ",
              size, " bytes at byte ", begin, ", but the file has only ", bytes_.size(),
              "; it is truncated or damaged");
        return bytes_.subspan(begin, size);
    }
    std::string_view text(std::uint64_t begin, std::uint64_t size) const {
        auto const found = part(begin, size, "a name in the zip directory");
        return {reinterpret_cast<char const *>(found.data()), found.size()};
    }

    /// The record at the end, found from behind: a comment of up to 64 KiB may follow it.
    std::uint64_t find_end() const {
        constexpr std::uint64_t record = 22, comment = 65535;
        std::uint64_t const size = bytes_.size();
        for (std::uint64_t back = record; back <= size && back <= record + comment; ++back)
            if (at<std::uint32_t>(size - back) == end_mark && at<std::uint16_t>(size - back + 20) == back - record)
                return size - back;
        fail(name_, ": has no zip directory at its end; it is truncated or no zip file");
    }
    Directory find_directory() const {
        auto const end = find_end();
        Directory found{at<std::uint16_t>(end + 10), at<std::uint32_t>(end + 12), at<std::uint32_t>(end + 16)};
        if (end >= 20 && at<std::uint32_t>(end - 20) == locator_mark) {
            auto const place = at<std::uint64_t>(end - 12);
            check(at<std::uint32_t>(place) == end64_mark, name_, ": the zip64 record at byte ", place, " is damaged");
            found = {at<std::uint64_t>(place + 32), at<std::uint64_t>(place + 40), at<std::uint64_t>(place + 48)};
        }
        part(found.offset, found.size, "the zip directory");
        check(found.entries <= found.size / 46, name_, ": the zip directory claims ", found.entries, " members in ",
              found.size, " bytes");
        return found;
    }

    void read_directory() {
        auto const directory = find_directory();
        members_.reserve(directory.entries);
        std::uint64_t position = directory.offset;
        for (std::uint64_t i = 0; i < directory.entries; ++i) {
            check(at<std::uint32_t>(position) == entry_mark, name_, ": entry ", i, " of the zip directory is damaged");
            auto const name_size = at<std::uint16_t>(position + 28), extra = at<std::uint16_t>(position + 30),
                       comment = at<std::uint16_t>(position + 32);
            members_.push_back(read_member(position, text(position + 46, name_size), extra));
            check(index_.emplace(members_.back().name, i).second, name_, ": the zip member \"",
                  detail::excerpt(members_.back().name), "\" appears twice");
            position += std::uint64_t(46) + name_size + extra + comment;
        }
    }

    Member read_member(std::uint64_t position, std::string_view name, std::uint64_t extra_size) const {
        std::uint64_t stored = at<std::uint32_t>(position + 20), size = at<std::uint32_t>(position + 24),
                      offset = at<std::uint32_t>(position + 42);
        read_extra(position + 46 + name.size(), extra_size, {&size, &stored, &offset});
        auto const flags = at<std::uint16_t>(position + 8), method = at<std::uint16_t>(position + 10);
        check((flags & 1) == 0, name_, ": the zip member \"", detail::excerpt(name), "\" is encrypted");
        check(method == 0 && stored == size, name_, ": the zip member \"", detail::excerpt(name),
              "\" is compressed (method ", method, "), torch stores tensors as they are",
              name.find("code/__torch__") == name.npos ? "" : "; a TorchScript file: save model.state_dict() instead");
        check(at<std::uint32_t>(offset) == local_mark, name_, ": the zip member \"", detail::excerpt(name),
              "\" does not begin at byte ", offset, "; the file is damaged");
        auto const local_name = at<std::uint16_t>(offset + 26), local_extra = at<std::uint16_t>(offset + 28);
        check(text(offset + 30, local_name) == name, name_, ": the zip member \"", detail::excerpt(name),
              "\" has another name where it begins");
        return {name, part(offset + 30 + local_name + local_extra, size, name), at<std::uint32_t>(position + 16)};
    }

    /// Numbers that do not fit into 32 bits stand in the extra field 1, in this order.
    void read_extra(std::uint64_t begin, std::uint64_t size, std::initializer_list<std::uint64_t *> numbers) const {
        std::uint64_t const end = begin + size;
        for (std::uint64_t place = begin; place + 4 <= end;) {
            std::uint64_t const next = place + 4 + at<std::uint16_t>(place + 2);
            if (at<std::uint16_t>(place) == 1) {
                std::uint64_t value = place + 4;
                for (auto *number : numbers)
                    if (*number == 0xffffffff && value + 8 <= next) {
                        *number = at<std::uint64_t>(value);
                        value += 8;
                    }
            }
            place = next;
        }
    }

    std::span<std::byte const> bytes_;
    std::string name_;
    std::vector<Member> members_;
    std::unordered_map<std::string_view, std::size_t> index_;
};

} // namespace protlm::inline v0
