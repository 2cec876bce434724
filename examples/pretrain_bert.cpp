// pretrain_bert: trains BERT on a token store by masked language modelling.

#include <protlm/model/bert.hpp>
#include <protlm/objective/masked.hpp>
#include <support/pretraining.hpp>

namespace {

struct PretrainBert : protlm::PretrainingOptions {
    static constexpr char const *name = "pretrain_bert";
    static constexpr char const *about =
        "Trains a BERT on proteins by masked language modelling: 15 % of the residues are hidden, and the model learns "
        "to predict them from the rest.";

    protlm::BertConfig model;
    protlm::MaskedLanguageModel objective;

    void read_model(protlm::Fields const &fields) { model = protlm::bert_config(fields); }

    template <class F>
    void for_each_of_objective(F &&f) {
        f("mask_rate", objective.rate, "share of residues to predict");
        f("mask_share", objective.mask, "share of those that become [MASK]");
        f("random_share", objective.random, "share of those that become another residue; the rest stays");
    }

    template <class S>
    protlm::TrainingOutcome train(examples::Session const &session) const {
        require_positions(model.max_position_embeddings);
        protlm::TokenStore const store(data);
        protlm::TrainingData const proteins(
            store, protlm::choose_vocabulary(vocabulary, weights, store, "bert", model.vocab_size));

        protlm::Bert<S> bert(model);
        bert.initialise(training.seed);
        if (!weights.empty())
            examples::begin_with(bert, protlm::bert_checkpoint(weights), "bert.", name, session);

        return protlm::pretrain(*this, proteins, bert, objective, session);
    }
};

} // namespace

int main(int argc, char **argv) { return examples::run_pretraining<PretrainBert>(argc, argv); }
