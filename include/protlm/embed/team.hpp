#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/embed/model_folder.hpp>

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// One of several processes that work together; {0, 1}: alone.
struct EmbeddingShare {
    index_t rank = 0, ranks = 1;
};

/// The processes that embed together, as each of them sees it. They talk by one function, which this folder does not
/// know: with MPI it is Communicator::gather_texts. Every function here is called by all of them, or by none.
class EmbeddingTeam {
  public:
    /// Hands in a text; returns those of all processes in the order of their ranks, to each of them.
    using Gather = std::function<std::vector<std::string>(std::string const &)>;

    /// A process alone.
    EmbeddingTeam() : gather_([](std::string const &text) { return std::vector<std::string>{text}; }) {}
    EmbeddingTeam(EmbeddingShare share, Gather gather) : share_(share), gather_(std::move(gather)) {}

    EmbeddingShare share() const { return share_; }
    bool first() const { return share_.rank == 0; }

    /// The texts of all processes in their order.
    std::vector<std::string> gather(std::string const &text) const { return gather_(text); }
    /// Returns when all have come to it.
    void wait() const { gather_(""); }
    /// The first process's text, in all.
    std::string from_first(std::string const &text) const { return gather_(first() ? text : "").front(); }
    /// How many of the processes run on this machine, and share its memory.
    index_t on_this_machine() const {
        char name[256] = "";
        ::gethostname(name, sizeof(name) - 1);
        auto const all = gather_(name);
        return std::count(all.begin(), all.end(), std::string(name));
    }

    /// The folder of a model, found by the first process alone, opened by all. A run that trains removes old
    /// checkpoints: where the newest one has gone before all have opened it, the one that is newest now is taken.
    /// @param path  see find_model; the same in all processes  @param open  called as open(folder)
    /// @returns what `open` returns  @throws Error
    template <class Open>
    auto open_model(std::filesystem::path const &path, Open open) const {
        using Result = decltype(open(path));
        auto const paths = gather_(path.string());
        for (std::size_t rank = 1; rank < paths.size(); ++rank)
            check(paths[rank] == paths[0], "ranks disagree about the model: rank ", rank, " has ", paths[rank],
                  " instead of ", paths[0]);
        std::filesystem::path before;
        for (;;) {
            std::filesystem::path const folder = from_first(first() ? find_model(path).string() : "");
            std::optional<Result> result;
            std::exception_ptr error;
            try {
                result.emplace(open(folder));
            } catch (std::exception const &) {
                std::error_code ignored;
                if (folder == before || std::filesystem::exists(folder, ignored))
                    throw;
                error = std::current_exception();
            }
            auto const gone = gather_(error ? "gone" : "");
            if (std::count(gone.begin(), gone.end(), "gone") == 0)
                return std::move(*result);
            before = folder;
        }
    }

  private:
    EmbeddingShare share_;
    Gather gather_;
};

} // namespace protlm::inline v0
