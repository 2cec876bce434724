#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/core/philox.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/data/sampling.hpp>
#include <protlm/data/store.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// How examples are made of proteins and batches of examples. Changing anything but `tokens` changes what a cursor's
/// position means.
struct PackingOptions {
    index_t tokens = 4096;        ///< budget of one step over all ranks, special tokens included
    index_t max_length = 512;     ///< of one example, special tokens included; longer proteins are cropped at random
    int proteins_per_example = 1; ///< 2: `[CLS] A [SEP] B [SEP]` or what the vocabulary has, as ProtBert was trained
};

/// One example of an epoch: which proteins, and how many tokens it makes.
struct Example {
    static constexpr std::uint64_t none = ~std::uint64_t(0);
    std::uint64_t sample = 0;                          ///< place in the epoch's order
    std::array<std::uint64_t, 2> sequence{none, none}; ///< of the store
    std::array<index_t, 2> residues{0, 0};             ///< kept of each protein
    index_t tokens = 0;                                ///< with special tokens
    bool operator==(Example const &) const = default;
};

/// Which examples a step, a rank or a micro-batch takes; Packer::build makes the batch.
struct BatchPlan {
    std::uint64_t seed = 0, epoch = 0;
    std::vector<Example> examples; ///< ascending in `sample`
    Cursor next;                   ///< where the step after this one begins

    index_t tokens() const {
        return std::accumulate(examples.begin(), examples.end(), index_t(0),
                               [](index_t sum, Example const &example) { return sum + example.tokens; });
    }
};

/// Makes batches of a part of a store, in the shuffled order of each epoch. Nothing depends on the number of ranks:
/// `plan` is the same on all of them, and `share` gives each its part.
///
/// An epoch visits every protein once. A step takes examples in the epoch's order while their tokens fit the budget,
/// and at least one, so a protein longer than the budget is alone in its batch. The last batch of an epoch ends with
/// the epoch and may be small.
///
/// One store trains every model: with another vocabulary than the store's, residues are translated by their letters
/// when a batch is built. Order and crops do not depend on the vocabulary where special tokens are as many.
class Packer {
  public:
    /// @param store  must outlive the packer
    /// @throws Error for an empty subset, options that leave no room for a residue, and letters of the store that the
    ///         batches' vocabulary does not have
    Packer(TokenStore const &store, Subset subset, PackingOptions options)
        : Packer(store, subset, options, store.vocabulary()) {}
    /// @param vocabulary  of the batches, which may be another than the store's
    Packer(TokenStore const &store, Subset subset, PackingOptions options, Vocabulary vocabulary)
        : store_(&store), subset_(subset), options_(options), vocabulary_(std::move(vocabulary)),
          same_vocabulary_(vocabulary_.pieces == store.vocabulary().pieces),
          translation_(token_translation(store.vocabulary(), vocabulary_)) {
        check_subset();
        check_letters();
        int const proteins = options.proteins_per_example;
        check(proteins == 1 || proteins == 2, "Packer: proteins_per_example is ", proteins, ", expected 1 or 2");
        index_t const least = special_tokens(vocabulary_, proteins) + proteins;
        check(options.max_length >= least, "Packer: max_length is ", options.max_length, ", expected at least ", least);
        check(options.tokens > 0, "Packer: tokens is ", options.tokens, ", expected at least 1");
    }

    /// Examples in an epoch; where the number of proteins is odd, the last of two-protein examples has one.
    std::uint64_t examples() const {
        auto const proteins = static_cast<std::uint64_t>(options_.proteins_per_example);
        return (subset_.count - 1) / proteins + 1;
    }
    PackingOptions const &options() const { return options_; }
    TokenStore const &store() const { return *store_; }
    /// Of the batches.
    Vocabulary const &vocabulary() const { return vocabulary_; }

