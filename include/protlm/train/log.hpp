#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

namespace protlm::inline v0 {

/// One line of the log; what is not known is left out.
struct LogEntry {
    index_t step = 0;
    std::optional<double> loss, accuracy; ///< of the step's batch, over labelled tokens
    std::optional<double> held_out_loss, held_out_accuracy;
    std::optional<double> held_out_perplexity;          ///< of tokens: of a discriminator's generator
    std::optional<double> held_out_majority;            ///< what a discriminator's accuracy must beat
    std::optional<double> unigram_perplexity;           ///< of held-out residues, what the model must beat
    std::optional<double> learning_rate, gradient_norm; ///< norm before clipping
    std::string skipped;                                ///< why the step changed nothing; empty: it did
    index_t tokens = 0;                                 ///< all tokens of the run so far, all ranks
    double seconds = 0;                                 ///< of the run so far, resumed parts included
};

/// Training curves as JSON lines: one object a line, flushed, so that a killed run leaves all it knew. Read it with any
/// JSON library line by line, for example `pandas.read_json(path, lines=True)`.
class TrainingLog {
  public:
    /// Appends to `path`. Lines of steps after `last_step`, which a resumed run makes again, are first moved to the
    /// end of the file abandoned_log(path), under a line {"abandoned_after_step": `last_step`}.
    /// @param last_step  -1: none of the lines are of this run
    /// @throws Error when a file cannot be written; the log is as it was then
    TrainingLog(std::filesystem::path path, index_t last_step) : path_(std::move(path)) {
        bool const exists = std::filesystem::exists(path_);
        check(!exists || std::filesystem::is_regular_file(path_), path_.string(),
              ": not a regular file"); // a pipe waits
        if (exists)
            keep_until(last_step);
        file_ = std::fopen(path_.c_str(), "ae");
        check(file_, path_.string(), ": cannot write the log: ", std::strerror(errno));
    }
    TrainingLog(TrainingLog const &) = delete;
    TrainingLog &operator=(TrainingLog const &) = delete;
    ~TrainingLog() {
        if (file_)
            std::fclose(file_);
    }

    /// Where lines go that a resume took back: "run/log.abandoned.jsonl" for "run/log.jsonl".
    static std::filesystem::path abandoned_log(std::filesystem::path path) {
        return path.replace_extension(".abandoned.jsonl");
    }

    /// @throws Error, for example when the disk is full
    void write(LogEntry const &entry) {
        nlohmann::ordered_json line;
        line["step"] = entry.step;
        put(line, "loss", entry.loss);
        put(line, "accuracy", entry.accuracy);
        put(line, "held_out_loss", entry.held_out_loss);
        put(line, "held_out_perplexity", entry.held_out_perplexity);
        put(line, "held_out_accuracy", entry.held_out_accuracy);
        put(line, "held_out_majority", entry.held_out_majority);
        put(line, "unigram_perplexity", entry.unigram_perplexity);
        put(line, "learning_rate", entry.learning_rate);
        put(line, "gradient_norm", entry.gradient_norm);
        if (!entry.skipped.empty())
            line["skipped"] = entry.skipped;
        line["tokens"] = entry.tokens;
        line["seconds"] = std::round(entry.seconds * 1000) / 1000;
        std::string const text = line.dump() + '\n';
        bool const written = std::fwrite(text.data(), 1, text.size(), file_) == text.size() && std::fflush(file_) == 0;
        check(written, path_.string(), ": cannot write the log: ", std::strerror(errno));
    }

  private:
    static void put(nlohmann::ordered_json &line, char const *name, std::optional<double> value) {
        if (value)
            line[name] = *value;
    }

    /// A last line that a crash cut off goes for good.
    void keep_until(index_t last_step) const {
        std::ifstream old(path_);
        std::string kept, others, line;
        while (std::getline(old, line)) {
            auto const json = nlohmann::json::parse(line, nullptr, false);
            if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer())
                continue;
            (json["step"].get<index_t>() <= last_step ? kept : others) += line + '\n';
        }
        check(!old.bad(), path_.string(), ": cannot read the log: ", std::strerror(errno));
        if (!others.empty())
            append(abandoned_log(path_), "{\"abandoned_after_step\":" + std::to_string(last_step) + "}\n" + others);
        AtomicFile file(path_);
        file.write(kept);
        file.commit();
    }
    static void append(std::filesystem::path const &path, std::string const &text) {
        std::FILE *const file = std::fopen(path.c_str(), "ae");
        check(file, path.string(), ": cannot write the log: ", std::strerror(errno));
        bool const written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
        int const reason = errno;
        bool const closed = std::fclose(file) == 0;
        check(written && closed, path.string(), ": cannot write the log: ", std::strerror(written ? errno : reason));
    }

    std::filesystem::path path_;
    std::FILE *file_ = nullptr;
};

} // namespace protlm::inline v0
