#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/distributed/communicator.hpp>
#include <protlm/train/exchange.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Settings of GradientExchange.
struct ExchangeOptions {
    index_t bucket_bytes = index_t(4) << 20; ///< of gradients whose sum starts together; one message holds at most that
    index_t messages = 16;                   ///< under way at a time: each needs a copy of what it sends
};

/// Adds up gradients over ranks while the backward still runs. The flat buffer is cut into buckets from its end, which
/// is about the order of the backward; a bucket's nonblocking sum starts when all of its gradients are complete on this
/// rank and all buckets before it have started, so that every rank starts them in the same order.
///
/// A message is sent from a copy: sums in place (MPI_IN_PLACE) make Open MPI take a binomial tree, in which one rank
/// sends the logarithm of the number of ranks times as much as the two gradients that a ring costs.
///
///     exchange.begin(context.tape().parameters());   // before the last backward of a step
///     context.backward(loss, 1.0, [&](ParameterId id) { exchange.ready(id); });
///     exchange.finish();                             // gradients are the sums over all ranks
///
/// Begin and finish every step on every rank. An object that dies between them leaves messages behind: the job must
/// end.
template <Scalar S, ExecutionSpace Exec>
class GradientExchange {
  public:
    using Accumulate = accumulate_t<S>;

    /// @param communicator  taken over; usually Communicator::duplicate(MPI_COMM_WORLD)
    /// @param parameters    with gradients; must outlive this object
    GradientExchange(Communicator communicator, Parameters<S, Exec> &parameters, ExchangeOptions options = {},
                     Exec exec = Exec())
        : communicator_(std::move(communicator)), exec_(std::move(exec)), options_(options) {
        check(options.bucket_bytes > 0, "GradientExchange: bucket_bytes is ", options.bucket_bytes,
              ", expected above 0");
        check(options.messages > 0, "GradientExchange: messages is ", options.messages, ", expected above 0");
        parameters.enable_gradients();
        gradients_ = parameters.gradients();
        make_buckets(parameters.table());
        if (size() == 1)
            return;
        message_ =
            std::clamp<std::size_t>(static_cast<std::size_t>(options.bucket_bytes) / sizeof(Accumulate), 1, most);
        auto const wanted = (gradients_.extent(0) + message_ - 1) / message_;
        requests_.assign(std::min(wanted, static_cast<std::size_t>(options.messages)), MPI_REQUEST_NULL);
        sent_ = HostFlat("protlm::gradient_exchange::sent", requests_.size() * message_);
        if (staged())
            host_ = HostFlat("protlm::gradient_exchange::host", gradients_.extent(0));
    }

    int rank() const { return communicator_.rank(); }
    int size() const { return communicator_.size(); }
    Communicator const &communicator() const { return communicator_; }
    index_t buckets() const { return static_cast<index_t>(buckets_.size()); }

    /// Opens a step. `pending`: the parameters whose gradients this rank still changes, repeated or not; the others'
    /// are complete.
    void begin(std::vector<ParameterId> const &pending) {
        check(!active_, "GradientExchange: begin() before finish() of the step before");
        active_ = true;
        pending_.assign(bucket_of_.size(), 0);
        for (ParameterId id : pending)
            pending_[static_cast<std::size_t>(id)] = 1;
        for (auto &bucket : buckets_)
            bucket.missing = 0;
        for (std::size_t id = 0; id < pending_.size(); ++id)
            if (pending_[id] && bucket_of_[id] >= 0)
                ++buckets_[static_cast<std::size_t>(bucket_of_[id])].missing;
        next_ = 0;
        slot_ = 0;
        advance();
    }

    /// The gradient of `id` is complete on this rank.
    void ready(ParameterId id) {
        auto const place = static_cast<std::size_t>(id);
        check(active_, "GradientExchange: ready() before begin()");
        if (!std::exchange(pending_[place], 0) || bucket_of_[place] < 0)
            return;
        --buckets_[static_cast<std::size_t>(bucket_of_[place])].missing;
        advance();
        progress();
    }

