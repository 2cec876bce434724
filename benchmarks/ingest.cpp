// How fast proteins come in: FASTA to tokens beside counting the lines of the same file, compressed files, the token
// store, packing and masking. One core. Without a file it makes 256 MB of random proteins of natural lengths.
//
//     ingest [--benchmark_...] [proteins.fasta]

#include <protlm/data/fasta.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>
#include <protlm/objective/masked.hpp>

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace {

using protlm::Vocabulary;
namespace fs = std::filesystem;

/// Files of the benchmark, made once and removed at the end.
struct Files {
    fs::path folder, single_line, wrapped, gzip, zstd, store;
    std::string text;                                                // single-line
    static constexpr std::size_t gzip_bytes = std::size_t(64) << 20; // of text: the others have all of it

    explicit Files(char const *input) {
        std::string name = (fs::temp_directory_path() / "protlm-ingest-XXXXXX").string();
        protlm::check(::mkdtemp(name.data()) != nullptr, name, ": cannot create");
        folder = name;
        std::string wrapped_text;
        fill(input, wrapped_text);
        single_line = write("single.fasta", text);
        wrapped = write("wrapped.fasta", wrapped_text);
        gzip = write("single.fasta.gz", compress_gzip(std::string_view(text).substr(0, gzip_bytes)));
        zstd = write("single.fasta.zst", compress_zstd(text));
        store = folder / "proteins.store";
        Vocabulary const vocabulary = Vocabulary::protbert();
        protlm::StoreWriter writer(store, vocabulary);
        protlm::FastaReader reader({single_line.string()}, vocabulary, {protlm::InvalidLetters::mask});
        while (auto const record = reader.next())
            writer.add(record->id, record->tokens);
        writer.commit();
    }
    ~Files() {
        std::error_code ignored;
        fs::remove_all(folder, ignored);
    }

    /// Repeats the proteins of a file, or makes random ones, up to 256 MB; single-line and wrapped at 60.
    void fill(char const *input, std::string &wrapped_text) {
        Vocabulary const vocabulary = Vocabulary::protbert();
        std::mt19937_64 random(1);
        std::lognormal_distribution<double> length(5.8, 0.7);
        std::string const letters = "LAGVESIKRDTPNQFYMHCW";
        std::size_t const size = std::size_t(256) << 20;
        for (int number = 0; text.size() < size;) {
            if (input != nullptr) {
                protlm::FastaReader reader({input}, vocabulary, {protlm::InvalidLetters::mask});
                while (auto const record = reader.next())
                    append(record->header, protlm::decode(vocabulary, record->tokens), wrapped_text);
                protlm::check(!text.empty(), input, ": no proteins");
            } else {
                std::string protein(static_cast<std::size_t>(length(random)) + 1, ' ');
                std::generate(protein.begin(), protein.end(), [&] { return letters[random() % letters.size()]; });
                append("tr|" + std::to_string(++number) + " random protein", protein, wrapped_text);
            }
        }
    }
    void append(std::string_view header, std::string const &protein, std::string &wrapped_text) {
        text.append(">").append(header).append("\n").append(protein).append("\n");
        wrapped_text.append(">").append(header).append("\n");
        for (std::size_t at = 0; at < protein.size(); at += 60)
            wrapped_text.append(protein, at, 60).append("\n");
    }
    fs::path write(char const *name, std::string_view content) const {
        protlm::AtomicFile file(folder / name);
        file.write(content);
        file.commit();
        return folder / name;
    }
    static std::string compress_gzip(std::string_view content) {
        z_stream stream{};
        deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
        std::string out(deflateBound(&stream, content.size()), '\0');
        stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(content.data()));
        stream.avail_in = static_cast<uInt>(content.size());
        stream.next_out = reinterpret_cast<Bytef *>(out.data());
        stream.avail_out = static_cast<uInt>(out.size());
        deflate(&stream, Z_FINISH);
        out.resize(stream.total_out);
        deflateEnd(&stream);
        return out;
    }
    static std::string compress_zstd(std::string_view content) {
        std::string out(ZSTD_compressBound(content.size()), '\0');
        out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 1));
        return out;
    }
};

