// pretrain_xlnet: trains XLNet on a token store by permutation language modelling.

#include <protlm/model/xlnet.hpp>
#include <protlm/objective/permutation.hpp>
#include <support/pretraining.hpp>

namespace {

struct PretrainXlnet : protlm::PretrainingOptions {
    static constexpr char const *name = "pretrain_xlnet";
    static constexpr char const *about =
        "Trains an XLNet on proteins by permutation language modelling: a sixth of the residues, in short spans, are "
        "predicted one after the other in a random order, each from the rest and from those before it in that order.";

    protlm::XlnetConfig model;
    protlm::PermutationLanguageModel objective;

    void read_model(protlm::Fields const &fields) { model = protlm::xlnet_config(fields); }

    template <class F>
    void for_each_of_objective(F &&f) {
        f("target_share", objective.share, "share of residues to predict");
        f("longest_span", objective.longest_span, "most residues of a span of targets");
    }

    template <class S>
    protlm::TrainingOutcome train(examples::Session const &session) const {
        protlm::TokenStore const store(data);
        protlm::TrainingData const proteins(
            store, protlm::choose_vocabulary(vocabulary, weights, store, "xlnet", model.vocab_size));

        protlm::Xlnet<S> xlnet(model);
        xlnet.initialise(training.seed);
        if (!weights.empty())
            examples::begin_with(xlnet, protlm::xlnet_checkpoint(weights), "transformer.", name, session);

        return protlm::pretrain(*this, proteins, xlnet, objective, session);
    }
};

} // namespace

int main(int argc, char **argv) { return examples::run_pretraining<PretrainXlnet>(argc, argv); }
