// pretrain_t5: trains T5 on a token store by denoising.

#include <protlm/model/t5.hpp>
#include <protlm/objective/span_corruption.hpp>
#include <support/pretraining.hpp>

namespace {

/// ProtT5's objective, or T5's.
struct Denoising {
    bool spans = false;
    protlm::ProteinDenoising residues;
    protlm::SpanCorruption corruption;
    static constexpr char const *predicts = "hidden residues";

    Denoising evaluation() const { return {spans, residues.evaluation(), corruption.evaluation()}; }
    void validate(protlm::Vocabulary const &vocabulary) const {
        residues.validate(vocabulary);
        corruption.validate(vocabulary);
    }
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, protlm::Batch const &batch, protlm::Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        return spans ? corruption.loss(context, model, batch, vocabulary, seed)
                     : residues.loss(context, model, batch, vocabulary, seed);
    }
};

struct PretrainT5 : protlm::PretrainingOptions {
    static constexpr char const *name = "pretrain_t5";
    static constexpr char const *about =
        "Trains a T5 on proteins by denoising: residues are hidden from the encoder, and the decoder writes the whole "
        "protein, as ProtT5 was trained, or with --spans what hidden spans of residues were, as T5 was.";

    protlm::T5Config model;
    Denoising objective;

    void read_model(protlm::Fields const &fields) { model = protlm::t5_config(fields); }

    template <class F>
    void for_each_of_objective(F &&f) {
        f("spans", objective.spans, "hide spans of residues, as T5 was trained, instead of single ones, as ProtT5 was");
        f("mask_rate", objective.residues.rate, "share of residues to hide");
        f("mask_share", objective.residues.mask,
          "share of those that become <extra_id_0>; the rest become another residue");
        f("span_density", objective.corruption.density, "with spans: share of residues to hide");
        f("mean_span", objective.corruption.mean_span, "with spans: residues of a span on average");
    }

    template <class S>
    protlm::TrainingOutcome train(examples::Session const &session) const {
        protlm::TokenStore const store(data);
        protlm::TrainingData const proteins(
            store, protlm::choose_vocabulary(vocabulary, weights, store, "t5", model.vocab_size));

        protlm::T5<S> t5(weights.empty() ? model : protlm::with_output_of(model, protlm::t5_checkpoint(weights)));
        t5.initialise(training.seed);
        if (!weights.empty())
            examples::begin_with(t5, protlm::t5_checkpoint(weights), "", name, session);

        return protlm::pretrain(*this, proteins, t5, objective, session);
    }
};

} // namespace

int main(int argc, char **argv) { return examples::run_pretraining<PretrainT5>(argc, argv); }
