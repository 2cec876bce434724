// Kokkos as every driver starts it.
#pragma once

#include <support/command_line.hpp>

#include <Kokkos_Core.hpp>
#ifdef KOKKOS_ENABLE_OPENMP
#include <omp.h>
#endif

#include <cstdlib>

namespace examples {

/// Takes the options --kokkos-... out of `arguments`.
inline Arguments take_kokkos_options(Arguments &arguments) {
    Arguments taken;
    auto const is_kokkos = [](std::string const &argument) { return argument.starts_with("--kokkos-"); };
    std::copy_if(arguments.begin(), arguments.end(), std::back_inserter(taken), is_kokkos);
    std::erase_if(arguments, is_kokkos);
    return taken;
}

/// The number behind the last option, or in the environment variable, that begins with one of `names`; or -1.
inline long kokkos_number(Arguments const &options, std::initializer_list<char const *> names, char const *variable) {
    char const *const set = std::getenv(variable);
    long number = set ? std::atol(set) : -1;
    for (auto const &option : options)
        for (std::string const name : names)
            if (option.starts_with(name + "="))
                number = std::atol(option.c_str() + name.size() + 1);
    return number;
}

/// Kokkos keeps the places of its threads in an array of this length, and does not look at its end.
inline constexpr long most_threads = 512;

/// @throws protlm::Error when more threads are asked for than Kokkos can take
inline void check_threads([[maybe_unused]] Arguments const &options) {
#ifdef KOKKOS_ENABLE_OPENMP
    long const wanted = kokkos_number(options, {"--kokkos-threads", "--kokkos-num-threads"}, "KOKKOS_NUM_THREADS");
    protlm::check(wanted <= most_threads, "Kokkos is to use ", wanted, " threads, but it can use ", most_threads);
    if (wanted > 0 || omp_get_max_threads() <= most_threads)
        return;
    protlm::check(!std::getenv("OMP_NUM_THREADS"), "OMP_NUM_THREADS asks for ", omp_get_max_threads(),
                  " threads, but Kokkos can use ", most_threads);
    omp_set_num_threads(static_cast<int>(most_threads)); // nobody asked: the machine has so many cores
#endif
}

/// GPUs of this node that this process sees.
inline int device_count() {
    int count = 0;
#if defined(KOKKOS_ENABLE_CUDA)
    if (cudaGetDeviceCount(&count) != cudaSuccess)
        count = 0;
#elif KOKKOS_VERSION >= 40100 && (defined(KOKKOS_ENABLE_HIP) || defined(KOKKOS_ENABLE_SYCL))
    count = Kokkos::num_devices();
#endif
    return count;
}

/// One GPU for each rank of a node, in turn, whatever started them; an option or variable of Kokkos has the last word.
inline void choose_device(Arguments &options, int node_rank) {
    bool chosen =
        std::getenv("KOKKOS_DEVICE_ID") || std::getenv("KOKKOS_NUM_DEVICES") || std::getenv("KOKKOS_MAP_DEVICE_ID_BY");
    for (auto const &option : options)
        chosen = chosen || option.find("device") != option.npos;
    if (int const devices = chosen ? 0 : device_count(); devices > 1)
        options.push_back("--kokkos-device-id=" + std::to_string(node_rank % devices));
}

/// Kokkos for the time of a program. Its warnings would get into tables that go to standard output.
class KokkosStart {
  public:
    /// @param options  --kokkos-... @throws WrongUsage when Kokkos does not know one
    KokkosStart(std::string const &program, Arguments options, int node_rank) {
        check_threads(options);
        choose_device(options, node_rank);
        options.insert(options.begin(), program);
        options.push_back("--kokkos-disable-warnings"); // spelled alike from 3.4 to 5
        std::vector<char *> pointers;
        for (auto &option : options)
            pointers.push_back(option.data());
        pointers.push_back(nullptr);
        int count = static_cast<int>(options.size());
        Kokkos::initialize(count, pointers.data()); // takes out what it knows
        std::string const unknown = count > 1 ? pointers[1] : "";
        if (unknown.empty())
            return;
        Kokkos::finalize();
        throw WrongUsage("Kokkos has no option " + unknown + "; --kokkos-help lists them");
    }
    KokkosStart(KokkosStart const &) = delete;
    KokkosStart &operator=(KokkosStart const &) = delete;
    ~KokkosStart() { Kokkos::finalize(); }
};

} // namespace examples
