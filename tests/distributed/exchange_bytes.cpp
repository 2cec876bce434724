// One exchange of many gradients, for a count of the bytes that each rank sends.

#include <protlm/distributed.hpp>

#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv) {
    using Host = Kokkos::DefaultHostExecutionSpace;
    protlm::MpiSession const session(argc, argv);
    return session.run_guarded("exchange_bytes", [&] {
        Kokkos::ScopeGuard const kokkos(argc, argv);
        protlm::index_t const count = std::atoll(argv[1]);
        protlm::ParameterTable table;
        for (int i = 0; i < 8; ++i)
            table.add("weight " + std::to_string(i), {count / 8}, protlm::Initialiser::zeros());
        protlm::Parameters<float, Host> parameters(table);
        auto exchange = session.exchange(parameters);
        Kokkos::deep_copy(parameters.gradients(), 1.0f);
        exchange.begin({});
        exchange.finish();
        for (protlm::index_t i = 0; i < count; ++i)
            protlm::check(parameters.gradients()(i) == float(session.size()), "a sum is ", parameters.gradients()(i));
        return 0;
    });
}
