#pragma once

// ALBERT: config, model, tokens, packing, objective and embeddings. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/albert.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/model/albert.hpp>
#include <protlm/objective/masked.hpp>
