// The main of every test program: Kokkos, and MPI where the program is started under it, live around all cases.

#include <Kokkos_Core.hpp>
#include <boost/test/unit_test.hpp>

#ifdef PROTLM_TEST_MPI
#include <mpi.h>
#endif

namespace {

bool add_no_cases() { return true; } // all cases register themselves

int run_cases(int argc, char **argv) {
    Kokkos::ScopeGuard kokkos(argc, argv);
    return boost::unit_test::unit_test_main(&add_no_cases, argc, argv);
}

} // namespace

int main(int argc, char **argv) {
#ifdef PROTLM_TEST_MPI
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    int const status = run_cases(argc, argv);
    int worst = status; // a job fails when any of its ranks fails, whichever rank the launcher looks at
    MPI_Allreduce(&status, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MPI_Finalize();
    return worst;
#else
    return run_cases(argc, argv);
#endif
}
