#pragma once

#include <protlm/embed/job_model.hpp>
#include <protlm/embed/proteins.hpp>
#include <protlm/io/embedding_info.hpp>
#include <protlm/io/sha256.hpp>

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>

namespace protlm::inline v0 {

/// What a job of embedding computes from what, as names and values. Two jobs of equal descriptions write equal files,
/// so the one may go on where the other stopped.
class JobDescription {
  public:
    /// @param info  all but `job`; an empty model_sha256 is one that is not known yet
    JobDescription(EmbeddingInfo const &info, JobModel const &model, Proteins const &proteins) {
        std::string const yes = "yes", no = "no";
        values_ = {{model_key, info.model_sha256},
                   {"format", format},
                   {"weights", digits(model.weights)},
                   {"vocabulary", vocabulary_checksum(model.vocabulary)},
                   {"special_tokens", special_tokens_text(model.vocabulary)},
                   {"proteins", std::to_string(proteins.size())},
                   {"residues", std::to_string(proteins.residues())},
                   {"ids", digits(proteins.ids_checksum())},
                   {"sequences", digits(proteins.residues_checksum())},
                   {"layers", detail::layers_text(info.layers)},
                   {"pooling", info.pooling},
                   {"per_residue", info.per_residue ? yes : no},
                   {"precision", precision_name(info.precision)},
                   {"layout", layout_name(info.layout)},
                   {"compression", std::to_string(info.gzip)},
                   {"on_long", info.on_long},
                   {"window", std::to_string(info.window)},
                   {"overlap", std::to_string(info.overlap)},
                   {"compute", model.compute},
                   {"width", std::to_string(info.width)},
                   {"protlm_version", PROTLM_VERSION_STRING}};
        for (auto const &[field, value] : model.config.items())
            values_["config." + field] = value.dump();
    }
    /// Reads what `write` wrote. @throws Error when it is no description
    static JobDescription read(std::filesystem::path const &path) { return from_json(read_json(path), path.string()); }
    /// Reads what `text` gave. @param where  named in messages
    static JobDescription parse(std::string const &text, std::string const &where) {
        return from_json(nlohmann::json::parse(text), where);
    }

    void set_model(std::string sha256) { values_[model_key] = std::move(sha256); }
    std::string model_sha256() const { return value_of(model_key); }

    /// The description as JSON.
    std::string text() const { return json().dump(); }
    /// Writes it, atomically. @throws Error
    void write(std::filesystem::path const &path) const { write_json(path, json()); }

    /// 64 hexadecimal digits that are equal for equal descriptions only.
    std::string fingerprint() const { return hash(true); }
    /// The same of all but the model's SHA-256, which is known late; 64 bits, by which journals know their job.
    std::uint64_t key() const { return std::stoull(hash(false).substr(0, 16), nullptr, 16); }

    /// Whether it is of a protlm whose descriptions held less, so that more may differ than is told.
    bool is_old() const { return value_of("format") != format; }

    /// "NAME was A and is B; ..." for what differs from an earlier job; empty when nothing does.
    std::string differences(JobDescription const &earlier) const {
        return compare(earlier, "; ", [](std::string const &name, std::string const &before, std::string const &now) {
            return name + " was " + before + " and is " + now;
        });
    }
    /// "NAME A instead of B, ...": what differs from the first process's.
    std::string instead_of(JobDescription const &first) const {
        return compare(first, ", ", [](std::string const &name, std::string const &wanted, std::string const &is) {
            return name + ' ' + is + " instead of " + wanted;
        });
    }

  private:
    static constexpr char const *format = "2"; // of descriptions: 2 since they hold config and vocabulary
    static constexpr char const *model_key = "model_sha256";

    JobDescription() = default;

    static JobDescription from_json(nlohmann::json const &document, std::string const &where) {
        check(document.is_object(), where, ": is no object");
        JobDescription description;
        for (auto const &[name, value] : document.items()) {
            check(value.is_string(), where, ": ", name, " is no string");
            description.values_[name] = value.get<std::string>();
        }
        return description;
    }
    nlohmann::json json() const { return values_; }

    std::string hash(bool with_model) const {
        Sha256 hash;
        for (auto const &[name, value] : values_)
            for (auto const *text : {&name, &value}) {
                if (name == model_key && !with_model)
                    continue;
                hash.update(std::as_bytes(std::span(*text)));
                hash.update(std::as_bytes(std::span("\n", 1)));
            }
        return hash.hex();
    }

    std::string value_of(std::string const &name) const {
        auto const at = values_.find(name);
        return at == values_.end() ? std::string() : at->second;
    }

    template <class Say>
    std::string compare(JobDescription const &other, char const *between, Say say) const {
        std::string text;
        auto const known = [](std::string const &value) { return value.empty() ? "not known" : value; };
        auto const tell = [&](std::string const &name) {
            auto const there = other.value_of(name), here = value_of(name);
            if (there != here)
                text += (text.empty() ? "" : between) + say(name, known(there), known(here));
        };
        for (auto const &[name, value] : values_)
            tell(name);
        for (auto const &[name, value] : other.values_)
            if (value_of(name).empty()) // those that both have were told above
                tell(name);
        return text;
    }

    static std::string digits(std::uint64_t number) {
        std::string text(16, '0');
        for (std::size_t i = 16; i-- > 0; number >>= 4)
            text[i] = "0123456789abcdef"[number & 15];
        return text;
    }

    /// Of all pieces, and of what each letter is read as.
    static std::string vocabulary_checksum(Vocabulary const &vocabulary) {
        std::uint64_t sum = checksum64(std::as_bytes(std::span(vocabulary.residue_table)));
        for (auto const &piece : vocabulary.pieces)
            sum = checksum64(std::as_bytes(std::span(piece)), sum);
        return digits(sum);
    }
    /// "[CLS] ... [SEP]": what stands around a protein.
    static std::string special_tokens_text(Vocabulary const &vocabulary) {
        auto const piece = [&](std::int32_t id) {
            return id < 0 ? std::string() : vocabulary.pieces[static_cast<std::size_t>(id)] + ' ';
        };
        auto const behind = piece(vocabulary.separator) + piece(vocabulary.end);
        return piece(vocabulary.begin) + "..." + (behind.empty() ? "" : ' ' + behind.substr(0, behind.size() - 1));
    }

    std::map<std::string, std::string> values_;
};

} // namespace protlm::inline v0
