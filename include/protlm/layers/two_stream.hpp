#pragma once

#include <protlm/core/tensor.hpp>

namespace protlm::inline v0 {

/// Hidden states of two-stream attention: those of tokens that know themselves, which serve as keys and values, and
/// those of the tokens to be predicted, which know their place only. Yang et al., arXiv 1906.08237, section 2.3.
template <class A, class Exec>
struct TwoStreams {
    Tensor<A, Exec> content; // (T, C)
    Tensor<A, Exec> query;   // (R, C), a row a target
};

} // namespace protlm::inline v0
