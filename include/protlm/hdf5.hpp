#pragma once

// Opt-in: embedding files, which need HDF5 (CMake target protlm::hdf5).

#include <protlm/io/embedding_file.hpp>
#include <protlm/io/embedding_work_file.hpp>
#include <protlm/io/hdf5_dataset.hpp>
#include <protlm/io/hdf5_file.hpp>
