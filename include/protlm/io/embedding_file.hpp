#pragma once

// Embedding files: EmbeddingInfo says what is in one, EmbeddingWriter and EmbeddingReader write and read one.
// docs/formats.md describes their layouts.

#include <protlm/io/embedding_copy.hpp>
#include <protlm/io/embedding_info.hpp>
#include <protlm/io/embedding_reader.hpp>
#include <protlm/io/embedding_writer.hpp>
