#pragma once

// Everything that needs neither MPI nor HDF5: models, training and embeddings. For MPI <protlm/distributed.hpp>, for
// HDF5 <protlm/hdf5.hpp>.

#include <protlm/albert.hpp>
#include <protlm/bert.hpp>
#include <protlm/core/progress.hpp>
#include <protlm/data/fasta.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/data/sampling.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>
#include <protlm/electra.hpp>
#include <protlm/embed/forecast.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/embed/principal_components.hpp>
#include <protlm/embed/read_proteins.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/t5.hpp>
#include <protlm/train/trainer.hpp>
#include <protlm/train/training_options.hpp>
#include <protlm/transformer_xl.hpp>
#include <protlm/xlnet.hpp>
