#pragma once

#include <protlm/core/progress.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/train/any_optimizer.hpp>
#include <protlm/train/dropout_keys.hpp>
#include <protlm/train/evaluation.hpp>
#include <protlm/train/fingerprint.hpp>
#include <protlm/train/log.hpp>
#include <protlm/train/signals.hpp>
#include <protlm/train/time_budget.hpp>
#include <protlm/train/training_state.hpp>
#include <protlm/train/unigram.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

namespace protlm::inline v0 {

/// How a run ended.
struct TrainingOutcome {
    index_t step = 0, tokens = 0;
    double seconds = 0;
    bool interrupted = false;           ///< by a signal, with a checkpoint to resume from
    std::filesystem::path checkpoint;   ///< the newest
    std::optional<Evaluation> held_out; ///< without held-out proteins, or interrupted: nothing
    double unigram_perplexity = 0;      ///< known on rank 0 where there are held-out proteins
    std::size_t peak_bytes = 0;         ///< of activations on this rank
};

/// The loop of a pre-training run, for any model and objective: data in a shuffled order that does not depend on the
/// number of ranks, steps, evaluation, log, checkpoints, signals, resume.
///
///     Trainer trainer(options, store, "run", model.parameters(), exchange);
///     trainer.resume("auto");
///     trainer.run(loss, [&](CheckpointWriter &folder) { model.write(folder); });
///
/// `loss(context, batch, mask_seed)` is called with Training and Inference contexts and returns a LossValue; where that
/// is a PairedLoss, `loss.counts(batch, mask_seed)` is called, too.
template <Scalar S, ExecutionSpace Exec, Exchange X>
class Trainer {
  public:
    /// @param data  a store, or a store and the model's vocabulary
    /// @param parameters, exchange  as the store, must outlive the trainer
    /// @param output  folder of checkpoints step-XXXXXXXX and of log.jsonl; made where it is missing
    /// @throws Error when an option makes no sense
    Trainer(TrainingOptions options, TrainingData data, std::filesystem::path output, Parameters<S, Exec> &parameters,
            X &exchange, bool quiet = false)
        : options_(std::move(options)), data_(std::move(data)), output_(std::move(output)), parameters_(&parameters),
          exchange_(&exchange), quiet_(quiet || exchange.rank() > 0), packing_(packing(options_)),
          packer_(*data_.store, data_.store->training(), packing_, data_.vocabulary),
          held_out_(data_, packing_, options_.micro_batch, options_.evaluate_tokens), optimizer_(parameters, options_),
          step_(parameters, options_.clip), budget_(options_.steps, options_.minutes * 60) {
        options_.validate();
        state_.cursor = {options_.seed, 0, 0};
        state_.data = data_fingerprint();
        state_.options = to_json(options_);
        if (exchange.rank() == 0) {
            detail::make_folders(output_);
            remove_partial_checkpoints(output_);
        }
    }

    /// Keeps further settings of the run, for example its objective's, in every checkpoint. Before `run`.
    void record(std::string const &name, nlohmann::json settings) { state_.options[name] = std::move(settings); }

    /// Goes on from a checkpoint, collectively. @param from  "auto": the newest complete one in the output folder, if
    /// there is any; "never": none; else the folder of one
    /// @throws Error when the checkpoint is damaged or of another run, or with "never" while there are checkpoints
    void resume(std::string const &from) {
        std::filesystem::path const folder = from == "auto" ? newest() : std::filesystem::path(from);
        if (from == "never" && exchange_->rank() == 0)
            check(list_checkpoints(output_).empty(), output_.string(),
                  ": has checkpoints of an earlier run; resume it, or take another output folder");
        if (from == "never" || folder.empty())
            return;
        if (from != "auto" && exchange_->rank() == 0)
            verify_checkpoint(folder);
        adopt(read_training_state(folder, optimizer_, *parameters_), folder);
        checkpoint_ = folder;
        budget_.resume(state_.step, state_.seconds);
        say("resuming from " + folder.string() + " (step " + std::to_string(state_.step) + ")");
    }

