// Whatever training_state.json or optimizer.safetensors has in it: a resume ends in a sound state or a protlm::Error.
// The first byte says which file the rest is, or is laid over: two bytes say where, one what.

#include <protlm/io/checkpoint.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/resume.hpp>

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
using Host = Kokkos::DefaultHostExecutionSpace;

void require(bool valid) {
    if (!valid)
        std::abort();
}

std::string read(fs::path const &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// A run's parameters and optimizer, and a checkpoint of them that is good.
struct Run {
    Kokkos::ScopeGuard kokkos;
    fs::path folder;
    Parameters<float, Host> parameters{table()};
    AdamW<float, Host> optimizer{parameters, {}};
    TrainingState state;
    std::string good[2];
    static constexpr char const *file[2] = {"training_state.json", "optimizer.safetensors"};

    Run() {
        char const *const memory = fs::exists("/dev/shm") ? "/dev/shm" : "/tmp";
        std::string name = std::string(memory) + "/protlm-fuzz-XXXXXX";
        require(::mkdtemp(name.data()) != nullptr);
        folder = fs::path(name) / step_folder_name(5);
        TrainingOptions options;
        options.steps = 9;
        state.step = 5;
        state.store = 7;
        state.options = to_json(options);
        state.options["model"] = {{"hidden_act", "gelu"}};
        CheckpointWriter checkpoint(folder);
        write_training_state(checkpoint, state, optimizer, parameters);
        checkpoint.commit();
        for (int i = 0; i < 2; ++i)
            good[i] = read(folder / file[i]);
    }
    ~Run() { fs::remove_all(folder.parent_path()); }
    static ParameterTable table() {
        ParameterTable table;
        table.add("weight", {3, 2}, Initialiser::zeros());
        table.add("bias", {2}, Initialiser::zeros());
        return table;
    }

    void use() {
        try {
            auto const old = read_training_state(folder);
            require(old.step >= 0 && old.tokens >= 0 && old.seconds >= 0 && old.skipped >= 0);
            read_training_arrays(folder, old, optimizer, parameters);
            require(optimizer.steps() == old.optimizer_steps);
            check_resume(old, state, "fuzz", "store", {}, RunNotes(true, true));
            require(continued(old, state).options == state.options);
        } catch (Error const &) {
        }
    }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    static Run run;
    if (size == 0)
        return 0;
    int const which = data[0] & 1;
    std::string text(reinterpret_cast<char const *>(data + 1), size - 1);
    if (data[0] & 2) {
        std::string changed = run.good[which];
        for (std::size_t at = 0; at + 3 <= text.size(); at += 3)
            changed[(static_cast<unsigned char>(text[at]) + 256u * static_cast<unsigned char>(text[at + 1])) %
                    changed.size()] = text[at + 2];
        text = changed;
    }
    for (int i = 0; i < 2; ++i) {
        std::ofstream file(run.folder / Run::file[i], std::ios::binary | std::ios::trunc);
        file << (i == which ? text : run.good[i]);
    }
    run.use();
    return 0;
}
