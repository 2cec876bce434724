#pragma once

// Transformer-XL: config, model, tokens, packing, objectives, generation and embeddings. Needs
// neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/embed/transformer_xl.hpp>
#include <protlm/model/generate.hpp>
#include <protlm/model/recurrent_decoder.hpp>
#include <protlm/model/transformer_xl.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/objective/permutation.hpp>
