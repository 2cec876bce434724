// libFuzzer target: texts beside embedding files. Whatever the bytes, the description of an unfinished job and a table
// of labels are read, or refused with a protlm::Error.

#include <protlm/embed/job_description.hpp>
#include <protlm/embed/label_table.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace {

using namespace protlm;

void require(bool valid) {
    if (!valid)
        std::abort();
}

std::filesystem::path const folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "protlm-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr);
    std::atexit([] { std::filesystem::remove_all(folder); });
    return name;
}();

void write(std::filesystem::path const &path, std::string_view bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    require(bool(file.flush()));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const *>(data), size);
    try {
        write(folder / "job.json", text);
        auto const description = JobDescription::read(folder / "job.json");
        require(description.differences(description).empty());
        (void)description.fingerprint();
    } catch (Error const &) {
    }
    try {
        auto const table = LabelTable::parse(text, "table");
        for (auto const &column : table.columns())
            (void)table.labels({"P1", "sp|P1|X", ""}, column);
    } catch (Error const &) {
    }
    return 0;
}
