// Embedding with ALBERT and ELECTRA as with BERT.

#include <model/electra_models.hpp>
#include <protlm/embed/albert.hpp>
#include <protlm/embed/electra.hpp>
#include <protlm/embed/embedding_model.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

BOOST_AUTO_TEST_SUITE(encoder_shapes)

BOOST_AUTO_TEST_CASE(albert_and_electra_can_be_embedded_with) {
    static_assert(EmbeddingModel<Albert<>> && EmbeddingModel<Electra<>>);
    auto const check_shape = [](auto const &config) {
        auto const shape = encoder_shape(config);
        BOOST_TEST(shape.width == 24);
        BOOST_TEST(shape.layers == 3); // as hidden_state counts them
        BOOST_TEST(shape.heads == 3);
        BOOST_TEST(shape.inner == 40);
        BOOST_TEST(shape.positions == 40);
    };
    auto albert = small_factored_config<AlbertConfig>();
    albert.inner_group_num = 2;
    check_shape(albert);
    check_shape(small_factored_config<ElectraConfig>());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
