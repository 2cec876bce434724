#pragma once

// ELECTRA: configs, generator and discriminator, tokens, packing, objective and embeddings. Needs neither MPI nor HDF5.

#include <protlm/core/version.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/electra.hpp>
#include <protlm/embed/embed.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/objective/replaced.hpp>
