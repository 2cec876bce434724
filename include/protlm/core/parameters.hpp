#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/parameter_table.hpp>
#include <protlm/core/philox.hpp>
#include <protlm/core/tensor.hpp>

#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <numbers>
#include <string>

namespace protlm::inline v0 {

/// One tensor, or several that lie next to each other, as the ops see it: a matrix of values and, in training, the
/// gradient that backwards add to. Vectors are one row.
template <Scalar S, class Exec>
class Weight {
  public:
    using scalar_type = S;
    MatrixView<S const, Exec> values;            // (rows, cols)
    MatrixView<accumulate_t<S>, Exec> gradients; // (rows, cols); empty when the model is not being trained
    std::vector<ParameterId> ids;

    Weight() = default;
    Weight(MatrixView<S const, Exec> v, MatrixView<accumulate_t<S>, Exec> g, std::vector<ParameterId> names)
        : values(std::move(v)), gradients(std::move(g)), ids(std::move(names)) {}

    explicit operator bool() const { return values.data() != nullptr; }
    index_t rows() const { return static_cast<index_t>(values.extent(0)); }
    index_t cols() const { return static_cast<index_t>(values.extent(1)); }
    bool trained() const { return gradients.data() != nullptr; }
    Rows<S const> value() const { return rows_of(values); }
    Rows<accumulate_t<S>> gradient() const { return rows_of(gradients); }

    /// Rows [first, first + count) of this matrix; its gradient is that part of the whole one's.
    /// @throws Error when it has no such rows
    Weight slice(index_t first, index_t count) const {
        check(first >= 0 && count >= 0 && first + count <= rows(), "Weight: slice: rows ", first, " to ", first + count,
              " of ", rows());
        return reshaped(first * cols(), count, cols());
    }
    /// The same elements in another shape: a tensor of three dimensions as the matrix that an op needs.
    /// @throws Error when the number of elements differs
    Weight as_matrix(index_t new_rows, index_t new_cols) const {
        check(new_rows * new_cols == rows() * cols(), "Weight: as_matrix: ", new_rows, " x ", new_cols, " of ", rows(),
              " x ", cols(), " elements");
        return reshaped(0, new_rows, new_cols);
    }

  private:
    Weight reshaped(index_t offset, index_t new_rows, index_t new_cols) const {
        auto const o = static_cast<std::size_t>(offset), r = static_cast<std::size_t>(new_rows),
                   c = static_cast<std::size_t>(new_cols);
        Weight part{MatrixView<S const, Exec>(values.data() + o, r, c), {}, ids};
        if (trained())
            part.gradients = MatrixView<accumulate_t<S>, Exec>(gradients.data() + o, r, c);
        return part;
    }
};

/// All values of a model in one flat buffer in the memory of `Exec`, with gradients in the same layout on request.
/// Copies share both, so that two models can be parts of one table: a generator and its discriminator.
template <Scalar S, ExecutionSpace Exec>
class Parameters {
  public:
    using Accumulate = accumulate_t<S>;
    template <class T>
    using Flat = Kokkos::View<T *, Kokkos::LayoutRight, typename Exec::memory_space>;

    Parameters() = default;
    /// Allocates `table`'s extent; all values are zero.
    explicit Parameters(ParameterTable table) : table_(std::move(table)) {
        table_.layout();
        values_ = zeros<S>("protlm::parameters", table_.extent());
    }

    ParameterTable const &table() const { return table_; }
    Flat<S> const &values() const { return values_; }
    Flat<Accumulate> const &gradients() const { return *gradients_; }

    /// Allocates gradients (zero) for all copies, so that weights handed out from now on are trained.
    void enable_gradients() {
        if (gradients_->extent(0) == 0)
            *gradients_ = zeros<Accumulate>("protlm::gradients", table_.extent());
    }
    void zero_gradients(Exec const &exec) { zero_values(exec, *gradients_); }

    /// The tensor `id` as a matrix.
    Weight<S, Exec> weight(ParameterId id) const { return weight({id}, table_[id].rows()); }

    /// The tensor `id` as a matrix of another shape; @throws Error when the number of elements differs
    Weight<S, Exec> weight(ParameterId id, index_t rows, index_t cols) const {
        return weight(id).as_matrix(rows, cols);
    }

    /// Tensors placed together as one matrix: their rows one after the other; vectors as one long row.
    Weight<S, Exec> weight(std::vector<ParameterId> const &ids) const {
        index_t rows = 0;
        for (ParameterId id : ids)
            rows += table_[id].rows();
        return weight(ids, table_[ids.front()].shape.size() < 2 ? 1 : rows);
    }

