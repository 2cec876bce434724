#pragma once

// A model of any of the six families behind one type, so that drivers are compiled without a model and take any
// checkpoint. Defined over one source file a family; the library protlm_example_models holds them.

#include <protlm/embed/forecast.hpp>
#include <protlm/embed/job_model.hpp>
#include <protlm/embed/model_folder.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// How a checkpoint is opened.
struct EncoderOptions {
    std::string precision = "float32"; ///< of the weights in memory: "float32", "bfloat16" or "float16"
    protlm::EmbedOptions embed{};
};

/// The encoder of a checkpoint and what embeds with it; computes in float, whatever the precision of the weights.
class Encoder {
  public:
    using Embedding = protlm::ProteinEmbedding<float>;
    using Sink = std::function<void(Embedding const &)>;

    /// What is known of a model once it is loaded.
    struct Description {
        std::string family;           ///< config.json's model_type
        std::string precision;        ///< of the weights
        std::filesystem::path folder; ///< with config.json
        protlm::EncoderShape shape{};
        protlm::Windows windows{}; ///< of proteins that are too long
        protlm::Vocabulary vocabulary;
        protlm::EmbedOptions options{}; ///< with the layers that negative numbers stand for
        protlm::index_t parameters = 0;
        std::vector<std::string> notes{}; ///< what its user should be told of its weights
    };
    using Forecast = std::function<protlm::MemoryForecast(protlm::Proteins const &)>;
    using Embed = std::function<void(protlm::Proteins const &, std::vector<protlm::index_t>, Sink const &)>;
    using Identify = std::function<protlm::JobModel()>;

    Encoder(Description description, Forecast forecast, Embed embed, Identify identify)
        : description_(std::move(description)), forecast_(std::move(forecast)), embed_(std::move(embed)),
          identify_(std::move(identify)) {}
    Encoder(Encoder const &) = delete;
    Encoder &operator=(Encoder const &) = delete;
    Encoder(Encoder &&) = default;
    Encoder &operator=(Encoder &&) = default;

    std::string const &family() const { return description_.family; }
    std::string const &precision() const { return description_.precision; }
    std::filesystem::path const &folder() const { return description_.folder; }
    protlm::EncoderShape const &shape() const { return description_.shape; }
    protlm::Windows const &windows() const { return description_.windows; }
    protlm::Vocabulary const &vocabulary() const { return description_.vocabulary; }
    protlm::EmbedOptions const &options() const { return description_.options; }
    protlm::index_t parameters() const { return description_.parameters; } ///< weights in memory
    std::vector<std::string> const &notes() const { return description_.notes; }
    /// Special tokens around each protein or window.
    protlm::index_t special() const { return protlm::special_tokens(vocabulary(), 1); }

    /// Memory that embedding `proteins` will take.
    protlm::MemoryForecast forecast(protlm::Proteins const &proteins) const { return forecast_(proteins); }
    /// The proteins that `rank` of `ranks` processes embeds, ascending: see protlm::share_proteins.
    std::vector<protlm::index_t> share(protlm::Proteins const &proteins, protlm::index_t rank,
                                       protlm::index_t ranks) const {
        return protlm::share_proteins(proteins.lengths(), shape(), special(), rank, ranks, windows());
    }
    /// What tells this model from others; goes over all weights.
    protlm::JobModel job_model() const { return identify_(); }
    /// Calls `sink` once for each of the proteins `members`, long ones first. @throws protlm::Error as Embedder
    void embed(protlm::Proteins const &proteins, std::vector<protlm::index_t> members, Sink const &sink) {
        embed_(proteins, std::move(members), sink);
    }

  private:
    Description description_;
    Forecast forecast_;
    Embed embed_;
    Identify identify_;
};

/// Opens the encoder of a checkpoint, or of the newest checkpoint of a run, by config.json's model_type: bert, albert,
/// electra, t5, xlnet or transfo-xl. Decoders and heads are not read.
/// @throws protlm::Error naming the file and what is wrong with it
Encoder open_encoder(std::filesystem::path const &path, EncoderOptions const &options = {});

/// The families, each in a source file of its own. @param folder  with config.json
Encoder open_bert(std::filesystem::path const &folder, EncoderOptions const &options);
Encoder open_albert(std::filesystem::path const &folder, EncoderOptions const &options);
Encoder open_electra(std::filesystem::path const &folder, EncoderOptions const &options);
Encoder open_t5(std::filesystem::path const &folder, EncoderOptions const &options);
Encoder open_xlnet(std::filesystem::path const &folder, EncoderOptions const &options);
Encoder open_transformer_xl(std::filesystem::path const &folder, EncoderOptions const &options);

} // namespace examples
