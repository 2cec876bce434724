#pragma once

#include <protlm/model/bert.hpp>
#include <reference/check_encoder.hpp>

namespace protlm::test {

/// A case of BERT.
template <class S, class Exec>
using BertCheck = EncoderCheck<Bert<S, Exec>>;

} // namespace protlm::test
