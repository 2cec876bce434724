#pragma once

// ALBERT: config, model, tokens, packing and objective. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/model/albert.hpp>
#include <protlm/objective/masked.hpp>
