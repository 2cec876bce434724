#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace protlm::inline v0::detail {

using Bytes = std::span<std::uint8_t const>;

/// A file descriptor that is closed on destruction, read through one buffer. Standard input is read, not closed.
class Descriptor {
  public:
    static constexpr std::size_t buffer_bytes = std::size_t(1) << 18;

    /// @param path  "-" is standard input
    explicit Descriptor(std::string path) : name_(std::move(path)), buffer_(buffer_bytes) {
        file_ = name_ == "-" ? STDIN_FILENO : ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
        check(file_ >= 0, name_, ": cannot open: ", std::strerror(errno));
        name_ = name_ == "-" ? "standard input" : name_;
    }
    Descriptor(Descriptor &&other) noexcept
        : name_(std::move(other.name_)), buffer_(std::move(other.buffer_)), begin_(other.begin_), end_(other.end_),
          consumed_(other.consumed_), file_(std::exchange(other.file_, -1)) {}
    Descriptor &operator=(Descriptor &&) = delete;
    ~Descriptor() {
        if (file_ > STDIN_FILENO)
            ::close(file_);
    }

    /// Fills the buffer to at least `size` bytes where the file has them, and shows it without consuming.
    Bytes peek(std::size_t size) {
        if (end_ - begin_ < size && begin_ > 0) {
            std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
            end_ -= std::exchange(begin_, 0);
        }
        while (end_ - begin_ < size && !at_end_)
            fill();
        return {buffer_.data() + begin_, end_ - begin_};
    }
    /// The next bytes; empty at the end. Valid until the next call.
    Bytes read() {
        Bytes const bytes = peek(1);
        skip(bytes.size());
        return bytes;
    }
    void skip(std::size_t size) {
        begin_ += size;
        consumed_ += size;
        if (begin_ == end_)
            begin_ = end_ = 0;
    }
    bool is_regular() const {
        struct stat status {};
        return ::fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
    }
    std::string const &name() const { return name_; }
    std::uint64_t consumed() const { return consumed_; }

  private:
    void fill() {
        ssize_t got = -1;
        do
            got = ::read(file_, buffer_.data() + end_, buffer_.size() - end_);
        while (got < 0 && errno == EINTR);
        check(got >= 0, name_, ": cannot read: ", std::strerror(errno));
        at_end_ = got == 0;
        end_ += static_cast<std::size_t>(got);
    }
    std::string name_;
    std::vector<std::uint8_t> buffer_;
    std::size_t begin_ = 0, end_ = 0;
    std::uint64_t consumed_ = 0;
    int file_ = -1;
    bool at_end_ = false;
};

/// Bytes as they are: pipes and standard input.
class PlainStream {
  public:
    explicit PlainStream(Descriptor input) : input_(std::move(input)) {}
    Bytes read() { return input_.read(); }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    Descriptor input_;
};

/// A mapped file (or memory of the caller), handed out in slices that adjoin, each brought into memory in one call.
class MappedSlices {
  public:
    static constexpr std::size_t slice_bytes = std::size_t(1) << 22;

    explicit MappedSlices(MappedFile file) : file_(std::move(file)) {
        rest_ = {reinterpret_cast<std::uint8_t const *>(file_.bytes().data()), file_.size()};
        if (!rest_.empty())
            ::madvise(const_cast<std::byte *>(file_.bytes().data()), file_.size(), MADV_SEQUENTIAL);
    }
    explicit MappedSlices(Bytes memory) : rest_(memory) {}

    Bytes read() {
        Bytes const slice = rest_.first(std::min(rest_.size(), slice_bytes));
#ifdef MADV_POPULATE_READ // one call instead of a fault a page; older kernels refuse it, and the pages fault in
        if (file_.size() != 0 && !slice.empty())
            ::madvise(const_cast<std::uint8_t *>(slice.data()), slice.size(), MADV_POPULATE_READ);
#endif
        rest_ = rest_.subspan(slice.size());
        consumed_ += slice.size();
        return slice;
    }
    std::uint64_t consumed() const { return consumed_; }

  private:
    MappedFile file_;
    Bytes rest_;
    std::uint64_t consumed_ = 0;
};

