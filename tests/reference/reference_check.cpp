// reference_check DIR...: runs the models on cases of reference values, in double and in float, and prints one line a
// group with the largest relative error. A DIR is one case, or a folder of cases. Exit code 1 when any group is outside
// its tolerance or a case cannot be read. A DIR may also be one of checkpoint files, good and hostile ones.

#include <reference/check_albert.hpp>
#include <reference/check_bert.hpp>
#include <reference/check_electra.hpp>
#include <reference/check_files.hpp>
#include <reference/check_t5.hpp>
#include <reference/check_transformer_xl.hpp>
#include <reference/check_xlnet.hpp>

#include <algorithm>

namespace {

using protlm::test::ReferenceCase;
using Exec = Kokkos::DefaultExecutionSpace;

/// A case itself, or all cases right below a folder, by name.
std::vector<std::filesystem::path> find_cases(std::filesystem::path const &path) {
    namespace fs = std::filesystem;
    protlm::check(fs::is_directory(path), path.string(), ": no such folder");
    if (fs::exists(path / "case.json"))
        return {path};
    std::vector<fs::path> cases;
    for (auto const &entry : fs::directory_iterator(path))
        if (fs::exists(entry.path() / "case.json"))
            cases.push_back(entry.path());
    std::sort(cases.begin(), cases.end());
    protlm::check(!cases.empty(), path.string(), ": has no case.json, nor has any folder in it");
    return cases;
}

/// In double and in float.
template <template <class, class> class Check>
bool run_both(ReferenceCase const &reference) {
    bool const in_double = Check<double, Exec>(reference).run();
    bool const in_float = Check<float, Exec>(reference).run();
    return in_double && in_float;
}

bool run_case(std::filesystem::path const &folder) {
    ReferenceCase const reference(folder);
    using namespace protlm::test;
    auto const architecture = reference.architecture();
    if (architecture == "bert")
        return run_both<BertCheck>(reference);
    if (architecture == "albert")
        return run_both<AlbertCheck>(reference);
    if (architecture == "electra")
        return run_both<ElectraCheck>(reference);
    if (architecture == "t5")
        return run_both<T5Check>(reference);
    if (architecture == "xlnet")
        return run_both<XlnetCheck>(reference);
    if (architecture == "transformer_xl")
        return run_both<TransformerXlCheck>(reference);
    protlm::fail((folder / "case.json").string(), ": architecture: \"", architecture, "\" is not known");
}

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const guard(argc, argv);
    if (argc < 2) {
        std::fprintf(stderr, "usage: reference_check DIR...\nA DIR holds case.json, config.json, model.safetensors, "
                             "inputs.safetensors and reference.safetensors, or folders that do; or it holds "
                             "expected.safetensors, good/ and hostile/.\n");
        return 2;
    }
    bool good = true;
    for (int i = 1; i < argc; ++i)
        try {
            if (protlm::test::FilesCheck::recognise(argv[i])) {
                good = protlm::test::FilesCheck(argv[i]).run() && good;
                continue;
            }
            for (auto const &folder : find_cases(argv[i]))
                try {
                    good = run_case(folder) && good;
                } catch (std::exception const &error) {
                    std::fprintf(stderr, "reference_check: %s: %s\n", folder.c_str(), error.what());
                    good = false;
                }
        } catch (std::exception const &error) {
            std::fprintf(stderr, "reference_check: %s\n", error.what());
            good = false;
        }
    std::printf("reference_check: %s\n", good ? "all within tolerance" : "FAILED");
    return good ? 0 : 1;
}