    /// What the step at `cursor` takes over all ranks. A cursor at or past the end of its epoch begins the next one.
    /// @throws Error when the store's file was changed
    BatchPlan plan(Cursor cursor) const {
        store_->check_unchanged();
        if (cursor.position >= examples())
            cursor = {cursor.seed, cursor.epoch + 1, 0};
        BatchPlan plan{cursor.seed, cursor.epoch, {}, cursor};
        Permutation const order(subset_.count, cursor.seed, cursor.epoch);
        index_t total = 0;
        for (; plan.next.position < examples(); ++plan.next.position) {
            Example const example = make_example(order, plan.next.position);
            if (total > 0 && total + example.tokens > options_.tokens)
                break;
            total += example.tokens;
            plan.examples.push_back(example);
        }
        if (plan.next.position == examples())
            plan.next = {cursor.seed, cursor.epoch + 1, 0};
        return plan;
    }

    /// The tokens of a plan or of a share of one; crops depend on (seed, epoch, sample) only.
    /// @throws Error when the store's file was changed
    Batch build(BatchPlan const &plan) const {
        store_->check_unchanged();
        Batch batch;
        batch.epoch = plan.epoch;
        batch.tokens.reserve(static_cast<std::size_t>(plan.tokens()));
        CounterRandom const random{plan.seed, Purpose::crop, static_cast<std::uint32_t>(plan.epoch)};
        std::array<std::vector<std::uint8_t>, 2> translated;
        for (Example const &example : plan.examples) {
            auto const crop = [&](std::uint32_t which) {
                auto const tokens = store_->tokens(example.sequence[which]);
                auto const keep = static_cast<std::size_t>(example.residues[which]);
                check(keep <= tokens.size(), store_->name(), ": sequence ", example.sequence[which], " has ",
                      tokens.size(), " residues now, had ", keep, " or more; was the file changed?");
                // A store's sequences are shorter than 2^32, so this product of 32 random bits fits 64.
                std::uint64_t const choices = tokens.size() - keep + 1;
                auto const part = tokens.subspan((random(example.sample, which)[0] * choices) >> 32, keep);
                return same_vocabulary_ ? part : translate(part, translated[which]);
            };
            std::optional<std::span<std::uint8_t const>> second;
            if (example.sequence[1] != Example::none)
                second = crop(1);
            append_sequence(batch, vocabulary_, crop(0), second, example.sample);
        }
        store_->check_unchanged(); // what was just read is what was there from the beginning
        return batch;
    }

  private:
    void check_subset() const {
        std::uint64_t const size = store_->size();
        bool const valid = subset_.first <= size && subset_.count <= size - subset_.first;
        check(valid, "Packer: sequences ", subset_.first, " to ", subset_.first + subset_.count, " of ", size, " in ",
              store_->name());
        bool const none_to_train = subset_ == store_->training() && store_->counts().held_out > 0;
        check(subset_.count > 0, store_->name(), ": ",
              none_to_train ? "all " + std::to_string(size) + " proteins are held out, none is left to train on"
              : size == 0   ? "has no proteins"
                            : "none of its " + std::to_string(size) + " proteins is in the part that is asked for");
    }
    /// X, U, Z, O and B stand for residues that nobody knows; any other letter must not become one of these.
    void check_letters() const {
        std::string lost;
        for (char letter = 'A'; letter <= 'Z'; ++letter) {
            auto const at = static_cast<unsigned char>(letter);
            bool const known = std::string_view("XUZOB").find(letter) == std::string_view::npos &&
                               store_->vocabulary().residue_table[at] != Vocabulary::not_a_residue;
            if (known && vocabulary_.residue_table[at] == Vocabulary::not_a_residue)
                lost.push_back(letter);
        }
        check(lost.empty(), store_->name(), ": was made with a vocabulary that has the letters ", lost,
              ", which the model's does not have; make the store with the model's vocabulary");
    }
    std::span<std::uint8_t const> translate(std::span<std::uint8_t const> tokens,
                                            std::vector<std::uint8_t> &translated) const {
        translated.resize(tokens.size());
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            translated[i] = translation_[tokens[i]];
            check(translated[i] != Vocabulary::not_a_residue, "Packer: token ", int(tokens[i]), " of ", store_->name(),
                  " has no letter that the model's vocabulary could take");
        }
        return translated;
    }
    Example make_example(Permutation const &order, std::uint64_t sample) const {
        auto const proteins = static_cast<std::uint64_t>(options_.proteins_per_example);
        Example example{.sample = sample};
        int count = 0;
        for (std::uint64_t i = sample * proteins; i < std::min((sample + 1) * proteins, subset_.count); ++i, ++count) {
            auto const at = static_cast<std::size_t>(count);
            example.sequence[at] = subset_.first + order(i);
            example.residues[at] = static_cast<index_t>(store_->length(example.sequence[at]));
        }
        index_t const special = special_tokens(vocabulary_, count);
        auto &[first, second] = example.residues;
        index_t const room = options_.max_length - special;
        if (first + second > room) { // crop the longer one first, both to about half where both are longer than that
            index_t const longest_first = std::max(room - second, room - room / 2);
            first = std::min(first, count == 1 ? room : longest_first);
            second = std::min(second, room - first);
        }
        example.tokens = first + second + special;
        return example;
    }
    TokenStore const *store_;
    Subset subset_;
    PackingOptions options_;
    Vocabulary vocabulary_;
    bool same_vocabulary_;
    std::array<std::uint8_t, 256> translation_;
};

