// The smallest device code of protlm: shows that the CUDA compiler takes the headers at all.

#include <protlm/core/philox.hpp>

static_assert(!protlm::is_host_space<Kokkos::Cuda>);

int main(int argc, char **argv) {
    Kokkos::ScopeGuard kokkos(argc, argv);
    std::uint32_t sum = 0;
    Kokkos::parallel_reduce(
        "protlm::test::philox", protlm::range(Kokkos::Cuda(), 0, 1),
        KOKKOS_LAMBDA(protlm::index_t i, std::uint32_t & partial) {
            partial += protlm::philox({{static_cast<std::uint32_t>(i), 0, 0, 0}}, 0)[0];
        },
        sum);
    return sum == 0x6627e8d5 ? 0 : 1;
}
