#pragma once

// XLNet: config, model, tokens, packing and objective. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/model/xlnet.hpp>
#include <protlm/objective/permutation.hpp>
