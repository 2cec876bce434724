#pragma once

#include <protlm/model/albert.hpp>
#include <reference/check_encoder.hpp>

namespace protlm::test {

/// A case of ALBERT.
template <class S, class Exec>
using AlbertCheck = EncoderCheck<Albert<S, Exec>>;

} // namespace protlm::test