/// Divides a plan into disjoint parts that differ little in tokens: the longest examples are dealt first, each to the
/// part that has least (longest processing time first; Graham, "Bounds on multiprocessing timing anomalies", 1969).
/// A part is empty where there are more parts than examples. Every rank finds the same parts.
inline std::vector<BatchPlan> shares(BatchPlan const &plan, int parts) {
    check(parts > 0, "shares: parts is ", parts, ", expected at least 1");
    std::vector<std::size_t> order(plan.examples.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return plan.examples[a].tokens > plan.examples[b].tokens; });
    using Load = std::pair<index_t, std::size_t>; // ties go to the lowest part
    std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
    std::vector<std::vector<std::size_t>> chosen(static_cast<std::size_t>(parts));
    for (std::size_t part = 0; part < chosen.size(); ++part)
        loads.emplace(0, part);
    for (std::size_t const example : order) {
        auto const [load, part] = loads.top();
        loads.pop();
        chosen[part].push_back(example);
        loads.emplace(load + plan.examples[example].tokens, part);
    }
    std::vector<BatchPlan> result(chosen.size(), BatchPlan{plan.seed, plan.epoch, {}, plan.next});
    for (std::size_t part = 0; part < chosen.size(); ++part) {
        std::sort(chosen[part].begin(), chosen[part].end());
        for (std::size_t const example : chosen[part])
            result[part].examples.push_back(plan.examples[example]);
    }
    return result;
}

/// What rank `part` of `parts` takes of a step.
inline BatchPlan share(BatchPlan const &plan, int part, int parts) {
    check(part >= 0 && part < parts, "share: part ", part, " of ", parts);
    return std::move(shares(plan, parts)[static_cast<std::size_t>(part)]);
}

/// Divides a plan into few parts of about equal size for a memory limit: each has at most `tokens` tokens, or is one
/// example that alone has more. An empty plan gives one empty part.
inline std::vector<BatchPlan> micro_batches(BatchPlan const &plan, index_t tokens) {
    check(tokens > 0, "micro_batches: tokens is ", tokens, ", expected at least 1");
    auto const fits = [&](BatchPlan const &part) { return part.tokens() <= tokens || part.examples.size() <= 1; };
    int parts = static_cast<int>(std::max<index_t>(1, (plan.tokens() + tokens - 1) / tokens));
    while (true) {
        std::vector<BatchPlan> result = shares(plan, parts++);
        if (std::all_of(result.begin(), result.end(), fits))
            return result;
    }
}

} // namespace protlm::inline v0
