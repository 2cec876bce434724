#pragma once

#include <protlm/core/segments.hpp>

#include <algorithm>
#include <span>

namespace protlm::inline v0 {

namespace detail {

/// Rows [0, length) of each of `target`'s blocks of `to_capacity` rows from block blocks[b] of `source`.
template <class Exec, class A>
void copy_cache(Exec const &exec, index_t const *blocks, index_t count, index_t length, Rows<A const> source,
                index_t from_capacity, Rows<A> target, index_t to_capacity) {
    Kokkos::parallel_for(
        "protlm::copy_cache", range(exec, 0, count * length), KOKKOS_LAMBDA(index_t item) {
            index_t const b = item / length, t = item % length;
            A const *from = source.row(blocks[b] * from_capacity + t);
            A *to = target.row(b * to_capacity + t);
            for (index_t j = 0; j < target.cols; ++j)
                to[j] = from[j];
        });
}

/// Row b of `values` becomes row `place` of block b.
template <class Exec, class A>
void store_in_cache(Exec const &exec, Rows<A const> values, Rows<A> target, index_t capacity, index_t place) {
    Kokkos::parallel_for(
        "protlm::store_in_cache", range(exec, 0, values.rows), KOKKOS_LAMBDA(index_t b) {
            for (index_t j = 0; j < target.cols; ++j)
                target(b * capacity + place, j) = values(b, j);
        });
}

} // namespace detail

/// Keys and values of the tokens so far, for decoding token by token: a block of rows for each text, with room to
/// grow. Room doubles when it is used up, so that n tokens are copied O(n) times in all. All texts have one length.
template <class A, class Exec>
class KeyValueCache {
  public:
    KeyValueCache() = default;
    /// @param layers N @param width columns of keys and values together
    KeyValueCache(index_t layers, index_t width) : layers_(static_cast<std::size_t>(layers)), width_(width) {}

    index_t rows() const { return rows_; }
    index_t length() const { return length_; }

    /// Begins with `rows` empty texts.
    void start(index_t rows) {
        rows_ = rows;
        length_ = capacity_ = 0;
        std::fill(layers_.begin(), layers_.end(), Tensor<A, Exec>());
    }

    /// Makes room for one more token of each text; `append` then fills it layer by layer.
    template <class Context>
    void extend(Context &context) {
        if (length_ == capacity_)
            rebuild(context, identity(), std::max<index_t>(16, 2 * capacity_));
        ++length_;
        std::vector<std::int64_t> queries{0}, keys{0};
        for (index_t b = 0; b < rows_; ++b) { // the free room is a text of its own without a query
            queries.insert(queries.end(), {b + 1, b + 1});
            keys.insert(keys.end(), {b * capacity_ + length_, (b + 1) * capacity_});
        }
        queries_ = make_segments(context, queries);
        keys_ = make_segments(context, keys);
    }

    /// The last token's keys and values of one layer, (rows, width).
    template <class Context>
    void append(Context &context, index_t layer, Rows<A const> values) {
        check_extent("KeyValueCache", "values", "rows", values.rows, rows_);
        check_extent("KeyValueCache", "values", "columns", values.cols, width_);
        detail::store_in_cache(context.exec(), values, this->values(layer).value(), capacity_, length_ - 1);
    }

    /// Keys and values of one layer: the rows of `keys`.
    Tensor<A, Exec> const &values(index_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }
    /// One query a text, and the tokens it sees; every second segment is free room.
    Segments<Exec> const &queries() const { return queries_; }
    Segments<Exec> const &keys() const { return keys_; }

    /// Text i goes on from what is now text rows[i]; texts may end, be repeated and change places.
    /// @throws Error when there is no such text
    template <class Context>
    void reorder(Context &context, std::span<index_t const> rows) {
        for (index_t const row : rows)
            check(row >= 0 && row < rows_, "KeyValueCache: reorder: row ", row, " is not one of ", rows_);
        bool const same = std::ranges::equal(rows, identity());
        if (!same && capacity_ > 0)
            rebuild(context, {rows.begin(), rows.end()}, capacity_);
        rows_ = static_cast<index_t>(rows.size());
    }

  private:
    std::vector<index_t> identity() const {
        std::vector<index_t> rows;
        for (index_t b = 0; b < rows_; ++b)
            rows.push_back(b);
        return rows;
    }

    template <class Context>
    void rebuild(Context &context, std::vector<index_t> const &rows, index_t capacity) {
        auto const count = static_cast<index_t>(rows.size());
        auto const blocks = context.template upload<index_t>(rows);
        for (auto &layer : layers_) {
            auto const next = context.template tensor<A>(count * capacity, width_);
            if (length_ > 0)
                detail::copy_cache(context.exec(), blocks.data(), count, length_, Rows<A const>(layer.value()),
                                   capacity_, next.value(), capacity);
            layer = next;
        }
        context.exec().fence(); // the blocks' list and the old rows go away
        capacity_ = capacity;
    }

    std::vector<Tensor<A, Exec>> layers_; // (rows capacity, width)
    index_t width_ = 0, rows_ = 0, length_ = 0, capacity_ = 0;
    Segments<Exec> queries_, keys_;
};

} // namespace protlm::inline v0
