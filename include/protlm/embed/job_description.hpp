#pragma once

#include <protlm/embed/proteins.hpp>
#include <protlm/io/embedding_info.hpp>
#include <protlm/io/json.hpp>
#include <protlm/io/sha256.hpp>

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What a job of embedding computes from what, as names and values. Two jobs of equal descriptions write equal files,
/// so the one may go on where the other stopped.
class JobDescription {
  public:
    /// @param info  all but `job`; an empty model_sha256 is one that is not known yet
    /// @param compute  what the model computes in: "float32", ...
    JobDescription(EmbeddingInfo const &info, Proteins const &proteins, std::string const &compute) {
        std::string const yes = "yes", no = "no";
        values_ = {{"model_sha256", info.model_sha256},
                   {"input_sha256", input_sha256(proteins)},
                   {"proteins", std::to_string(proteins.size())},
                   {"residues", std::to_string(proteins.residues())},
                   {"layers", detail::layers_text(info.layers)},
                   {"pooling", info.pooling},
                   {"per_residue", info.per_residue ? yes : no},
                   {"precision", precision_name(info.precision)},
                   {"layout", layout_name(info.layout)},
                   {"compression", std::to_string(info.gzip)},
                   {"compute", compute},
                   {"width", std::to_string(info.width)},
                   {"protlm_version", PROTLM_VERSION_STRING}};
    }
    /// Reads what `write` wrote. @throws Error when it is no description
    static JobDescription read(std::filesystem::path const &path) {
        auto const document = read_json(path);
        check(document.is_object(), path.string(), ": is no object");
        JobDescription description;
        for (auto const &[name, value] : document.items()) {
            check(value.is_string(), path.string(), ": ", name, " is no string");
            description.values_.emplace_back(name, value.get<std::string>());
        }
        return description;
    }

    void set_model(std::string sha256) { values_.front().second = std::move(sha256); }
    std::string const &model_sha256() const { return values_.front().second; }

    /// Writes the description as JSON, atomically. @throws Error
    void write(std::filesystem::path const &path) const {
        nlohmann::json document = nlohmann::json::object();
        for (auto const &[name, value] : values_)
            document[name] = value;
        write_json(path, document);
    }

    /// 64 hexadecimal digits that are equal for equal descriptions only.
    std::string fingerprint() const {
        Sha256 hash;
        for (auto const &[name, value] : values_)
            for (auto const *text : {&name, &value}) {
                hash.update(std::as_bytes(std::span(*text)));
                hash.update(std::as_bytes(std::span("\n", 1)));
            }
        return hash.hex();
    }

    /// "NAME was A and is B; ..." for what differs from an earlier job; empty when nothing does.
    std::string differences(JobDescription const &earlier) const {
        std::string text;
        for (auto const &[name, value] : values_) {
            std::string before;
            for (auto const &[other, there] : earlier.values_)
                if (other == name)
                    before = there;
            if (before != value)
                text += (text.empty() ? "" : "; ") + name + " was " + (before.empty() ? "not known" : before) +
                        " and is " + value;
        }
        return text;
    }

  private:
    JobDescription() = default;

    /// Of ids and tokens of all proteins in their order.
    static std::string input_sha256(Proteins const &proteins) {
        Sha256 hash;
        for (index_t i = 0; i < proteins.size(); ++i) {
            std::array<index_t, 2> const sizes{static_cast<index_t>(proteins.id(i).size()), proteins.length(i)};
            hash.update(std::as_bytes(std::span(sizes)));
            hash.update(std::as_bytes(std::span(proteins.id(i))));
            hash.update(std::as_bytes(proteins.tokens(i)));
        }
        return hash.hex();
    }

    std::vector<std::pair<std::string, std::string>> values_;
};

} // namespace protlm::inline v0
