#include <embed/bfloat16.hpp>

#include <protlm/embed/t5.hpp>
#include <protlm/embed/transformer_xl.hpp>
#include <protlm/embed/xlnet.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/model/transformer_xl.hpp>
#include <protlm/model/xlnet.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(bfloat16_relative)

BOOST_AUTO_TEST_CASE(t5) { check_bfloat16<T5>("t5"); }
BOOST_AUTO_TEST_CASE(t5_gated) { check_bfloat16<T5>("t5_gated_untied_shallow"); }
BOOST_AUTO_TEST_CASE(transformer_xl) { check_bfloat16<TransformerXl>("transformer_xl"); }
BOOST_AUTO_TEST_CASE(xlnet) { check_bfloat16<Xlnet>("xlnet_permutation"); }

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
