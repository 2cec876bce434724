// expect: MaskedLanguageModel: the model must offer encode(context, packed) and token_loss(context, hidden, labels)
// expect: CausalLanguageModel: the model must offer encode(context, packed, memory) with a Model::Memory
// expect: PermutationLanguageModel: the model must offer two_stream(context, packed, order) with a member query
// expect: SpanCorruption: the model must offer encode(context, packed), decode(context, packed, encoded, sources)
// expect: ProteinDenoising: the model must offer encode(context, packed), decode(context, packed, encoded, sources)
// expect: ReplacedTokenDetection: the model must have a generator with logits and a discriminator with detection_logits

#include <protlm/model/bert.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/permutation.hpp>
#include <protlm/objective/replaced.hpp>
#include <protlm/objective/span_corruption.hpp>

using namespace protlm;

void train(Training<Kokkos::DefaultExecutionSpace> &context, T5<> const &t5, Bert<> const &bert, Batch const &batch,
           Vocabulary const &vocabulary) {
    MaskedLanguageModel{}.loss(context, t5, batch, vocabulary, 0);
    CausalLanguageModel{}.loss(context, t5, batch, vocabulary, 0);
    PermutationLanguageModel{}.loss(context, bert, batch, vocabulary, 0);
    SpanCorruption{}.loss(context, bert, batch, vocabulary, 0);
    ProteinDenoising{}.loss(context, bert, batch, vocabulary, 0);
    ReplacedTokenDetection{}.loss(context, bert, batch, vocabulary, 0);
}
