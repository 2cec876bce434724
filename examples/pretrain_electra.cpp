// pretrain_electra: trains ELECTRA on a token store by replaced token detection.

#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/objective/replaced.hpp>
#include <support/pretraining.hpp>

namespace {

struct PretrainElectra : protlm::PretrainingOptions {
    static constexpr char const *name = "pretrain_electra";
    static constexpr char const *about =
        "Trains an ELECTRA on proteins by replaced token detection: a small generator fills hidden residues, and the "
        "discriminator, which is the model to be used, learns to tell which residues are not the true ones.";

    protlm::ElectraPairConfig model{small(64, 2), small(256, 8)};
    protlm::ReplacedTokenDetection objective;

    static protlm::ElectraConfig small(protlm::index_t width, protlm::index_t heads) {
        protlm::ElectraConfig config;
        config.hidden_size = width;
        config.num_attention_heads = heads;
        config.intermediate_size = 4 * width;
        return config;
    }

    void read_model(protlm::Fields const &fields) { model = protlm::electra_pair_config(fields); }

    template <class F>
    void for_each_of_objective(F &&f) {
        f("mask_rate", objective.rate, "share of residues that the generator fills");
        f("detection_weight", objective.weight, "weight of the discriminator's loss; the generator's has 1");
    }

    template <class S>
    protlm::TrainingOutcome train(examples::Session const &session) const {
        require_positions(model.generator.max_position_embeddings);
        require_positions(model.discriminator.max_position_embeddings);
        protlm::TokenStore const store(data);
        protlm::TrainingData const proteins(
            store, protlm::choose_vocabulary(vocabulary, weights.empty() ? "" : weights + "/discriminator", store,
                                             "electra", model.discriminator.vocab_size));

        using Pair = protlm::GeneratorDiscriminator<protlm::Electra<S>, protlm::Electra<S>>;
        Pair pair(model.generator, model.discriminator);
        if (weights.empty())
            pair.initialise(training.seed);
        else
            pair.take_weights(Pair::load(weights), weights);
        if (session.rank() == 0)
            examples::print_notes(name, pair.parameters().notes());

        return protlm::pretrain(*this, proteins, pair, objective, session);
    }
};

} // namespace

int main(int argc, char **argv) { return examples::run_pretraining<PretrainElectra>(argc, argv); }