    /// Waits until the gradients are the sums over all ranks. @throws Error
    void finish() {
        check(active_, "GradientExchange: finish() before begin()");
        for (auto &bucket : buckets_)
            bucket.missing = 0;
        advance();
        check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall",
                  rank());
        if (staged() && size() > 1)
            copy_values(exec_, gradients_, host_);
        active_ = false;
    }

    /// Adds a few numbers over all ranks, in place. @throws Error
    void sum(std::span<double> numbers) const {
        if (size() > 1)
            communicator_.sum(numbers);
    }

    /// @throws Error on every rank, naming the ranks that differ from the first
    void require_agreement(std::string_view what, std::uint64_t fingerprint) const {
        communicator_.require_agreement(what, fingerprint);
    }

  private:
    using Flat = typename Parameters<S, Exec>::template Flat<Accumulate>;
    using HostFlat = Kokkos::View<Accumulate *, Kokkos::LayoutRight, Kokkos::HostSpace>;
    struct Bucket {
        index_t begin, end; // of the flat buffer
        int missing;        // gradients that are not complete
    };

    static constexpr std::size_t most = std::size_t(1) << 30; // MPI counts in int

    static constexpr bool staged() { return !is_host_space<Exec>; }

    /// From the end of the buffer to its beginning; a tensor is never cut, gaps go with the tensor before them.
    void make_buckets(ParameterTable const &table) {
        bucket_of_.assign(table.entries().size(), -1);
        std::vector<std::size_t> order;
        for (std::size_t id = 0; id < bucket_of_.size(); ++id)
            if (table.entries()[id].size() > 0)
                order.push_back(id);
        std::sort(order.begin(), order.end(),
                  [&](std::size_t a, std::size_t b) { return table.entries()[a].offset > table.entries()[b].offset; });
        index_t const least = std::max<index_t>(1, options_.bucket_bytes / static_cast<index_t>(sizeof(Accumulate)));
        index_t end = table.extent();
        bool open = false;
        for (std::size_t id : order) {
            index_t const begin = table.entries()[id].offset;
            if (!open)
                buckets_.push_back({begin, end, 0});
            buckets_.back().begin = begin;
            bucket_of_[id] = static_cast<int>(buckets_.size()) - 1;
            open = buckets_.back().end - begin < least;
            end = open ? end : begin;
        }
    }

    void advance() {
        for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_)
            if (size() > 1)
                start(buckets_[next_]);
    }

    void start(Bucket const &bucket) {
        exec_.fence(); // kernels may still write the bucket
        auto const end = static_cast<std::size_t>(bucket.end);
        for (auto begin = static_cast<std::size_t>(bucket.begin); begin < end; begin += message_)
            send(begin, std::min(message_, end - begin));
    }

    /// Starts the sum of `count` gradients from `begin` on, from a copy in the next free slot.
    void send(std::size_t begin, std::size_t count) {
        MPI_Request &request = requests_[slot_];
        check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait", rank()); // of the message that had the slot before
        Accumulate *const copy = sent_.data() + slot_ * message_;
        copy_values<Kokkos::HostSpace, typename Exec::memory_space>(
            exec_, copy, static_cast<Accumulate const *>(gradients_.data() + begin), static_cast<index_t>(count));
        exec_.fence();
        Accumulate *const sums = staged() ? host_.data() : gradients_.data();
        check_mpi(MPI_Iallreduce(copy, sums + begin, static_cast<int>(count),
                                 std::same_as<Accumulate, double> ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM,
                                 communicator_.get(), &request),
                  "MPI_Iallreduce", rank());
        slot_ = (slot_ + 1) % requests_.size();
    }

    /// Lets MPI move what is under way: most implementations do so only inside calls.
    void progress() {
        if (requests_.empty())
            return;
        int done = 0;
        check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE),
                  "MPI_Testall", rank());
    }

    Communicator communicator_;
    Exec exec_;
    ExchangeOptions options_;
    Flat gradients_;
    HostFlat host_; // the sums, where gradients are out of MPI's reach
    HostFlat sent_; // (slots, message_)
    std::size_t message_ = 1, slot_ = 0;
    std::vector<Bucket> buckets_;
    std::vector<int> bucket_of_; // (tensors), -1 for empty ones
    std::vector<char> pending_;
    std::vector<MPI_Request> requests_; // (slots), null where a slot is free
    std::size_t next_ = 0;
    bool active_ = false;
};

} // namespace protlm::inline v0
