#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A point of the plane.
using PlanePoint = std::array<double, 2>;

/// Points of the plane in squares within squares, so that far ones act together (Barnes and Hut, Nature 324, 1986).
/// Points are sorted along a curve that fills the plane, nodes lie in depth-first order, and each knows the first node
/// that is not below it: a walk needs no stack.
class QuadTree {
  public:
    /// @param points  (P), finite @throws Error otherwise
    explicit QuadTree(std::vector<PlanePoint> const &points) : points_(points.size()), order_(points.size()) {
        if (points.empty())
            return;
        find_square(points);
        std::vector<std::pair<std::uint64_t, std::uint32_t>> codes(points.size());
        for (std::size_t i = 0; i < points.size(); ++i)
            codes[i] = {code_of(points[i]), static_cast<std::uint32_t>(i)};
        std::sort(codes.begin(), codes.end());
        std::vector<std::uint64_t> keys(points.size());
        for (std::size_t i = 0; i < points.size(); ++i) {
            keys[i] = codes[i].first;
            order_[i] = codes[i].second;
            points_[i] = points[order_[i]];
        }
        add_node(keys, 0, static_cast<std::uint32_t>(points.size()), 0);
    }

    /// Repulsion of a point, the Student kernel q = 1 / (1 + distance^2) summed over all points but the one itself.
    struct Repulsion {
        PlanePoint force{}; ///< sum of q^2 (point - other)
        double weight = 0;  ///< sum of q
    };

    /// Repulsion of the point that is `place`-th in the tree's order.
    /// @param theta  squares narrower than theta times their distance act as their mean; 0 is exact, at most 0.7, so
    ///               that a square never does so for a point within
    Repulsion repulsion(std::size_t place, double theta) const {
        auto const at = points_[place];
        Repulsion sum;
        for (std::size_t n = 0; n < nodes_.size();) {
            auto const &node = nodes_[n];
            double const x = at[0] - node.mean[0], y = at[1] - node.mean[1], squared = x * x + y * y;
            if (node.width * node.width < theta * theta * squared) {
                add(sum, x, y, squared, double(node.last - node.first));
                n = node.next;
            } else if (node.next == n + 1) { // no squares below
                for (std::size_t i = node.first; i < node.last; ++i)
                    if (i != place) {
                        double const dx = at[0] - points_[i][0], dy = at[1] - points_[i][1];
                        add(sum, dx, dy, dx * dx + dy * dy, 1);
                    }
                n = node.next;
            } else {
                ++n;
            }
        }
        return sum;
    }

    std::vector<std::uint32_t> const &order() const { return order_; } ///< (P) number of the point at each place
    std::size_t nodes() const { return nodes_.size(); }

  private:
    struct Node {
        PlanePoint mean;
        double width;
        std::uint32_t first, last, next; ///< points [first, last); the first node that is not below this one
    };
    static constexpr int levels = 30;
    static constexpr std::uint32_t leaf_size = 6;

    static void add(Repulsion &sum, double x, double y, double squared, double count) {
        double const q = 1 / (1 + squared);
        sum.weight += count * q;
        sum.force[0] += count * q * q * x;
        sum.force[1] += count * q * q * y;
    }
    void find_square(std::vector<PlanePoint> const &points) {
        auto low = points[0], high = points[0];
        for (auto const &point : points)
            for (std::size_t axis : {0u, 1u}) {
                check(is_finite(point[axis]), "QuadTree: a coordinate is not finite");
                low[axis] = std::min(low[axis], point[axis]);
                high[axis] = std::max(high[axis], point[axis]);
            }
        low_ = low;
        width_ = std::max({high[0] - low[0], high[1] - low[1], 1e-300});
    }
    /// Bits of x and y in turn, the first two name the quarter of the whole square, and so on.
    std::uint64_t code_of(PlanePoint const &point) const {
        std::uint64_t code = 0;
        for (std::size_t axis : {0u, 1u}) {
            double const unit = (point[axis] - low_[axis]) / width_;
            auto bits = static_cast<std::uint64_t>(std::min(unit * 0x1p30, 0x1p30 - 1));
            bits = (bits | bits << 16) & 0x0000FFFF0000FFFF;
            bits = (bits | bits << 8) & 0x00FF00FF00FF00FF;
            bits = (bits | bits << 4) & 0x0F0F0F0F0F0F0F0F;
            bits = (bits | bits << 2) & 0x3333333333333333;
            bits = (bits | bits << 1) & 0x5555555555555555;
            code |= bits << axis;
        }
        return code;
    }
    void add_node(std::vector<std::uint64_t> const &keys, std::uint32_t first, std::uint32_t last, int level) {
        // squares that hold the same points as their quarter are passed over
        auto const differ = static_cast<int>(std::bit_width(keys[first] ^ keys[last - 1]));
        level = std::max(level, differ == 0 ? levels : levels - (differ + 1) / 2);
        auto const index = nodes_.size();
        nodes_.push_back({{0, 0}, std::ldexp(width_, -level), first, last, 0});
        PlanePoint sum{};
        for (std::uint32_t i = first; i < last; ++i)
            sum[0] += points_[i][0], sum[1] += points_[i][1];
        nodes_[index].mean = {sum[0] / (last - first), sum[1] / (last - first)};
        if (last - first > leaf_size && level < levels)
            for (std::uint32_t from = first, to; from < last; from = to) {
                std::uint64_t const end = (keys[from] >> 2 * (levels - level - 1)) + 1;
                to = static_cast<std::uint32_t>(
                    std::lower_bound(keys.begin() + from, keys.begin() + last, end << 2 * (levels - level - 1)) -
                    keys.begin());
                add_node(keys, from, to, level + 1);
            }
        nodes_[index].next = static_cast<std::uint32_t>(nodes_.size());
    }

    std::vector<PlanePoint> points_; // in the tree's order
    std::vector<std::uint32_t> order_;
    std::vector<Node> nodes_;
    PlanePoint low_{};
    double width_ = 0;
};

} // namespace protlm::inline v0
