#include <models/encoder.hpp>
#include <protlm/embed/team.hpp>
#include <protlm/io/json.hpp>

namespace examples {

namespace {

Encoder open_by_family(std::filesystem::path const &folder, EncoderOptions const &options) {
    auto const file = folder / "config.json";
    auto const family = protlm::read_fields(file).required<std::string>("model_type");
    using Open = Encoder (*)(std::filesystem::path const &, EncoderOptions const &);
    std::pair<char const *, Open> const families[]{{"bert", open_bert},       {"albert", open_albert},
                                                   {"electra", open_electra}, {"t5", open_t5},
                                                   {"xlnet", open_xlnet},     {"transfo-xl", open_transformer_xl}};
    for (auto const &[name, open] : families)
        if (family == name)
            return open(folder, options);
    protlm::fail(file.string(), ": model_type: is \"", family,
                 "\", expected \"bert\", \"albert\", \"electra\", \"t5\", \"xlnet\" or \"transfo-xl\"");
}

} // namespace

Encoder open_encoder(std::filesystem::path const &path, EncoderOptions const &options) {
    return protlm::EmbeddingTeam().open_model(
        path, [&](std::filesystem::path const &folder) { return open_by_family(folder, options); });
}

} // namespace examples
