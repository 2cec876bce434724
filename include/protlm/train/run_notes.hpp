#pragma once

#include <protlm/data/packing.hpp>

#include <protlm/train/fingerprint.hpp>
#include <protlm/train/training_data.hpp>
#include <protlm/train/training_options.hpp>

#include <cstdio>
#include <set>
#include <string>

namespace protlm::inline v0 {

/// What a run says on standard error beside its progress: remarks, which a quiet run leaves out, and warnings, which
/// nobody leaves out but ranks other than the first.
class RunNotes {
  public:
    RunNotes(bool silent, bool quiet) : silent_(silent), quiet_(quiet || silent) {}

    bool quiet() const { return quiet_; }
    void say(std::string const &text) const {
        if (!quiet_)
            print(text);
    }
    void warn(std::string const &text) const {
        if (!silent_)
            print("warning: " + text);
    }
    /// A warning that is given once, however often this is called with other numbers in it.
    void once(std::string const &text) {
        if (said_.insert(text.substr(text.find_first_not_of("step 0123456789"))).second)
            warn(text);
    }

    /// Says what an epoch is where that is a few steps: the last one is short, or there is only one.
    void epoch_length(Packer const &packer, TrainingOptions const &options) const {
        if (silent_ || packer.examples() > 100'000)
            return;
        constexpr index_t few = 20;
        index_t steps = 0, tokens = 0;
        for (Cursor cursor{options.seed, 0, 0}; cursor.epoch == 0 && steps <= few; ++steps) {
            auto const plan = packer.plan(cursor);
            tokens = plan.tokens();
            cursor = plan.next;
        }
        if (steps > few || tokens >= options.tokens_per_step)
            return;
        std::string const counts = std::to_string(tokens) + " tokens, not " + std::to_string(options.tokens_per_step);
        if (steps == 1)
            warn("all training proteins together are one step of about " + counts);
        else
            say("an epoch of this store is " + std::to_string(steps) + " steps, the last of about " + counts);
    }

  private:
    static void print(std::string const &text) { std::fputs((text + '\n').c_str(), stderr); }

    bool silent_, quiet_;
    std::set<std::string> said_;
};

/// The part of a store that a run trains on. @throws Error when there is none, and why
inline Subset training_proteins(TokenStore const &store) {
    check(store.size() > 0, store.name(), ": holds no proteins");
    check(store.training().count > 0, store.name(), ": all ", store.size(),
          " proteins are held out: none is left to train on");
    return store.training();
}

/// What a cursor's position means: how many training proteins there are and how examples are made of them; and what
/// the model's tokens mean.
inline std::uint64_t data_fingerprint(TrainingData const &data, PackingOptions const &packing) {
    auto const &counts = data.store->counts();
    std::string const text = std::to_string(counts.sequences) + ' ' + std::to_string(counts.residues) + ' ' +
                             std::to_string(counts.held_out) + ' ' + std::to_string(counts.held_out_residues) + ' ' +
                             std::to_string(packing.max_length) + ' ' + std::to_string(packing.proteins_per_example) +
                             ' ' + vocabulary_text(data.vocabulary);
    return fingerprint(std::string_view(text));
}

/// What a store holds, by the checksums in its header, and how its held-out proteins were chosen.
inline std::uint64_t store_fingerprint(TokenStore const &store) {
    std::string text = std::to_string(store.options().split_seed) + ' ' + std::to_string(store.options().held_out);
    for (std::uint64_t const sum : store.checksums())
        text += ' ' + std::to_string(sum);
    return fingerprint(std::string_view(text));
}

} // namespace protlm::inline v0
