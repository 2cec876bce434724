// pretrain_transformer_xl: trains Transformer-XL on a token store by causal language modelling.

#include <protlm/model/transformer_xl.hpp>
#include <protlm/objective/causal.hpp>
#include <support/pretraining.hpp>

namespace {

struct PretrainTransformerXl : protlm::PretrainingOptions {
    static constexpr char const *name = "pretrain_transformer_xl";
    static constexpr char const *about =
        "Trains a Transformer-XL on proteins by causal language modelling: each residue is predicted from those before "
        "it, and a protein longer than a segment is read segment by segment with a memory of those before.";

    protlm::TransformerXlConfig model;
    protlm::CausalLanguageModel objective{.segment_length = 128};

    void read_model(protlm::Fields const &fields) { model = protlm::transformer_xl_config(fields); }

    template <class F>
    void for_each_of_objective(F &&f) {
        f("segment_length", objective.segment_length, "tokens of a segment; 0: a protein is one");
    }

    template <class S>
    protlm::TrainingOutcome train(examples::Session const &session) const {
        protlm::TokenStore const store(data);
        protlm::TrainingData const proteins(
            store, protlm::choose_vocabulary(vocabulary, weights, store, "transfo-xl", model.vocab_size));

        protlm::TransformerXl<S> transformer_xl(model);
        transformer_xl.initialise(training.seed);
        if (!weights.empty())
            examples::begin_with(transformer_xl, protlm::transformer_xl_checkpoint(weights), "transformer.", name,
                                 session);

        return protlm::pretrain(*this, proteins, transformer_xl, objective, session);
    }
};

} // namespace

int main(int argc, char **argv) { return examples::run_pretraining<PretrainTransformerXl>(argc, argv); }
