#pragma once

// BERT: config, model, tokens, packing, objective and embeddings. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/bert.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/objective/masked.hpp>
