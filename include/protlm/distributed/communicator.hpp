#pragma once

#include <protlm/core/check.hpp>

#include <mpi.h>

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// The message of a return code of MPI.
inline std::string mpi_message(int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        return "unknown error " + std::to_string(code);
    return std::string(text, static_cast<std::size_t>(length));
}

/// @param rank  of the caller, -1 when it is not known
/// @throws Error "MPI_Allreduce on rank 3: MESSAGE" when `code` is no success
inline void check_mpi(int code, char const *function, int rank = -1) {
    if (code != MPI_SUCCESS) [[unlikely]]
        fail(function, rank >= 0 ? " on rank " + std::to_string(rank) : "", ": ", mpi_message(code));
}

/// A group of ranks. `duplicate` gives protlm messages of its own, which cannot meet the caller's; `borrow` takes what
/// the caller has made for protlm. Moves only. Every return code is checked.
class Communicator {
  public:
    /// Collective over `communicator`. Errors of the duplicate return instead of aborting. @throws Error
    static Communicator duplicate(MPI_Comm communicator) {
        MPI_Comm copy = MPI_COMM_NULL;
        check_mpi(MPI_Comm_dup(communicator, &copy), "MPI_Comm_dup");
        check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
        return Communicator(copy, true);
    }
    /// `communicator` must outlive this object; its error handler stays as it is. @throws Error
    static Communicator borrow(MPI_Comm communicator) { return Communicator(communicator, false); }

    Communicator(Communicator &&other) noexcept
        : communicator_(std::exchange(other.communicator_, MPI_COMM_NULL)), owned_(std::exchange(other.owned_, false)),
          rank_(other.rank_), size_(other.size_) {}
    Communicator &operator=(Communicator &&other) noexcept {
        std::swap(communicator_, other.communicator_);
        std::swap(owned_, other.owned_);
        std::swap(rank_, other.rank_);
        std::swap(size_, other.size_);
        return *this;
    }
    /// Freeing is collective, so a rank that unwinds from an error leaves the duplicate: others may never come.
    ~Communicator() {
        int finalized = 1;
        if (owned_ && std::uncaught_exceptions() == 0 && MPI_Finalized(&finalized) == MPI_SUCCESS && !finalized)
            MPI_Comm_free(&communicator_);
    }

    int rank() const { return rank_; }
    int size() const { return size_; }
    MPI_Comm get() const { return communicator_; }

    /// Adds `numbers` over all ranks, in place. Collective. @throws Error
    void sum(std::span<double> numbers) const {
        check_mpi(MPI_Allreduce(MPI_IN_PLACE, numbers.data(), static_cast<int>(numbers.size()), MPI_DOUBLE, MPI_SUM,
                                communicator_),
                  "MPI_Allreduce", rank_);
    }
    /// The numbers of all ranks in their order. Collective. @throws Error
    std::vector<std::uint64_t> gather(std::uint64_t number) const {
        std::vector<std::uint64_t> all(static_cast<std::size_t>(size_));
        check_mpi(MPI_Allgather(&number, 1, MPI_UINT64_T, all.data(), 1, MPI_UINT64_T, communicator_), "MPI_Allgather",
                  rank_);
        return all;
    }
    /// The texts of all ranks in their order. Collective. @throws Error
    std::vector<std::string> gather_texts(std::string const &text) const {
        auto const sizes = gather(static_cast<std::uint64_t>(text.size()));
        std::vector<int> counts, places;
        std::uint64_t total = 0;
        for (std::uint64_t const size : sizes) {
            places.push_back(static_cast<int>(total));
            counts.push_back(static_cast<int>(size));
            total += size;
            check(total < (std::uint64_t(1) << 31), "Communicator: texts of all ranks take ", total, " bytes");
        }
        std::string all(static_cast<std::size_t>(total), '\0');
        check_mpi(MPI_Allgatherv(text.data(), static_cast<int>(text.size()), MPI_CHAR, all.data(), counts.data(),
                                 places.data(), MPI_CHAR, communicator_),
                  "MPI_Allgatherv", rank_);
        std::vector<std::string> texts;
        for (std::size_t r = 0; r < sizes.size(); ++r)
            texts.push_back(all.substr(static_cast<std::size_t>(places[r]), static_cast<std::size_t>(sizes[r])));
        return texts;
    }
    /// Waits for all ranks. Collective. @throws Error
    void barrier() const { check_mpi(MPI_Barrier(communicator_), "MPI_Barrier", rank_); }

    /// Compares a fingerprint over all ranks. Collective. @throws Error on every rank, naming the ranks that differ
    /// from the first
    void require_agreement(std::string_view what, std::uint64_t fingerprint) const {
        auto const all = gather(fingerprint);
        std::string differing;
        for (std::size_t r = 1; r < all.size(); ++r)
            if (all[r] != all[0])
                differing += (differing.empty() ? "" : ", ") + std::to_string(r);
        check(differing.empty(), "ranks disagree about ", what, ": rank ", differing, " differs from rank 0");
    }

  private:
    Communicator(MPI_Comm communicator, bool owned) : communicator_(communicator), owned_(owned) {
        check(communicator != MPI_COMM_NULL, "Communicator: MPI_COMM_NULL is none");
        check_mpi(MPI_Comm_rank(communicator, &rank_), "MPI_Comm_rank");
        check_mpi(MPI_Comm_size(communicator, &size_), "MPI_Comm_size");
    }
    MPI_Comm communicator_ = MPI_COMM_NULL;
    bool owned_ = false;
    int rank_ = 0, size_ = 1;
};

} // namespace protlm::inline v0
