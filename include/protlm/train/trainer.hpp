#pragma once

#include <protlm/core/progress.hpp>
#include <protlm/data/packing.hpp>
#include <protlm/train/any_optimizer.hpp>
#include <protlm/train/dropout_keys.hpp>
#include <protlm/train/evaluation.hpp>
#include <protlm/train/log.hpp>
#include <protlm/train/resume.hpp>
#include <protlm/train/run_folder.hpp>
#include <protlm/train/signals.hpp>
#include <protlm/train/time_budget.hpp>
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
    index_t skipped = 0;                ///< steps that changed nothing because something was not finite
    bool interrupted = false;           ///< by a signal, with a checkpoint to resume from where a step was made
    std::filesystem::path checkpoint;   ///< the newest; empty where there is none
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
    /// @throws Error when an option makes no sense, or another process is at work in `output`
    Trainer(TrainingOptions options, TrainingData data, std::filesystem::path output, Parameters<S, Exec> &parameters,
            X &exchange, bool quiet = false)
        : options_(std::move(options)), data_(std::move(data)), output_(std::move(output)), parameters_(&parameters),
          exchange_(&exchange), notes_(exchange.rank() > 0, quiet), packing_(packing(options_)),
          packer_(*data_.store, training_proteins(*data_.store), packing_, data_.vocabulary),
          held_out_(data_, packing_, options_.micro_batch, options_.evaluate_tokens), optimizer_(parameters, options_),
          step_(parameters, options_.clip), budget_(options_.steps, options_.minutes * 60) {
        options_.validate();
        state_.cursor = {options_.seed, 0, 0};
        state_.data = data_fingerprint(data_, packing_);
        state_.store = store_fingerprint(*data_.store);
        state_.options = to_json(options_);
        if (exchange.rank() == 0)
            folder_.emplace(output_);
    }

    /// Keeps further settings of the run, for example its objective's, in every checkpoint. Before `run`.
    void record(std::string const &name, nlohmann::json settings) { state_.options[name] = std::move(settings); }

    /// Goes on from a checkpoint, collectively.
    /// @param from  "auto": the newest complete one in the output folder, if there is any; "never": none; else the
    ///              folder of one, or of a run, of which it is the newest
    /// @param allowed  names of settings that may differ from the checkpoint's, see setting_rule
    /// @throws Error when the checkpoint is damaged or of another run, or with "never" while there are checkpoints
    void resume(std::string const &from, std::vector<std::string> const &allowed = {}) {
        check_setting_names(allowed, flat_settings(state_.options));
        std::vector<std::string> warnings;
        if (folder_)
            start_from_ = folder_->starting_point(from, warnings);
        for (auto const &warning : warnings)
            notes_.warn(warning);
        start_from_ = shared_starting_point(start_from_, from, output_, *exchange_);
        if (start_from_.folder.empty())
            return;
        TrainingState const old = read_training_state(start_from_.folder);
        check_resume(old, state_, start_from_.folder.string(), data_.store->name(), allowed, notes_);
        state_ = continued(old, state_);
        read_training_arrays(start_from_.folder, old, optimizer_, *parameters_);
        checkpoint_ = start_from_.folder;
        budget_.resume(state_.step, state_.seconds);
        notes_.say("resuming from " + checkpoint_.string() + " (step " + std::to_string(state_.step) + ")");
    }

    /// Trains to the end of the budget, or to a signal; writes a checkpoint then. Collective.
    /// @param write_model  writes what a release of the model has into a CheckpointWriter; called on rank 0
    /// @throws Error when ranks disagree at the start, or loss or gradient are not finite: older checkpoints stand then
    template <class LossFunction, class WriteModel>
    TrainingOutcome run(LossFunction &&loss, WriteModel &&write_model) {
        require_agreement();
        ScopedSignals const signals;
        start_ = Clock::now();
        started_at_ = state_;
        Training<Exec> context;
        Inference<Exec> inference(context.exec(), context.pool());
        step_.require_finite_weights(context.exec(), state_.step);
        if (heard_anywhere(signals))
            return outcome(context, true);
        std::optional<TrainingLog> log;
        if (folder_)
            begin(log);
        Progress progress("pretrain", "steps", budget_.timed() ? 0.0 : double(options_.steps - state_.step),
                          notes_.quiet());
        bool interrupted = false;
        while (!interrupted && !budget_.finished()) {
            LogEntry entry = train_step(context, loss, signals);
            interrupted = signalled_;
            if (!interrupted && due(options_.evaluate_every))
                evaluate(inference, loss, entry);
            if (log)
                record(*log, entry, context.exec(), write_model);
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
    double seconds() const {
        return started_at_.seconds + std::chrono::duration<double>(Clock::now() - start_).count();
    }
    bool due(index_t every) const { return every > 0 && state_.step % every == 0; }

    void require_agreement() {
        protlm::require_agreement(state_, *exchange_);
        exchange_->require_agreement("the tensors", fingerprint(parameters_->table()));
        exchange_->require_agreement("the weights", fingerprint(*parameters_));
    }

    /// Whether some rank has heard a signal so far. Collective.
    bool heard_anywhere(ScopedSignals const &signals) {
        double heard = signals.received() != 0 ? 1 : 0;
        exchange_->sum(std::span(&heard, 1));
        return heard > 0;
    }

    /// From here on the run writes. Rank 0.
    void begin(std::optional<TrainingLog> &log) {
        auto const aside = folder_->begin(start_from_, state_.step);
        if (!aside.empty())
            notes_.warn("set aside: " + std::to_string(aside.size()) + " checkpoints that this run goes back behind, " +
                        aside.back().filename().string() + " to " + aside.front().filename().string());
        log.emplace(output_ / "log.jsonl", start_from_.explicitly && !start_from_.own ? -1 : state_.step);
        notes_.epoch_length(packer_, options_);
        if (!held_out_.empty())
            unigram_ =
                unigram_perplexity(*data_.store, data_.vocabulary, data_.store->training(), data_.store->held_out());
    }

    template <class Context, class LossFunction>
    LogEntry train_step(Context &context, LossFunction &loss, ScopedSignals const &signals) {
        BatchPlan const plan = packer_.plan(state_.cursor);
        std::vector<Batch> batches;
        for (auto const &part : micro_batches(share(plan, exchange_->rank(), exchange_->size()), options_.micro_batch))
            batches.push_back(packer_.build(part));
        double const rate = options_.make_schedule(budget_.total_steps()).learning_rate(state_.step + 1);
        KeyedLoss<LossFunction> const keyed_loss{loss, options_.seed};
        StepResult const result = step_(
            context, batches, keyed_loss, optimizer_, *exchange_, state_.step + 1, rate,
            [&] {
                return RankNews{signals.received() != 0, seconds()};
            },
            options_.skip_non_finite > state_.skipped_in_a_row ? NotFinite::skip : NotFinite::refuse);
        ++state_.step;
        state_.cursor = plan.next;
        state_.tokens += result.tokens;
        state_.seconds = result.news.elapsed;
        signalled_ = result.news.signal;
        budget_.observe(state_.step, result.news.elapsed);
        LogEntry entry = log_entry();
        entry.skipped = result.not_finite;
        state_.skipped_in_a_row = result.not_finite.empty() ? 0 : state_.skipped_in_a_row + 1;
        if (!result.not_finite.empty()) {
            ++state_.skipped;
            notes_.warn("step " + std::to_string(state_.step) + " passed over: " + result.not_finite +
                        " is not finite (" + std::to_string(state_.skipped) + " such steps so far)");
            return entry;
        }
        if (result.labelled == 0)
            notes_.once("step " + std::to_string(state_.step) + " had nothing to predict, so it changed nothing");
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
        if (evaluation_->labelled == 0) {
            notes_.once("the held-out proteins have nothing to predict: there is no held-out loss");
            evaluation_.reset();
            return;
        }
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
        auto const folder = output_ / step_folder_name(state_.step);
        if (folder_) {
            auto const removed =
                folder_->save(state_.step, options_.keep, checkpoint_bytes(), [&](CheckpointWriter &checkpoint) {
                    write_model(checkpoint);
                    write_vocabulary(checkpoint, data_.vocabulary);
                    write_training_state(checkpoint, state_, optimizer_, *parameters_);
                });
            if (!removed.empty())
                notes_.warn("the disk is full: to write " + folder.string() + ", " + std::to_string(removed.size()) +
                            " older checkpoints were removed");
        }
        checkpoint_ = folder;
    }

    /// A disk that is full must not cost what was learned: a checkpoint makes room for the line, or is there at least.
    template <class WriteModel>
    void record(TrainingLog &log, LogEntry const &entry, Exec const &exec, WriteModel &write_model) {
        try {
            log.write(entry);
        } catch (Error const &) {
            save(exec, write_model);
            log.write(entry);
        }
    }

    /// About what a checkpoint takes: the optimizer's arrays, the weights, and the model in float32.
    std::uint64_t checkpoint_bytes() const {
        auto const extent = static_cast<std::uint64_t>(parameters_->table().extent());
        std::uint64_t bytes = extent * (sizeof(S) + sizeof(float));
        for (auto const &array : optimizer_.state())
            bytes += array.values.extent(0) * sizeof(accumulate_t<S>);
        return bytes;
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
        if (folder_ && !folder_->leave_status(interrupted ? "stopped" : "finished", state_.step, checkpoint_))
            notes_.warn("cannot write status.json into " + output_.string());
        return outcome(context, interrupted);
    }

    template <class Context>
    TrainingOutcome outcome(Context &context, bool interrupted) const {
        return {.step = state_.step,
                .tokens = state_.tokens,
                .seconds = state_.seconds,
                .skipped = state_.skipped,
                .interrupted = interrupted,
                .checkpoint = checkpoint_,
                .held_out = interrupted ? std::nullopt : evaluation_,
                .unigram_perplexity = unigram_,
                .peak_bytes = context.pool().statistics().peak_bytes};
    }

    TrainingOptions options_;
    TrainingData data_;
    std::filesystem::path output_, checkpoint_;
    std::optional<RunFolder> folder_; // of rank 0
    StartingPoint start_from_;
    Parameters<S, Exec> *parameters_;
    X *exchange_;
    RunNotes notes_;
    bool signalled_ = false;
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
