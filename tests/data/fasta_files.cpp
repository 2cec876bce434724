// FASTA from files: compressed, piped, damaged, several.

#include <protlm/data/fasta.hpp>

#include "support.hpp"
#include "support/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace protlm;
using protlm::test::check_error;
using protlm::test::TemporaryFolder;

namespace {

std::string gzip(std::string_view text) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef *>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string zstd(std::string_view text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
    return out;
}

#ifdef PROTLM_HAVE_LZMA
std::string xz(std::string_view text, std::uint32_t preset = 1) {
    std::string out(lzma_stream_buffer_bound(text.size()), '\0');
    std::size_t size = 0;
    lzma_easy_buffer_encode(preset, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<std::uint8_t const *>(text.data()),
                            text.size(), reinterpret_cast<std::uint8_t *>(out.data()), &size, out.size());
    out.resize(size);
    return out;
}
#endif

#ifdef PROTLM_HAVE_BZIP2
std::string bzip2(std::string_view text) {
    std::string out(text.size() + text.size() / 50 + 1000, '\0');
    auto size = static_cast<unsigned>(out.size());
    BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char *>(text.data()), static_cast<unsigned>(text.size()), 1,
                             0, 0);
    out.resize(size);
    return out;
}
#endif

/// All records as one text, and what was counted.
std::string read(std::vector<std::string> const &paths, InvalidLetters invalid = InvalidLetters::error) {
    Vocabulary const vocabulary = Vocabulary::protbert();
    FastaReader reader(paths, vocabulary, {invalid});
    std::string text;
    while (auto const record = reader.next())
        text.append(record->header).append(":").append(decode(vocabulary, record->tokens)).append(";");
    if (reader.bytes_total() > 0)
        BOOST_TEST(reader.bytes_read() == reader.bytes_total());
    return text;
}

