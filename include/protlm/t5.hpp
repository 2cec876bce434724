#pragma once

// T5: config, model, tokens, objective and generation. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/model/generate.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/model/t5_decoder.hpp>
#include <protlm/objective/span_corruption.hpp>
