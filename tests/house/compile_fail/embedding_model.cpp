// expect: embed: the model must say where its vocabulary is, by origin() and a function model_type(config)
// expect: Embedder: the model must offer validate(PackedView) const
// expect: Embedder: the model must offer hidden_states(context, batch, layer, listener) const
#include <protlm/bert.hpp>

struct NoEncoder {
    using scalar_type = float;
    using execution_space = Kokkos::DefaultHostExecutionSpace;
    protlm::BertConfig config() const { return {}; }
};

void embed(NoEncoder const &model) { protlm::Embedder embedder(model, protlm::Vocabulary::protbert()); }

auto vocabulary(NoEncoder const &model) { return protlm::vocabulary_of(model); }
