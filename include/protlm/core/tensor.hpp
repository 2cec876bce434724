#pragma once

#include <protlm/core/memory_pool.hpp>
#include <protlm/core/scalar.hpp>

namespace protlm::inline v0 {

/// Rows of a row-major matrix, possibly a range of the columns of a wider one; what kernels work on.
template <class T>
struct Rows {
    T *data = nullptr;
    index_t rows = 0, cols = 0;
    index_t stride = 0; // elements from one row to the next

    KOKKOS_FUNCTION T &operator()(index_t i, index_t j) const { return data[i * stride + j]; }
    KOKKOS_FUNCTION T *row(index_t i) const { return data + i * stride; }
    /// Columns [first, first + width).
    KOKKOS_FUNCTION Rows columns(index_t first, index_t width) const { return {data + first, rows, width, stride}; }
    KOKKOS_FUNCTION operator Rows<T const>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }
};

/// Kernel handle of a row-major matrix view.
template <class T, class... P>
KOKKOS_INLINE_FUNCTION Rows<T> rows_of(Kokkos::View<T **, P...> const &view) {
    return {view.data(), static_cast<index_t>(view.extent(0)), static_cast<index_t>(view.extent(1)),
            static_cast<index_t>(view.extent(1))};
}

/// One-dimensional pooled array for what is no activation: statistics, packed operands, indices. Copies share it.
template <class T, class Exec>
class Buffer {
  public:
    using Pool = MemoryPool<typename Exec::memory_space>;
    Buffer() = default;
    Buffer(Pool &pool, index_t size)
        : block_(std::make_shared<typename Pool::Block>(pool.allocate(sizeof(T) * static_cast<std::size_t>(size)))),
          view_(static_cast<T *>(block_->data()), static_cast<std::size_t>(size)) {}
    VectorView<T, Exec> const &view() const { return view_; }
    T *data() const { return view_.data(); }
    index_t size() const { return static_cast<index_t>(view_.extent(0)); }

  private:
    std::shared_ptr<typename Pool::Block> block_;
    VectorView<T, Exec> view_;
};

/// An activation: a row-major matrix (rows, columns) in the memory of `Exec`, with a gradient of the same shape once
/// the backward reaches it. Copies share both. One row is one token; a scalar is (1, 1).
template <class T, class Exec>
class Tensor {
  public:
    using View = MatrixView<T, Exec>;
    using Pool = MemoryPool<typename Exec::memory_space>;
    using value_type = T;

    Tensor() = default;
    /// Undefined contents from `pool`.
    Tensor(Pool &pool, index_t rows, index_t cols, bool needs_gradient)
        : node_(std::make_shared<Node>(pool, rows, cols, needs_gradient)) {}

    explicit operator bool() const { return node_ != nullptr; }
    index_t rows() const { return static_cast<index_t>(node_->value.extent(0)); }
    index_t cols() const { return static_cast<index_t>(node_->value.extent(1)); }
    View const &view() const { return node_->value; }
    Rows<T> value() const { return rows_of(node_->value); }

    /// True when a backward wants this tensor's gradient.
    bool needs_gradient() const { return node_ && node_->needs_gradient; }
    void set_needs_gradient(bool wanted) { node_->needs_gradient = wanted; }
    bool has_gradient() const { return node_ && static_cast<bool>(node_->gradient_block); }
    /// The gradient, which must exist.
    View gradient_view() const { return View(node_->gradient(), node_->value.extent(0), node_->value.extent(1)); }
    Rows<T> gradient() const { return rows_of(gradient_view()); }

    /// The gradient to add to; `fresh` says that it holds nothing yet, so that the caller must overwrite all of it.
    struct Accumulation {
        Rows<T> rows;
        bool fresh;
    };
    Accumulation accumulate() const {
        bool const fresh = !has_gradient();
        if (fresh)
            node_->gradient_block = node_->pool.allocate(bytes());
        return {gradient(), fresh};
    }

    /// Makes `other`'s finished gradient this tensor's own when this one has none yet; false when it has.
    bool take_gradient(Tensor const &other) const {
        if (has_gradient())
            return false;
        node_->gradient_block = std::move(other.node_->gradient_block);
        return true;
    }
    void release_gradient() const { node_->gradient_block = typename Pool::Block(); }

  private:
    struct Node {
        Node(Pool &p, index_t rows, index_t cols, bool needs)
            : pool(p), value_block(pool.allocate(sizeof(T) * static_cast<std::size_t>(rows * cols))),
              value(static_cast<T *>(value_block.data()), static_cast<std::size_t>(rows),
                    static_cast<std::size_t>(cols)),
              needs_gradient(needs) {}
        T *gradient() const { return static_cast<T *>(gradient_block.data()); }
        Pool pool;
        typename Pool::Block value_block, gradient_block;
        View value;
        bool needs_gradient;
    };
    std::size_t bytes() const { return sizeof(T) * node_->value.extent(0) * node_->value.extent(1); }
    std::shared_ptr<Node> node_;
};

} // namespace protlm::inline v0
