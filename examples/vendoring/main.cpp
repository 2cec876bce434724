#include <protlm/bert.hpp>
#include <iostream>
int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    if (argc != 3)
        return 2;
    auto const proteins = protlm::embed(protlm::Bert<>::load(argv[1]), {argv[2]});
    for (float const value : proteins[0].vector)
        std::cout << value << '\n';
}
