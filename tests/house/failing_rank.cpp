#include <boost/test/unit_test.hpp>
#include <mpi.h>

// Run only by the test that expects this job to fail. The launcher looks at rank 0 first, so another rank fails.
BOOST_AUTO_TEST_CASE(only_rank_one_fails) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    BOOST_TEST(rank != 1, "rank " << rank << " fails on purpose");
}
