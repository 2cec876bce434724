#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
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
        file_.emplace(path_);
    }

    /// Where lines go that a resume took back: "run/log.abandoned.jsonl" for "run/log.jsonl".
    static std::filesystem::path abandoned_log(std::filesystem::path path) {
        return path.replace_extension(".abandoned.jsonl");
    }

    /// @throws Error, for example when the disk is full; no part of the line is in the file then
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
        append(file_->descriptor, path_, text);
    }

  private:
    /// Opened for lines at its end.
    struct File {
        int descriptor;
        explicit File(std::filesystem::path const &path)
            : descriptor(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) {
            check(descriptor >= 0, path.string(), ": cannot write the log: ", std::strerror(errno));
        }
        File(File const &) = delete;
        File &operator=(File const &) = delete;
        ~File() { ::close(descriptor); }
    };

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
        if (!others.empty()) {
            auto const aside = abandoned_log(path_);
            append(File(aside).descriptor, aside,
                   "{\"abandoned_after_step\":" + std::to_string(last_step) + "}\n" + others);
        }
        std::error_code error;
        if (std::filesystem::file_size(path_, error) == kept.size() && !error)
            return; // nothing to remove
        AtomicFile file(path_);
        file.write(kept);
        file.commit();
    }
    /// Appends all of `text` or nothing: a torn line would spoil the next one.
    static void append(int file, std::filesystem::path const &path, std::string const &text) {
        off_t const before = ::lseek(file, 0, SEEK_END);
        for (std::size_t done = 0; done < text.size();) {
            ssize_t const some = ::write(file, text.data() + done, text.size() - done);
            int const reason = errno;
            if (some < 0 && reason == EINTR)
                continue;
            if (some <= 0 && ::ftruncate(file, before) != 0) {
                // the torn line stays: the next start removes it
            }
            check(some > 0, path.string(), ": cannot write the log: ", std::strerror(reason));
            done += static_cast<std::size_t>(some);
        }
    }

    std::filesystem::path path_;
    std::optional<File> file_;
};

} // namespace protlm::inline v0
