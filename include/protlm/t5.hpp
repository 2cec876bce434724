#pragma once

// T5: config, model, tokens, objective, generation and embeddings. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/embed/t5.hpp>
#include <protlm/model/generate.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/model/t5_decoder.hpp>
#include <protlm/objective/span_corruption.hpp>