    /// What whoever loaded the weights should be told, a line each: see `load_weights`.
    std::vector<std::string> const &notes() const { return notes_; }
    void note(std::string text) { notes_.push_back(std::move(text)); }

    /// Draws every tensor by its initialiser; the same for any number of ranks and threads.
    void initialise(std::uint64_t seed) {
        auto host = Kokkos::create_mirror_view(values_);
        for (std::size_t e = 0; e < table_.entries().size(); ++e) {
            auto const &entry = table_.entries()[e];
            auto const initialiser = entry.initialiser;
            S *const values = host.data() + entry.offset;
            using Host = Kokkos::DefaultHostExecutionSpace;
            Kokkos::parallel_for("protlm::initialise", range(Host(), 0, entry.size()), [=](index_t i) {
                values[i] = static_cast<S>(static_cast<float>(draw(initialiser, seed, e, i)));
            });
        }
        Kokkos::DefaultHostExecutionSpace().fence();
        copy_from_host(Exec(), values_, host.data());
    }

  private:
    /// Zeros, set by all threads. Hosts ask for large pages: half a million small ones for a model of 2 GB take longer
    /// to come than its weights take to be read.
    template <class T>
    static Flat<T> zeros(std::string const &label, index_t count) {
        Flat<T> values(Kokkos::view_alloc(label, Kokkos::WithoutInitializing), static_cast<std::size_t>(count));
        if constexpr (is_host_space<Exec>) {
            constexpr std::uintptr_t large = std::uintptr_t(1) << 21;
            auto const begin = reinterpret_cast<std::uintptr_t>(values.data());
            auto const first = (begin + large - 1) / large * large,
                       last = (begin + values.size() * sizeof(T)) / large * large;
            if (first < last)
                ::madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE); // where the system has them
        }
        // whole words: a table's extent is a multiple of its tensors' alignment
        auto const words = values.size() * sizeof(T) / sizeof(std::uint32_t);
        detail::zero_words(Exec(), reinterpret_cast<std::uint32_t *>(values.data()), static_cast<index_t>(words));
        Exec().fence();
        return values;
    }

    Weight<S, Exec> weight(std::vector<ParameterId> const &ids, index_t rows) const {
        index_t size = 0;
        for (ParameterId id : ids) {
            check(table_[id].offset == table_[ids.front()].offset + size, "Parameters: ", table_[id].name,
                  " does not lie behind ", table_[ids.front()].name, ": place_together was not called");
            size += table_[id].size();
        }
        auto const offset = static_cast<std::size_t>(table_[ids.front()].offset);
        auto const r = static_cast<std::size_t>(rows), c = static_cast<std::size_t>(rows ? size / rows : 0);
        Weight<S, Exec> result{MatrixView<S const, Exec>(values_.data() + offset, r, c), {}, ids};
        if (gradients_->extent(0))
            result.gradients = MatrixView<Accumulate, Exec>(gradients_->data() + offset, r, c);
        return result;
    }

    /// One value; normals by Box and Muller, drawn again while beyond two deviations where they are cut off.
    static double draw(Initialiser const &initialiser, std::uint64_t seed, std::size_t entry, index_t i) {
        if (initialiser.kind == Initialiser::Kind::zeros)
            return 0.0;
        if (initialiser.kind == Initialiser::Kind::ones)
            return 1.0;
        for (std::uint32_t attempt = 0;; ++attempt) {
            CounterRandom const random{seed, Purpose::initialise, attempt};
            // 2^24 tensors of 2^40 elements each have numbers of their own
            auto const bits = random((static_cast<std::uint64_t>(entry) << 8) + static_cast<std::uint64_t>(i >> 32),
                                     static_cast<std::uint32_t>(i));
            if (initialiser.kind == Initialiser::Kind::uniform)
                return initialiser.deviation * (2.0 * uniform_double(bits[0], bits[1]) - 1.0);
            double const radius = std::sqrt(-2.0 * std::log1p(-uniform_double(bits[0], bits[1])));
            double const angle = 2.0 * std::numbers::pi * uniform_double(bits[2], bits[3]);
            for (double normal : {radius * std::cos(angle), radius * std::sin(angle)})
                if (std::abs(normal) <= 2.0 || initialiser.kind == Initialiser::Kind::normal)
                    return initialiser.mean + initialiser.deviation * normal;
        }
    }

    ParameterTable table_;
    std::vector<std::string> notes_;
    Flat<S> values_;
    std::shared_ptr<Flat<Accumulate>> gradients_ = std::make_shared<Flat<Accumulate>>();
};

} // namespace protlm::inline v0
