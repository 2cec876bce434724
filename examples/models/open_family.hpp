#pragma once

// What the source files of the families have in common.

#include <models/encoder.hpp>

#include <memory>

namespace examples {

/// The encoder of one family with weights of one scalar.
template <class Model>
Encoder open_scalar(std::filesystem::path const &folder, std::string const &family, EncoderOptions const &options) {
    struct Parts {
        Parts(std::filesystem::path const &from, std::string const &type, protlm::EmbedOptions const &wanted)
            : model(Model::load_encoder(from)),
              embedder(model, protlm::read_model_vocabulary(from, model.config().vocab_size, type), wanted) {}
        Model model;
        protlm::Embedder<Model> embedder;
    };
    auto const parts = std::make_shared<Parts>(folder, family, options.embed);
    auto const parameters = parts->model.parameters().table().extent();
    return {{.family = family,
             .precision = options.precision,
             .folder = folder,
             .shape = parts->embedder.shape(),
             .windows = parts->embedder.windows(),
             .vocabulary = parts->embedder.vocabulary(),
             .options = parts->embedder.options(),
             .parameters = parameters,
             .notes = parts->model.parameters().notes()},
            [parts, parameters](protlm::Proteins const &proteins) {
                return protlm::forecast_embedding(parts->embedder, proteins, parameters);
            },
            [parts](protlm::Proteins const &proteins, std::vector<protlm::index_t> members, Encoder::Sink const &sink) {
                parts->embedder(proteins, std::move(members), sink);
            },
            [parts, precision = options.precision] {
                return protlm::job_model(parts->model, parts->embedder.vocabulary(), precision);
            }};
}

/// The encoder of one family in the precision asked for. @throws protlm::Error for a precision that is none
template <template <class, class> class Model>
Encoder open_family(std::filesystem::path const &folder, std::string const &family, EncoderOptions const &options) {
    using Exec = Kokkos::DefaultExecutionSpace;
    if (options.precision == "bfloat16")
        return open_scalar<Model<protlm::bfloat16, Exec>>(folder, family, options);
    if (options.precision == "float16")
        return open_scalar<Model<protlm::half, Exec>>(folder, family, options);
    protlm::check(options.precision == "float32", "precision: is \"", options.precision,
                  "\", expected \"float32\", \"bfloat16\" or \"float16\"");
    return open_scalar<Model<float, Exec>>(folder, family, options);
}

} // namespace examples