void bytes_and_residues(benchmark::State &state, double bytes, double residues) {
    auto const rate = benchmark::Counter::kIsRate;
    state.counters["bytes"] = benchmark::Counter(bytes, rate, benchmark::Counter::OneK::kIs1000);
    state.counters["tokens"] = benchmark::Counter(residues, rate, benchmark::Counter::OneK::kIs1000);
}

/// FASTA to tokens in memory. @param text_bytes  of the text, also where the file is compressed
void fasta(benchmark::State &state, fs::path const &path, std::size_t text_bytes) {
    Vocabulary const vocabulary = Vocabulary::protbert();
    double bytes = 0, residues = 0;
    for (auto _ : state) {
        protlm::FastaReader reader({path.string()}, vocabulary, {protlm::InvalidLetters::mask});
        while (auto const record = reader.next())
            benchmark::DoNotOptimize(record->tokens.data());
        residues += static_cast<double>(reader.counts().residues);
        bytes += static_cast<double>(text_bytes);
    }
    bytes_and_residues(state, bytes, residues);
}

/// What `wc -l` does: reads blocks of 256 KiB and counts line ends.
void count_lines(benchmark::State &state, fs::path const &path) {
    std::vector<char> buffer(std::size_t(1) << 18);
    double bytes = 0;
    for (auto _ : state) {
        std::FILE *const file = std::fopen(path.c_str(), "rb");
        std::setvbuf(file, nullptr, _IONBF, 0);
        std::ptrdiff_t lines = 0;
        for (std::size_t size; (size = std::fread(buffer.data(), 1, buffer.size(), file)) > 0;) {
            lines += std::count(buffer.data(), buffer.data() + size, '\n');
            bytes += static_cast<double>(size);
        }
        std::fclose(file);
        benchmark::DoNotOptimize(lines);
    }
    bytes_and_residues(state, bytes, 0);
}

void read_store(benchmark::State &state, fs::path const &path, protlm::StoreCheck check) {
    double residues = 0;
    for (auto _ : state) {
        protlm::TokenStore const store(path, check);
        std::uint64_t sum = 0;
        for (std::uint64_t i = 0; i < store.size(); ++i)
            for (std::uint8_t const token : store.tokens(i))
                sum += token;
        benchmark::DoNotOptimize(sum);
        residues += static_cast<double>(store.residues());
    }
    bytes_and_residues(state, residues, residues);
}

void pack(benchmark::State &state, fs::path const &path, bool masked) {
    protlm::TokenStore const store(path, protlm::StoreCheck::quick);
    protlm::Packer const packer(store, store.all(), {.tokens = 16384, .max_length = 512, .proteins_per_example = 2});
    protlm::Cursor cursor{1, 0, 0};
    double tokens = 0;
    for (auto _ : state) {
        protlm::BatchPlan const plan = packer.plan(cursor);
        protlm::Batch const batch = packer.build(plan);
        if (masked)
            benchmark::DoNotOptimize(protlm::MaskedLanguageModel{}.apply(batch, store.vocabulary(), 1).rows.data());
        benchmark::DoNotOptimize(batch.tokens.data());
        tokens += static_cast<double>(batch.size());
        cursor = plan.next;
    }
    bytes_and_residues(state, tokens, tokens);
}

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    benchmark::Initialize(&argc, argv);
    try {
        Files const files(argc > 1 ? argv[1] : nullptr);
        auto const add = [](char const *name, auto function, auto... arguments) {
            benchmark::RegisterBenchmark(name, function, arguments...)->Unit(benchmark::kMillisecond)->UseRealTime();
        };
        add("fasta/single_line", fasta, files.single_line, fs::file_size(files.single_line));
        add("fasta/wrapped", fasta, files.wrapped, fs::file_size(files.wrapped));
        add("count_lines/single_line", count_lines, files.single_line);
        add("count_lines/wrapped", count_lines, files.wrapped);
        add("fasta/gzip", fasta, files.gzip, files.gzip_bytes);
        add("fasta/zstd", fasta, files.zstd, files.text.size());
        add("store/read", read_store, files.store, protlm::StoreCheck::quick);
        add("store/verify_and_read", read_store, files.store, protlm::StoreCheck::full);
        add("pack", pack, files.store, false);
        add("pack_and_mask", pack, files.store, true);
        benchmark::RunSpecifiedBenchmarks();
    } catch (std::exception const &error) {
        std::fprintf(stderr, "ingest: %s\n", error.what());
        return 1;
    }
    return 0;
}