    /// Trains to the end of the budget, or to a signal; writes a checkpoint then. Collective.
    /// @param write_model  writes what a release of the model has into a CheckpointWriter; called on rank 0
    /// @throws Error when ranks disagree at the start, or loss or gradient are not finite: older checkpoints stand then
    template <class LossFunction, class WriteModel>
    TrainingOutcome run(LossFunction &&loss, WriteModel &&write_model) {
        require_agreement();
        start_ = Clock::now();
        started_at_ = state_;
        ScopedSignals const signals;
        Training<Exec> context;
        Inference<Exec> inference(context.exec(), context.pool());
        std::optional<TrainingLog> log;
        if (exchange_->rank() == 0)
            log.emplace(output_ / "log.jsonl", state_.step);
        if (exchange_->rank() == 0 && !held_out_.empty())
            unigram_ =
                unigram_perplexity(*data_.store, data_.vocabulary, data_.store->training(), data_.store->held_out());
        Progress progress("pretrain", "steps", budget_.timed() ? 0.0 : double(options_.steps - state_.step), quiet_);
        bool interrupted = false;
        while (!interrupted && !budget_.finished()) {
            LogEntry entry = train_step(context, loss, signals);
            interrupted = signalled_;
            if (!interrupted && due(options_.evaluate_every))
                evaluate(inference, loss, entry);
            if (log)
                log->write(entry);
            progress.update(double(state_.step - started_at_.step), note(entry));
            if (due(options_.checkpoint_every) && !interrupted)
                save(context.exec(), write_model);
        }
        progress.finish(last_note_);
        return finish(context, inference, loss, write_model, log, interrupted);
    }

    TrainingState const &state() const { return state_; }
    AnyOptimizer<S, Exec> const &optimizer() const { return optimizer_; }

  private:
    using Clock = std::chrono::steady_clock;

    static PackingOptions packing(TrainingOptions const &options) {
        return {options.tokens_per_step, options.max_length, options.proteins_per_example};
    }
    /// What a cursor's position means: the store's training proteins and how examples are made of them; and what the
    /// model's tokens mean.
    std::uint64_t data_fingerprint() const {
        auto const &counts = data_.store->counts();
        std::string text = std::to_string(counts.sequences) + ' ' + std::to_string(counts.residues) + ' ' +
                           std::to_string(counts.held_out) + ' ' + std::to_string(counts.held_out_residues) + ' ' +
                           std::to_string(packing_.max_length) + ' ' + std::to_string(packing_.proteins_per_example) +
                           ' ' + vocabulary_text(data_.vocabulary);
        return fingerprint(std::string_view(text));
    }
    void say(std::string const &text) const {
        if (!quiet_)
            std::fprintf(stderr, "%s\n", text.c_str());
    }
    double seconds() const {
        return started_at_.seconds + std::chrono::duration<double>(Clock::now() - start_).count();
    }
    bool due(index_t every) const { return every > 0 && state_.step % every == 0; }

    /// Rank 0 chooses, all learn the step.
    std::filesystem::path newest() {
        double step_and_one = 0;
        if (exchange_->rank() == 0) {
            auto const latest = latest_checkpoint(output_);
            for (auto const &warning : latest.warnings)
                say(warning);
            step_and_one = latest ? static_cast<double>(latest.step) + 1 : 0;
        }
        exchange_->sum(std::span(&step_and_one, 1));
        return step_and_one > 0 ? output_ / step_folder_name(static_cast<index_t>(step_and_one) - 1)
                                : std::filesystem::path();
    }

    void adopt(TrainingState const &old, std::filesystem::path const &folder) {
        check(old.data == state_.data, folder.string(),
              ": was trained on other data, or with another vocabulary, max_length (", packing_.max_length,
              " now) or proteins_per_example (", packing_.proteins_per_example, " now)");
        check(old.cursor.seed == options_.seed, folder.string(), ": has seed ", old.cursor.seed, ", now it is ",
              options_.seed);
        for (char const *name : {"optimizer", "precision"})
            check(old.options.value(name, "") == state_.options.value(name, ""), folder.string(), ": has ", name, " \"",
                  old.options.value(name, ""), "\", now it is \"", state_.options.value(name, ""), '"');
        state_.step = old.step;
        state_.cursor = old.cursor;
        state_.tokens = old.tokens;
        state_.seconds = old.seconds;
    }

    void require_agreement() {
        exchange_->require_agreement("the options", fingerprint(std::string_view(state_.options.dump())));
        exchange_->require_agreement("the data", state_.data);
        exchange_->require_agreement("the tensors", fingerprint(parameters_->table()));
        exchange_->require_agreement("the weights", fingerprint(*parameters_));
    }

    template <class Context, class LossFunction>
    LogEntry train_step(Context &context, LossFunction &loss, ScopedSignals const &signals) {
        BatchPlan const plan = packer_.plan(state_.cursor);
        std::vector<Batch> batches;
        for (auto const &part : micro_batches(share(plan, exchange_->rank(), exchange_->size()), options_.micro_batch))
            batches.push_back(packer_.build(part));
        double const rate = options_.make_schedule(budget_.total_steps()).learning_rate(state_.step + 1);
        KeyedLoss<LossFunction> const keyed_loss{loss, options_.seed};
        StepResult const result =
            step_(context, batches, keyed_loss, optimizer_, *exchange_, state_.step + 1, rate, [&] {
                return RankNews{signals.received() != 0, seconds()};
            });
        ++state_.step;
        state_.cursor = plan.next;
        state_.tokens += result.tokens;
        state_.seconds = result.news.elapsed;
        signalled_ = result.news.signal;
        budget_.observe(state_.step, result.news.elapsed);
        LogEntry entry = log_entry();
        entry.learning_rate = optimizer_.effective_rate(rate);
        if (result.labelled > 0) {
            entry.loss = result.loss;
            entry.accuracy = result.accuracy;
            entry.gradient_norm = result.gradient_norm;
        }
        return entry;
    }

