#pragma once

#include <protlm/distributed/communicator.hpp>
#include <protlm/distributed/gradient_exchange.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// MPI for the time of a program: initialises it where nobody has, and then finalises it at the end. Kokkos should be
/// initialised after it and finalised before. Calls of MPI come from one thread (MPI_THREAD_FUNNELED).
class MpiSession {
  public:
    /// @throws Error when MPI cannot be initialised or allows no threads beside the one that calls it
    MpiSession(int &argc, char **&argv) {
        int initialised = 0;
        check_mpi(MPI_Initialized(&initialised), "MPI_Initialized");
        int provided = MPI_THREAD_SINGLE;
        if (initialised) {
            check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread");
        } else {
            check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
            owned_ = true;
        }
        check(provided >= MPI_THREAD_FUNNELED, "MpiSession: this MPI allows no threads (thread level ", provided,
              "), but kernels run on threads");
        check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
        check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    }
    MpiSession(MpiSession const &) = delete;
    MpiSession &operator=(MpiSession const &) = delete;
    ~MpiSession() {
        int finalized = 1;
        if (owned_ && MPI_Finalized(&finalized) == MPI_SUCCESS && !finalized)
            MPI_Finalize();
    }

    int rank() const { return rank_; }
    int size() const { return size_; }

    /// This process's place among those on its machine, from 0; collective.
    int node_rank() const {
        MPI_Comm node = MPI_COMM_NULL;
        check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
                  "MPI_Comm_split_type");
        int place = 0;
        check_mpi(MPI_Comm_rank(node, &place), "MPI_Comm_rank");
        check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
        return place;
    }

    /// The first rank whose `here` is true, or size() where none is; collective.
    int first_rank_with(bool here) const {
        int const mine = here ? rank_ : size_;
        int first = size_;
        check_mpi(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD), "MPI_Allreduce");
        return first;
    }

    /// Ends the processes of all ranks, where there are others.
    void abort(int status) const {
        if (size_ > 1)
            MPI_Abort(MPI_COMM_WORLD, status);
    }

    /// Runs a driver: what `function` returns is the exit status, and an exception ends the job on all ranks with the
    /// message "PROGRAM: rank R: MESSAGE" (one rank: "PROGRAM: MESSAGE"), so that no rank waits for one that failed.
    template <class F>
    int run_guarded(std::string_view program, F &&function) const {
        try {
            return function();
        } catch (std::exception const &error) {
            std::string text(program);
            if (size_ > 1)
                text += ": rank " + std::to_string(rank_);
            text += ": " + std::string(error.what()) + "\n";
            std::fputs(text.c_str(), stderr); // one call, so that ranks do not mix within a line
            std::fflush(stderr);
        }
        abort(1);
        return 1;
    }

    /// What adds up the gradients of `parameters` over all ranks; collective.
    template <Scalar S, ExecutionSpace Exec>
    GradientExchange<S, Exec> exchange(Parameters<S, Exec> &parameters) const {
        return GradientExchange<S, Exec>(Communicator::duplicate(MPI_COMM_WORLD), parameters);
    }

  private:
    bool owned_ = false;
    int rank_ = 0, size_ = 1;
};

} // namespace protlm::inline v0
