#include <embed/bfloat16.hpp>

#include <protlm/embed/albert.hpp>
#include <protlm/embed/bert.hpp>
#include <protlm/embed/electra.hpp>
#include <protlm/model/albert.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/model/electra.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(bfloat16_encoders)

BOOST_AUTO_TEST_CASE(bert) { check_bfloat16<Bert>("bert"); }
BOOST_AUTO_TEST_CASE(albert) { check_bfloat16<Albert>("albert"); }
BOOST_AUTO_TEST_CASE(electra) { check_bfloat16<Electra>("electra/discriminator"); }

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