/// FASTA of over 8 MiB, so that records and headers lie across the borders of slices and buffers, and the same as
/// `read` gives it.
struct Large {
    std::string fasta, expected;
    Large() {
        std::mt19937_64 random(3);
        for (int i = 0; fasta.size() < (9u << 20); ++i) {
            std::string const header = "protein" + std::to_string(i) + " " + std::string(random() % 300, 'd');
            std::string const protein = test::random_protein(random, 1 + random() % 2000);
            fasta.append(">").append(header).append("\n");
            for (std::size_t at = 0; at < protein.size(); at += 60)
                fasta.append(protein.substr(at, 60)).append("\n");
            expected.append(header.substr(0, header.find_last_not_of(' ') + 1)).append(":").append(protein).append(";");
        }
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(fasta_files)

BOOST_AUTO_TEST_CASE(plain_gzip_zstd_and_pipes_read_the_same) {
    TemporaryFolder const folder;
    Large const large;
    std::string_view const text = large.fasta;
    std::string const part1 = gzip(text.substr(0, 1'000'003)), part2 = gzip(text.substr(1'000'003));
    std::string const frame1 = zstd(text.substr(0, 3'000'001)), frame2 = zstd(text.substr(3'000'001));
    std::string const skippable("\x50\x2A\x4D\x18\x03\x00\x00\x00"
                                "abc",
                                11);
    // Names say nothing: the first bytes tell.
    std::vector<std::pair<std::string, std::string>> files{{"plain.gz", std::string(text)},
                                                           {"one.fasta", gzip(text)},
                                                           {"two", part1 + part2},
                                                           {"padded", gzip(text) + std::string(700'000, '\0')},
                                                           {"bgzip", part1 + gzip("") + part2 + gzip("")},
                                                           {"zstd.fasta", zstd(text)},
                                                           {"frames", frame1 + frame2},
                                                           {"pzstd", skippable + frame1 + frame2}};
#ifdef PROTLM_HAVE_LZMA
    files.emplace_back("xz.fasta", xz(text));
    std::string const four_zeros(4, '\0');
    files.emplace_back("streams", xz(text.substr(0, 777)) + four_zeros + xz("") + xz(text.substr(777)) + four_zeros);
#endif
#ifdef PROTLM_HAVE_BZIP2
    files.emplace_back("bzip2.fasta", bzip2(text));
    files.emplace_back("pbzip2", bzip2(text.substr(0, 777)) + bzip2("") + bzip2(text.substr(777)));
#endif
    for (auto const &[name, bytes] : files)
        BOOST_TEST((read({folder.write(name, bytes).string()}) == large.expected), name);

    std::vector<std::string> contents{std::string(text), gzip(text), zstd(text)};
#ifdef PROTLM_HAVE_LZMA
    contents.push_back(xz(text));
#endif
#ifdef PROTLM_HAVE_BZIP2
    contents.push_back(bzip2(text));
#endif
    for (std::string const &bytes : contents) {
        std::string const pipe = (folder / "pipe").string();
        BOOST_REQUIRE_EQUAL(::mkfifo(pipe.c_str(), 0600), 0);
        std::thread writer([&] { folder.write("pipe", bytes); });
        BOOST_TEST((read({pipe}) == large.expected));
        writer.join();
        std::filesystem::remove(pipe);
    }
}

BOOST_AUTO_TEST_CASE(standard_input) {
    TemporaryFolder const folder;
    int const kept = ::dup(STDIN_FILENO);
    for (std::string const &bytes : {std::string(">a\nMK\n>b\nT"), gzip(">a\nMK\n>b\nT")}) {
        int const file = ::open(folder.write("input", bytes).c_str(), O_RDONLY);
        ::dup2(file, STDIN_FILENO);
        BOOST_TEST(read({"-"}) == "a:MK;b:T;");
        ::close(file);
    }
    int const file = ::open(folder.write("input", ">a\nMK\nJ").c_str(), O_RDONLY);
    ::dup2(file, STDIN_FILENO);
    check_error([] { read({"-"}); }, "standard input:3:1: letter 'J'");
    ::close(file);
    ::dup2(kept, STDIN_FILENO);
    ::close(kept);
}

BOOST_AUTO_TEST_CASE(files_follow_each_other_and_count_their_own_lines) {
    TemporaryFolder const folder;
    std::string const a = folder.write("a", ">a\nMK").string(), b = folder.write("b", gzip(">b\nT\n")).string(),
                      empty = folder.write("empty", "").string(), bad = folder.write("bad", "\n>c\nT\n1").string();
    BOOST_TEST(read({a, empty, b, a}) == "a:MK;b:T;a:MK;");
    BOOST_TEST(read({}) == "");
    check_error([&] { read({a, b, bad}); }, bad + ":4:1: letter '1' (record c)");
    check_error([&] { read({a, (folder / "none").string()}); }, "none: cannot read: No such file");
    check_error([&] { read({folder.path().string()}); }, "Is a directory");
}

BOOST_AUTO_TEST_CASE(places_of_errors_in_streams_count_from_the_start) {
    TemporaryFolder const folder;
    std::string text = ">a\n";
    for (int i = 0; i < 100'000; ++i)
        text.append("MKTAYIAKQRQISFVKSH\n");
    text.append(std::string(1'000'000, 'A') + "J\n");
    for (std::string const &bytes : {text, gzip(text), zstd(text)})
        check_error([&] { read({folder.write("x", bytes).string()}); }, "x:100002:1000001: letter 'J'");
    std::string stops;
    for (int i = 0; i < 30'000; ++i)
        stops.append(">a\nMKTAYIAKQRQISFVKSH*\n");
    stops.append(">z\nM*K\n");
    for (std::string const &bytes : {stops, gzip(stops), zstd(stops)})
        check_error([&] { read({folder.write("x", bytes).string()}); }, "x:60002:2: letter '*' (record z)");
}

BOOST_AUTO_TEST_CASE(damaged_and_truncated_compression_is_an_error) {
    TemporaryFolder const folder;
    std::mt19937_64 random(9);
    std::string const text = ">a\n" + test::random_protein(random, 5000) + "\n";
    std::string const zipped = gzip(text), frame = zstd(text);
    for (std::size_t size = 6; size < zipped.size(); size += 1 + size / 20)
        check_error([&] { read({folder.write("x", zipped.substr(0, size)).string()}); },
                    "x: the gzip data end too early");
    for (std::size_t size = 6; size < frame.size(); size += 1 + size / 20)
        check_error([&] { read({folder.write("x", frame.substr(0, size)).string()}); },
                    "x: the zstd data end too early");
    std::string damaged = zipped;
    damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1); // the checksum
    check_error([&] { read({folder.write("x", damaged).string()}); }, "x: damaged gzip data");
    damaged = frame;
    damaged[5] = static_cast<char>(damaged[5] ^ 0xFF);
    BOOST_CHECK_THROW(read({folder.write("x", damaged).string()}), Error);
    check_error([&] { read({folder.write("x", zipped + "more").string()}); }, "bytes after the gzip data");
    check_error([&] { read({folder.write("x", zipped + "\x1F").string()}); }, "bytes after the gzip data");
}

#ifdef PROTLM_HAVE_LZMA
BOOST_AUTO_TEST_CASE(damaged_xz_is_an_error) {
    TemporaryFolder const folder;
    std::mt19937_64 random(10);
    std::string const text = ">a\n" + test::random_protein(random, 5000) + "\n", whole = xz(text);
    auto const message_of = [&](std::string const &bytes) {
        try {
            read({folder.write("x", bytes).string()});
        } catch (Error const &error) {
            return std::string(error.what());
        }
        return std::string("nothing");
    };
    for (std::size_t size = 6; size < whole.size(); size += 1 + size / 20)
        BOOST_TEST(message_of(whole.substr(0, size)).find("x: the xz data end too early") != std::string::npos);
    for (std::size_t at = 6; at < whole.size(); at += 1 + at / 10) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        BOOST_TEST(message_of(damaged).find("xz") != std::string::npos, at);
    }
    BOOST_TEST(message_of(whole + "more and more").find("damaged xz data") != std::string::npos);
    BOOST_TEST(message_of(whole + std::string(3, '\0')).find("xz data") != std::string::npos); // padding is 4 bytes
    lzma_options_lzma options;
    lzma_lzma_preset(&options, 1);
    options.dict_size = std::uint32_t(1) << 30;
    lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
    std::string greedy(100'000, '\0');
    std::size_t size = 0;
    lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<std::uint8_t const *>(text.data()),
                              text.size(), reinterpret_cast<std::uint8_t *>(greedy.data()), &size, greedy.size());
    BOOST_REQUIRE(size > 0);
    BOOST_TEST(message_of(greedy.substr(0, size)).find("bytes of memory to decompress, 268435456 are allowed") !=
               std::string::npos);
}
#endif

#ifdef PROTLM_HAVE_BZIP2
BOOST_AUTO_TEST_CASE(damaged_bzip2_is_an_error) {
    TemporaryFolder const folder;
    std::mt19937_64 random(11);
    std::string const whole = bzip2(">a\n" + test::random_protein(random, 5000) + "\n");
    for (std::size_t size = 6; size < whole.size(); size += 1 + size / 20)
        check_error([&] { read({folder.write("x", whole.substr(0, size)).string()}); },
                    "x: the bzip2 data end too early");
    for (std::size_t at = 3; at < whole.size() - 1; at += 1 + at / 10) { // the last byte may have bits without meaning
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        check_error([&] { read({folder.write("x", damaged).string()}); }, "bzip2 data");
    }
    check_error([&] { read({folder.write("x", whole + "more").string()}); }, "bytes after the bzip2 data");
}
#endif

BOOST_AUTO_TEST_CASE(what_is_no_fasta_is_named) {
    TemporaryFolder const folder;
    std::string tar(512, '\0');
    tar.replace(0, 7, "a.fasta").replace(257, 5, "ustar");
    std::string const fasta = ">a\nMK\n", zip(std::string("PK\x03\x04") + std::string(300, 'z'));
    auto const refused = [&](std::string const &bytes, std::string const &kind) {
        check_error([&] { read({folder.write("x.gz", bytes).string()}); }, "x.gz: is no FASTA file, but " + kind);
    };
    refused(tar, "a tar archive");
    refused(gzip(tar), "a tar archive");
    refused(zstd(tar), "a tar archive");
    refused(zip, "a zip archive");
    refused(gzip(gzip(fasta)), "compressed twice");
    refused(gzip(zstd(fasta)), "compressed twice");
    refused(zstd(gzip(fasta)), "compressed twice");
    refused("PLMSTORE" + std::string(300, '\0'), "a token store");
    refused("\x89HDF\r\n\x1A\n" + std::string(300, '\0'), "an HDF5 file");
    check_error([&] { read({"-", "-"}); }, "standard input (-) is given twice");
}

BOOST_AUTO_TEST_CASE(a_file_that_others_write_into_is_an_error) {
    TemporaryFolder const folder;
    std::string text;
    while (text.size() < (6u << 20))
        text += ">a\nMKTAYIAKQRQISFVKSHFSRQ\n";
    std::vector<std::string> contents{text, gzip(text), zstd(text)};
    for (std::string const &bytes : contents) {
        std::string const path = folder.write("x", bytes).string();
        Vocabulary const vocabulary = Vocabulary::protbert();
        FastaReader reader({path}, vocabulary);
        BOOST_TEST(reader.next().has_value());
        folder.write("x", bytes + "\n"); // truncates it and writes it anew
        std::string error;
        try {
            while (reader.next())
                continue;
        } catch (Error const &e) {
            error = e.what();
        }
        BOOST_TEST(error.starts_with(path + ": "), error);
        BOOST_TEST(error.find("changed while it was being read") != std::string::npos, error);
    }
}

BOOST_AUTO_TEST_SUITE_END()
