// Whatever a killed run or another program left in a run's folder: the log is kept line by line, and a checkpoint is
// whole or passed over. An even first byte: the rest is log.jsonl; else it is checksums.json.

#include <protlm/train/log.hpp>
#include <protlm/train/run_folder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

using namespace protlm;
namespace fs = std::filesystem;

void require(bool valid) {
    if (!valid)
        std::abort();
}

std::string read(fs::path const &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

fs::path make_folder() {
    std::string name = std::string(fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") + "/protlm-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr);
    return name;
}

void use_log(fs::path const &folder, std::string const &text) {
    auto const log = folder / "log.jsonl", aside = TrainingLog::abandoned_log(log);
    fs::remove(aside);
    std::ofstream(log, std::ios::binary) << text;
    try {
        TrainingLog const kept(log, 5);
    } catch (Error const &) {
        require(read(log) == text); // as it was
        return;
    }
    auto const lines = read(log), others = read(aside);
    require(lines.size() <= text.size() + 1 && others.size() <= text.size() + 64);
    require(lines.empty() || lines.back() == '\n');
    try {
        TrainingLog const again(log, 5);
    } catch (Error const &) {
        std::abort();
    }
    require(read(log) == lines && read(aside) == others); // nothing more to set aside
}

void use_checksums(fs::path const &folder, std::string const &text) {
    auto const checkpoint = folder / step_folder_name(7);
    fs::create_directories(checkpoint);
    std::ofstream(checkpoint / "vocab.txt") << "A";
    std::ofstream(checkpoint / "checksums.json", std::ios::binary) << text;
    try {
        auto const latest = latest_checkpoint(folder);
        require(latest.warnings.size() + (latest ? 1 : 0) == 1);
        require(!latest || latest.step == 7);
        prune_checkpoints(folder, 1);
        require(fs::exists(checkpoint));
    } catch (Error const &) {
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    static fs::path const folder = make_folder();
    if (size == 0)
        return 0;
    std::string const text(reinterpret_cast<char const *>(data + 1), size - 1);
    if (data[0] % 2 == 0)
        use_log(folder, text);
    else
        use_checksums(folder, text);
    return 0;
}