/// Gzip with any number of members (as bgzip writes them) and zero padding after the last.
class GzipStream {
  public:
    explicit GzipStream(Descriptor input) : input_(std::move(input)), output_(std::size_t(1) << 18) {
        check(inflateInit2(stream_.get(), 15 + 16) == Z_OK, input_.name(), ": cannot start zlib");
    }
    Bytes read() {
        while (true) {
            if (member_ended_ && !next_member())
                return {};
            Bytes const bytes = input_.peek(1);
            check(!bytes.empty(), input_.name(), ": the gzip data end too early (truncated file?)");
            stream_->next_in = const_cast<Bytef *>(bytes.data());
            stream_->avail_in = static_cast<uInt>(bytes.size());
            stream_->next_out = output_.data();
            stream_->avail_out = static_cast<uInt>(output_.size());
            int const result = inflate(stream_.get(), Z_NO_FLUSH);
            check(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR, input_.name(),
                  ": damaged gzip data: ", stream_->msg ? stream_->msg : "unexpected preset dictionary");
            input_.skip(bytes.size() - stream_->avail_in);
            member_ended_ = result == Z_STREAM_END;
            if (std::size_t const size = output_.size() - stream_->avail_out; size > 0)
                return {output_.data(), size};
        }
    }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    struct End {
        void operator()(z_stream *stream) const {
            inflateEnd(stream);
            delete stream;
        }
    };
    bool next_member() {
        Bytes bytes = input_.peek(2);
        while (!bytes.empty() && bytes[0] == 0) { // tapes and some servers pad with zeros
            input_.skip(1);
            bytes = input_.peek(2);
        }
        check(bytes.empty() || (bytes.size() > 1 && bytes[0] == 0x1F && bytes[1] == 0x8B), input_.name(),
              ": bytes after the gzip data that are no gzip data");
        inflateReset(stream_.get());
        return !bytes.empty();
    }
    Descriptor input_;
    std::vector<std::uint8_t> output_;
    std::unique_ptr<z_stream, End> stream_{new z_stream{}};
    bool member_ended_ = false;
};

/// Zstandard with any number of frames and windows as large as `zstd --long=31` makes them.
class ZstdStream {
  public:
    explicit ZstdStream(Descriptor input) : input_(std::move(input)), output_(ZSTD_DStreamOutSize()) {
        check(stream_ != nullptr, input_.name(), ": cannot start zstd");
        ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, sizeof(std::size_t) > 4 ? 31 : 30);
    }
    Bytes read() {
        while (true) {
            Bytes const bytes = input_.peek(1);
            if (bytes.empty() && !full_) {
                check(pending_ == 0, input_.name(), ": the zstd data end too early (truncated file?)");
                return {};
            }
            ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
            ZSTD_outBuffer out{output_.data(), output_.size(), 0};
            pending_ = ZSTD_decompressStream(stream_.get(), &out, &in);
            check(!ZSTD_isError(pending_), input_.name(), ": damaged zstd data: ", ZSTD_getErrorName(pending_));
            input_.skip(in.pos);
            full_ = pending_ != 0 && out.pos == out.size; // zstd may hold more output that needs no more input
            if (out.pos > 0)
                return {output_.data(), out.pos};
        }
    }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    struct End {
        void operator()(ZSTD_DCtx *stream) const { ZSTD_freeDCtx(stream); }
    };
    Descriptor input_;
    std::vector<std::uint8_t> output_;
    std::unique_ptr<ZSTD_DCtx, End> stream_{ZSTD_createDCtx()};
    std::size_t pending_ = 0;
    bool full_ = false;
};

using ByteSource = std::variant<MappedSlices, PlainStream, GzipStream, ZstdStream>;

/// True when `bytes` begin as `magic` does.
inline bool begins_with(Bytes bytes, std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

/// Opens a file, a pipe or standard input ("-"); what it holds is told by its first bytes, not by its name.
/// @throws Error when it cannot be opened, or is compressed in a way that is not supported
inline ByteSource open_source(std::string const &path) {
    Descriptor input(path);
    Bytes const head = input.peek(6);
    bool const skippable_frame = head.size() >= 4 && (head[0] & 0xF0) == 0x50 &&
                                 begins_with(head.subspan(1), "\x2A\x4D\x18"); // pzstd begins with one
    if (begins_with(head, "\x1F\x8B"))
        return ByteSource(std::in_place_type<GzipStream>, std::move(input));
    if (skippable_frame || begins_with(head, "\x28\xB5\x2F\xFD"))
        return ByteSource(std::in_place_type<ZstdStream>, std::move(input));
    check(!begins_with(head, std::string_view("\xFD"
                                              "7zXZ",
                                              5)),
          input.name(), ": xz is not supported; give the output of 'xz -dc' as standard input");
    check(!begins_with(head, "BZh"), input.name(),
          ": bzip2 is not supported; give the output of 'bzip2 -dc' as standard input");
    if (input.is_regular() && path != "-")
        return ByteSource(std::in_place_type<MappedSlices>, MappedFile(path));
    return ByteSource(std::in_place_type<PlainStream>, std::move(input));
}

} // namespace protlm::inline v0::detail
