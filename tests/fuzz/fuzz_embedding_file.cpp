// libFuzzer target: whatever the bytes, reading an embedding file ends in values or a protlm::Error, quickly and with
// little memory. The bytes are changes to good files of each layout, which otherwise no input would come near.

#include <protlm/hdf5.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace protlm;

void require(bool valid) {
    if (!valid)
        std::abort();
}

/// In memory where the system has a place for that: HDF5 reads files only.
std::filesystem::path const folder = [] {
    std::error_code ignored;
    auto const place =
        std::filesystem::is_directory("/dev/shm", ignored) ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string name = (place / "protlm-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr);
    std::atexit([] { std::filesystem::remove_all(folder); });
    return name;
}();

std::string bytes_of(std::filesystem::path const &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
void write(std::filesystem::path const &path, std::string const &bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    require(bool(file.flush()));
}

std::string good_file(EmbeddingLayout layout, DataType precision, int gzip, bool two_layers) {
    EmbeddingInfo info{.model = "m", .precision = precision, .width = 3, .layout = layout, .gzip = gzip};
    if (two_layers)
        info.layers = {0, 2};
    std::vector<std::string> const ids{"a", "b/c", "a", ""};
    std::vector<index_t> const lengths{2, 0, 1, 1};
    std::vector<float> const values(6, 1.5f);
    EmbeddingWriter writer(folder / "good.h5", info, ids, lengths);
    for (index_t slot = 0; slot < info.slots(); ++slot)
        for (index_t i = 0; i < writer.size(); ++i)
            writer.write(i, values.data(), values.data(), slot);
    writer.close();
    return bytes_of(folder / "good.h5");
}

/// As another program writes it: no more than datasets in the root.
std::string flat_file() {
    auto file = Hdf5File::create(folder / "flat.h5");
    std::vector<float> const values(3, 1.5f);
    for (char const *name : {"P1", "P2"}) {
        auto const dataset = file.root().make_dataset(name, DataType::f32, {3});
        dataset.write(0, 3, values.data());
        dataset.set_heap_text("original_id", std::string("sp|") + name);
    }
    file.close();
    return bytes_of(folder / "flat.h5");
}

void use(std::filesystem::path const &path) {
    try {
        EmbeddingReader const reader(path);
        auto const &info = reader.info();
        require(reader.ids().size() == reader.lengths().size());
        for (index_t i = 0; i < reader.size() && i < 10; ++i)
            for (index_t slot = 0; slot < info.slots() && slot < 3; ++slot) {
                if (info.per_residue)
                    require(std::ssize(reader.residues(i, slot)) ==
                            reader.lengths()[static_cast<std::size_t>(i)] * info.width);
                if (info.per_protein())
                    require(std::ssize(reader.protein(i, slot)) == info.width);
            }
    } catch (Error const &) {
    }
    try {
        EmbeddingWorkFile file(path);
        for (index_t i = 0; i < file.size() && i < 10; ++i)
            file.checksum(i);
    } catch (Error const &) {
    }
}

} // namespace

/// HDF5 1.10 leaks what it read of a damaged file.
extern "C" char const *__asan_default_options() { return "detect_leaks=0"; }

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    static std::vector<std::string> const files = [] {
        std::vector<std::string> all{flat_file(), good_file(EmbeddingLayout::per_id, DataType::f16, 0, false),
                                     good_file(EmbeddingLayout::per_id, DataType::bf16, 1, true)};
        for (int const gzip : {0, 1})
            for (bool const two : {false, true})
                all.push_back(good_file(EmbeddingLayout::packed, two ? DataType::bf16 : DataType::f16, gzip, two));
        return all;
    }();
    if (size == 0)
        return 0;
    // Most inputs go where no process of its own is needed, because those are far slower.
    std::string bytes = files[data[0] < 40 ? data[0] % 3u : 3 + data[0] % 4u];
    for (std::size_t at = 1; at + 4 <= size; at += 4) { // three bytes say where, one what
        std::size_t const place = (data[at] + 256u * data[at + 1] + 65536u * data[at + 2]) % bytes.size();
        bytes[place] = static_cast<char>(data[at + 3]);
    }
    if (data[0] >= 250) // cut short
        bytes.resize(bytes.size() * (data[0] - 249u) / 8);
    write(folder / "changed.h5", bytes);
    use(folder / "changed.h5");
    if (size % 4 == 0)
        complete_embedding_file(folder / "changed.h5");
    return 0;
}