    template <class Context, class LossFunction>
    void evaluate(Context &inference, LossFunction &loss, LogEntry &entry) {
        if (held_out_.empty())
            return;
        evaluation_ = held_out_(
            inference, [&](auto &c, Batch const &batch) { return loss(c, batch, HeldOut::seed); }, *exchange_);
        evaluated_step_ = entry.step;
        entry.held_out_loss = evaluation_->loss;
        entry.held_out_perplexity = evaluation_->perplexity();
        entry.held_out_accuracy = evaluation_->accuracy;
        entry.held_out_majority = evaluation_->majority;
        entry.unigram_perplexity = unigram_;
    }

    std::string note(LogEntry const &entry) {
        char text[200];
        double const spent = state_.seconds - started_at_.seconds;
        double const speed = spent > 0 ? double(state_.tokens - started_at_.tokens) / spent : 0;
        std::snprintf(text, sizeof(text), "step %lld, loss %.3f, accuracy %.1f %%, %s/s", (long long)entry.step,
                      entry.loss.value_or(0), 100 * entry.accuracy.value_or(0), format_amount(speed, "tokens").c_str());
        last_note_ = text;
        if (evaluation_) {
            std::snprintf(text, sizeof(text), ", held-out perplexity %.2f (unigram %.2f)", evaluation_->perplexity(),
                          unigram_);
            last_note_ += text;
        }
        return budget_.timed() ? last_note_ + ", " + format_duration(budget_.seconds_left()) + " left" : last_note_;
    }

    /// Rank 0 writes; the others meet it at the next step.
    template <class WriteModel>
    void save(Exec const &exec, WriteModel &write_model) {
        step_.require_finite_weights(exec, state_.step);
        checkpoint_ = output_ / step_folder_name(state_.step);
        if (exchange_->rank() > 0)
            return;
        CheckpointWriter folder(checkpoint_);
        write_model(folder);
        write_vocabulary(folder);
        write_training_state(folder, state_, optimizer_, *parameters_);
        folder.commit();
        prune_checkpoints(output_, options_.keep);
    }

    /// Into the checkpoint, and beside each model where it holds several.
    void write_vocabulary(CheckpointWriter const &checkpoint) const {
        auto const text = vocabulary_text(data_.vocabulary);
        checkpoint.write("vocab.txt", text);
        for (auto const &entry : std::filesystem::directory_iterator((checkpoint / "vocab.txt").parent_path()))
            if (entry.is_directory())
                checkpoint.write((entry.path().filename() / "vocab.txt").string(), text);
    }

    LogEntry log_entry() const {
        LogEntry entry;
        entry.step = state_.step;
        entry.tokens = state_.tokens;
        entry.seconds = state_.seconds;
        return entry;
    }

    template <class Context, class Other, class LossFunction, class WriteModel>
    TrainingOutcome finish(Context &context, Other &inference, LossFunction &loss, WriteModel &write_model,
                           std::optional<TrainingLog> &log, bool interrupted) {
        if (checkpoint_ != output_ / step_folder_name(state_.step) && state_.step > started_at_.step)
            save(context.exec(), write_model);
        if (!interrupted && evaluated_step_ != state_.step && !held_out_.empty()) {
            LogEntry entry = log_entry();
            evaluate(inference, loss, entry);
            if (log)
                log->write(entry);
        }
        return {.step = state_.step,
                .tokens = state_.tokens,
                .seconds = state_.seconds,
                .interrupted = interrupted,
                .checkpoint = checkpoint_,
                .held_out = interrupted ? std::nullopt : evaluation_,
                .unigram_perplexity = unigram_,
                .peak_bytes = context.pool().statistics().peak_bytes};
    }

    TrainingOptions options_;
    TrainingData data_;
    std::filesystem::path output_, checkpoint_;
    Parameters<S, Exec> *parameters_;
    X *exchange_;
    bool quiet_, signalled_ = false;
    PackingOptions packing_;
    Packer packer_;
    HeldOut held_out_;
    AnyOptimizer<S, Exec> optimizer_;
    GradientStep<S, Exec> step_;
    TimeBudget budget_;
    TrainingState state_, started_at_;
    Clock::time_point start_;
    std::optional<Evaluation> evaluation_;
    index_t evaluated_step_ = -1;
    double unigram_ = 0;
    std::string last_note_;
};

} // namespace protlm::inline v0
