#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/weights_checksum.hpp>
#include <protlm/io/json.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace protlm::inline v0 {

/// The model of a job, as far as values depend on it and it is known before the SHA-256 of its files.
struct JobModel {
    std::string compute = "float32";                  ///< what it computes in: "float32", ...
    std::uint64_t weights = 0;                        ///< weights_checksum
    nlohmann::json config = nlohmann::json::object(); ///< as it was understood: to_json(model.config())
    Vocabulary vocabulary{};                          ///< with the special tokens that stand around a protein
};

/// Of a model that is loaded. @param compute  "float32", ...
template <class Model>
JobModel job_model(Model const &model, Vocabulary vocabulary, std::string compute) {
    return {std::move(compute), weights_checksum(model.parameters()), to_json(model.config()), std::move(vocabulary)};
}

} // namespace protlm::inline v0
