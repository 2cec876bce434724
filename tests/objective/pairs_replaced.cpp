// Replaced token detection by pairs of ELECTRA, of ALBERT, and of a BERT that judges a smaller one.

#include <protlm/model/albert.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/objective/replaced.hpp>

#include "objective/pairs.hpp"

#include <tuple>

using namespace protlm;
using namespace protlm::test;

namespace {

template <class Config>
Config tiny(Vocabulary const &vocabulary, index_t width) {
    Config config;
    config.vocab_size = vocabulary.size();
    config.hidden_size = width;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2;
    config.intermediate_size = 2 * width;
    config.max_position_embeddings = 64;
    config.initializer_range = 0.05;
    if constexpr (requires { config.embedding_size; })
        config.embedding_size = 32;
    return config;
}

template <class M, class Config, bool albert>
struct Family {
    using Model = GeneratorDiscriminator<M, M>;
    static Vocabulary vocabulary() { return albert ? Vocabulary::protalbert() : Vocabulary::protbert(); }
    static Model model() { return Model(tiny<Config>(vocabulary(), 16), tiny<Config>(vocabulary(), 32)); }
};
using Families =
    std::tuple<Family<Electra<float, Host>, ElectraConfig, false>, Family<Albert<float, Host>, AlbertConfig, true>,
               Family<Bert<float, Host>, BertConfig, false>>;

} // namespace

BOOST_AUTO_TEST_SUITE(pairs_replaced)

BOOST_AUTO_TEST_CASE_TEMPLATE(detection, Pair, Families) {
    auto model = Pair::model();
    test_learns(ReplacedTokenDetection{}, model, Pair::vocabulary(), 0.8);
}

BOOST_AUTO_TEST_SUITE_END()
