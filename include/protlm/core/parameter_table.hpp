#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/core/tape.hpp>

#include <map>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// How a tensor begins. The original BERT draws from a normal cut off at two standard deviations, T5 from a whole one.
struct Initialiser {
    enum class Kind { zeros, ones, truncated_normal, normal, uniform } kind = Kind::zeros;
    double deviation = 0.0; // uniform: the largest magnitude
    double mean = 0.0;

    static Initialiser zeros() { return {Kind::zeros}; }
    static Initialiser ones() { return {Kind::ones}; }
    static Initialiser truncated_normal(double deviation) { return {Kind::truncated_normal, deviation}; }
    static Initialiser normal(double deviation, double mean = 0.0) { return {Kind::normal, deviation, mean}; }
    static Initialiser uniform(double bound) { return {Kind::uniform, bound}; }
};

/// One named tensor of a model, as Hugging Face names and shapes it.
struct ParameterEntry {
    std::string name;
    std::vector<index_t> shape;
    Initialiser initialiser;
    std::vector<std::string> aliases;     // further names of the same tensor in checkpoints (tied weights)
    std::vector<std::string> substitutes; // names that stand for its own where a checkpoint lacks it; written, too
    index_t offset = 0;                   // first element in the flat buffer
    int group = -1;                       // tensors of one group lie next to each other

    index_t size() const {
        index_t product = 1;
        for (index_t extent : shape)
            product *= extent;
        return product;
    }
    /// As a matrix: all but the last extent are rows; a vector is one row.
    index_t cols() const { return shape.empty() ? 1 : shape.back(); }
    index_t rows() const { return cols() == 0 ? 0 : size() / cols(); }
};

/// The table of a model's tensors: names, shapes, and where each lies in the flat buffer. Gradients, moments,
/// exchange buckets and checkpoints all walk it. Takes no memory for the values.
class ParameterTable {
  public:
    /// Elements that one tensor, or all of them, may have: far beyond any memory, and no product of sizes overflows.
    static constexpr index_t most_elements = index_t(1) << 48;

    /// Appends a tensor. @throws Error when the name is taken, an extent is negative, or it has too many elements
    ParameterId add(std::string name, std::vector<index_t> shape, Initialiser initialiser) {
        check(!laid_out_, "ParameterTable: ", name, " comes after layout()");
        index_t size = 1;
        for (index_t extent : shape) {
            check(extent >= 0, "ParameterTable: ", name, " has a negative extent ", extent);
            check(extent == 0 || size <= most_elements / extent, "ParameterTable: ", name, " has more than ",
                  most_elements, " elements");
            size *= extent;
        }
        auto const id = static_cast<ParameterId>(entries_.size());
        claim(name, id);
        entries_.push_back({std::move(name), std::move(shape), initialiser, {}, {}, 0, -1});
        return id;
    }

    /// One more name for a tensor: read like its own name, never written.
    void alias(ParameterId id, std::string name) {
        claim(name, id);
        entries_[static_cast<std::size_t>(id)].aliases.push_back(std::move(name));
    }

    /// A name that stands for the tensor's own in checkpoints that lack it, and is written beside it; where both are
    /// there, the tensor's own counts, whatever the other holds.
    void substitute(ParameterId id, std::string name) {
        claim(name, id);
        entries_[static_cast<std::size_t>(id)].substitutes.push_back(std::move(name));
    }

    /// Lets tensors lie next to each other in this order, so that one product serves them all (Q, K, V).
    void place_together(std::vector<ParameterId> const &members) {
        int const group = static_cast<int>(groups_.size());
        for (ParameterId id : members)
            entries_[static_cast<std::size_t>(id)].group = group;
        groups_.push_back(members);
    }

    /// Gives every tensor its place: the order of the table, but a group as a whole where its first member comes.
    /// Places begin at multiples of 16 elements; what lies between is zero and stays zero.
    void layout() {
        if (laid_out_)
            return;
        std::vector<bool> placed(groups_.size(), false);
        for (auto &entry : entries_) {
            if (entry.group < 0) {
                place(entry);
                align();
            } else if (!placed[static_cast<std::size_t>(entry.group)]) {
                placed[static_cast<std::size_t>(entry.group)] = true;
                for (ParameterId id : groups_[static_cast<std::size_t>(entry.group)])
                    place(entries_[static_cast<std::size_t>(id)]);
                align();
            }
        }
        laid_out_ = true;
    }

    std::vector<ParameterEntry> const &entries() const { return entries_; }
    ParameterEntry const &operator[](ParameterId id) const { return entries_[static_cast<std::size_t>(id)]; }
    /// Tensor of that name or alias, or -1.
    ParameterId find(std::string const &name) const {
        auto const found = names_.find(name);
        return found == names_.end() ? -1 : found->second;
    }
    /// Extent of the flat buffer, gaps included.
    index_t extent() const { return extent_; }
    /// Number of parameters, as papers count them: each tied tensor once.
    index_t parameter_count() const {
        index_t sum = 0;
        for (auto const &entry : entries_)
            sum += entry.size();
        return sum;
    }

  private:
    void claim(std::string const &name, ParameterId id) {
        check(names_.emplace(name, id).second, "ParameterTable: the name ", name, " is taken");
    }
    void place(ParameterEntry &entry) {
        entry.offset = extent_;
        extent_ += entry.size();
        check(extent_ <= most_elements, "ParameterTable: with ", entry.name, " there are more than ", most_elements,
              " elements");
    }
    void align() { extent_ = (extent_ + 15) / 16 * 16; }

    std::vector<ParameterEntry> entries_;
    std::vector<std::vector<ParameterId>> groups_;
    std::map<std::string, ParameterId> names_;
    index_t extent_ = 0;
    bool laid_out_ = false;
};

} // namespace protlm::inline v0
