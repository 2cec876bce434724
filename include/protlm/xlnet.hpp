#pragma once

// XLNet: config, model, tokens, packing, objective and embeddings. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/embed/xlnet.hpp>
#include <protlm/model/xlnet.hpp>
#include <protlm/objective/permutation.hpp>
