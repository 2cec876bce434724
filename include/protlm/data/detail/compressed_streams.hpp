#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/detail/descriptor.hpp>

#include <zlib.h>
#include <zstd.h>
#ifdef PROTLM_HAVE_LZMA
#include <lzma.h>
#endif
#ifdef PROTLM_HAVE_BZIP2
#include <bzlib.h>
#endif

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

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

#ifdef PROTLM_HAVE_LZMA
/// Xz with any number of streams and padding between and behind them; all blocks are compared with their checksums.
class XzStream {
  public:
    /// As much memory as a file may ask for: `xz -9` needs 65 MiB, the largest dictionary that is used 1.5 GiB.
    static constexpr std::uint64_t most_memory = std::uint64_t(1) << 28;

    explicit XzStream(Descriptor input) : input_(std::move(input)), output_(std::size_t(1) << 18) {
        lzma_ret const result = lzma_stream_decoder(stream_.get(), most_memory, LZMA_CONCATENATED);
        check(result == LZMA_OK, input_.name(), ": cannot start liblzma");
    }
    Bytes read() {
        while (!ended_) {
            Bytes const bytes = input_.peek(1);
            stream_->next_in = bytes.data();
            stream_->avail_in = bytes.size();
            stream_->next_out = output_.data();
            stream_->avail_out = output_.size();
            lzma_ret const result = lzma_code(stream_.get(), bytes.empty() ? LZMA_FINISH : LZMA_RUN);
            input_.skip(bytes.size() - stream_->avail_in);
            ended_ = result == LZMA_STREAM_END;
            if (result != LZMA_OK && !ended_)
                fail_as(result);
            if (std::size_t const size = output_.size() - stream_->avail_out; size > 0)
                return {output_.data(), size};
        }
        return {};
    }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    struct End {
        void operator()(lzma_stream *stream) const {
            lzma_end(stream);
            delete stream;
        }
    };
    [[noreturn]] void fail_as(lzma_ret result) const {
        check(result != LZMA_BUF_ERROR, input_.name(), ": the xz data end too early (truncated file?)");
        check(result != LZMA_MEMLIMIT_ERROR, input_.name(), ": needs ", lzma_memusage(stream_.get()),
              " bytes of memory to decompress, ", most_memory,
              " are allowed; give the output of 'xz -dc' as standard input");
        check(result != LZMA_FORMAT_ERROR, input_.name(), ": bytes after the xz data that are no xz data");
        check(result != LZMA_OPTIONS_ERROR, input_.name(), ": xz data with options that liblzma does not know");
        fail(input_.name(), ": damaged xz data");
    }
    Descriptor input_;
    std::vector<std::uint8_t> output_;
    std::unique_ptr<lzma_stream, End> stream_{new lzma_stream LZMA_STREAM_INIT};
    bool ended_ = false;
};
#endif

#ifdef PROTLM_HAVE_BZIP2
/// Bzip2 with any number of streams, as pbzip2 writes them.
class Bzip2Stream {
  public:
    explicit Bzip2Stream(Descriptor input) : input_(std::move(input)), output_(std::size_t(1) << 18) { begin(); }
    Bytes read() {
        while (true) {
            Bytes const bytes = input_.peek(3);
            if (ended_ && bytes.empty())
                return {};
            check(!bytes.empty(), input_.name(), ": the bzip2 data end too early (truncated file?)");
            if (ended_) {
                check(bytes.size() >= 3 && std::memcmp(bytes.data(), "BZh", 3) == 0, input_.name(),
                      ": bytes after the bzip2 data that are no bzip2 data");
                begin();
            }
            stream_->next_in = const_cast<char *>(reinterpret_cast<char const *>(bytes.data()));
            stream_->avail_in = static_cast<unsigned>(bytes.size());
            stream_->next_out = reinterpret_cast<char *>(output_.data());
            stream_->avail_out = static_cast<unsigned>(output_.size());
            int const result = BZ2_bzDecompress(stream_.get());
            check(result == BZ_OK || result == BZ_STREAM_END, input_.name(), ": damaged bzip2 data");
            input_.skip(bytes.size() - stream_->avail_in);
            ended_ = result == BZ_STREAM_END;
            if (std::size_t const size = output_.size() - stream_->avail_out; size > 0)
                return {output_.data(), size};
        }
    }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    struct End {
        void operator()(bz_stream *stream) const {
            BZ2_bzDecompressEnd(stream);
            delete stream;
        }
    };
    void begin() {
        stream_.reset(new bz_stream{});
        check(BZ2_bzDecompressInit(stream_.get(), 0, 0) == BZ_OK, input_.name(), ": cannot start libbz2");
        ended_ = false;
    }
    Descriptor input_;
    std::vector<std::uint8_t> output_;
    std::unique_ptr<bz_stream, End> stream_;
    bool ended_ = false;
};
#endif

} // namespace protlm::inline v0::detail
