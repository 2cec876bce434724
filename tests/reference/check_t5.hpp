#pragma once

#include <protlm/model/beam_search.hpp>
#include <protlm/model/t5_decoder.hpp>
#include <reference/check_case.hpp>

namespace protlm::test {

/// As for the other models, but the reference takes norms and softmax of T5 in float32 even where all else is double,
/// so that it is itself off by 1e-6 and a little more behind the optimizers.
template <class S>
Tolerances t5_tolerances() {
    return std::same_as<S, double> ? Tolerances{1e-5, 1e-5, 1e-5} : tolerances<S>();
}

/// A T5 case: hidden states of both stacks, attention maps, logits, loss, gradients, trajectories and generated tokens.
template <class S, class Exec>
class T5Check {
  public:
    explicit T5Check(ReferenceCase const &reference)
        : reference_(reference), source_(reference, "encoder."), target_(reference, "decoder.") {
        auto const labels = reference.inputs.read<std::int32_t>("labels");
        check_extent("inputs", "labels", "entries", labels.size(), target_.tokens.size());
        for (std::size_t t = 0; t < labels.size(); ++t)
            if (labels[t] >= 0) {
                rows_.push_back(static_cast<index_t>(t));
                labels_.push_back(labels[t]);
            }
        check(!rows_.empty(), "inputs: no token has a label");
    }

    bool run() const {
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        forward(report);
        generation(report);
        auto model = load();
        double const loss = loss_and_gradient(model);
        report.compare("loss", "loss", std::vector{loss}, reference_.expected("loss"), t5_tolerances<S>().forward);
        compare_gradients(report, reference_, model.parameters(), t5_tolerances<S>());
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(
                report, reference_, trajectory, trained.parameters(), [&] { return loss_and_gradient(trained); },
                t5_tolerances<S>());
        }
        return report.print();
    }

  private:
    using Model = T5<S, Exec>;

    struct Side {
        std::vector<std::int32_t> tokens;
        std::vector<std::int64_t> offsets;
        Side(ReferenceCase const &reference, std::string const &name)
            : tokens(reference.inputs.read<std::int32_t>(name + "tokens")),
              offsets(reference.inputs.read<std::int64_t>(name + "offsets")) {}
        PackedView view() const { return {tokens, {}, offsets, {}}; }
    };

    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        model.validate(source_.view());
        model.validate(target_.view());
        return model;
    }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    void compare_states(Report &report, std::string const &stack,
                        std::vector<typename Model::Activations> const &states) const {
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = stack + ".hidden." + std::to_string(n);
            report.compare(stack + " hidden states", name, values(states[n]), reference_.expected(name),
                           t5_tolerances<S>().forward);
        }
    }

    void forward(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        auto const source = make_packed(context, source_.view()), target = make_packed(context, target_.view());
        std::vector<typename Model::Activations> states;
        auto const encoded = model.encode(context, source, &states);
        compare_states(report, "encoder", states);
        auto const decoded = model.decode(context, target, encoded, source.segments, &states);
        compare_states(report, "decoder", states);
        report.compare("logits", "logits", values(model.logits(context, decoded)), reference_.expected("logits"),
                       t5_tolerances<S>().forward);
        for (index_t n = 0; n < model.config().num_layers; ++n) {
            std::string const name = "encoder.attention." + std::to_string(n) + ".sequence0";
            if (reference_.reference.contains(name))
                report.compare("attention maps", name, values(model.attention_map(context, source, n, 0)),
                               reference_.expected(name), t5_tolerances<S>().forward);
        }
    }

    /// How the tokens of `PREFIX.N` were generated: by case.json where it says so, else by the name, greedy or beamK.
    BeamOptions search_of(std::string const &prefix, index_t &max_length) const {
        for (auto const &entry : reference_.description.value("generation", nlohmann::json::array()))
            if (entry.at("prefix") == prefix) {
                Fields const fields(entry, "generation");
                BeamOptions search{.beams = fields.required<index_t>("num_beams")};
                search.length_penalty = fields.optional("length_penalty", 1.0);
                max_length = fields.required<index_t>("max_new_tokens");
                bool const never = entry.contains("early_stopping") && entry["early_stopping"] == "never";
                if (never)
                    search.stopping = EarlyStopping::when_never_better;
                else if (fields.optional("early_stopping", false))
                    search.stopping = EarlyStopping::at_once;
                return search;
            }
        return {.beams = prefix == "greedy" ? 1 : std::stoll(prefix.substr(4))};
    }

    /// `greedy.N` and `beam*.N`: what sequence N generates.
    void generation(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        for (auto const &tensor : reference_.reference.tensors()) {
            std::string const prefix = tensor.name.substr(0, tensor.name.find('.'));
            if (prefix != "greedy" && !prefix.starts_with("beam"))
                continue;
            auto const expected = reference_.expected(tensor.name);
            TextStart start{.tokens = {model.config().decoder_start_token_id}};
            start.max_length = static_cast<index_t>(expected.size()) - 1;
            start.source = std::stoll(tensor.name.substr(prefix.size() + 1));
            auto const search = search_of(prefix, start.max_length);
            GenerationOptions const options{.end = model.config().eos_token_id};
            T5Decoder<S, Exec> decoder(context, model, source_.view());
            std::span<TextStart const> const starts(&start, 1);
            auto const tokens = search.beams == 1 ? generate_greedy(context, decoder, starts, options)[0].tokens
                                                  : beam_search(context, decoder, starts, options, search)[0][0].tokens;
            report.compare("generated tokens", tensor.name, tokens, expected, 0.0);
        }
    }

    /// Mean loss over all labelled tokens, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        auto const source = make_packed(context, source_.view()), target = make_packed(context, target_.view());
        model.parameters().zero_gradients(context.exec());
        auto const encoded = model.encode(context, source);
        auto const decoded = model.decode(context, target, encoded, source.segments);
        auto const rows = gather_rows(context, decoded, context.template upload<index_t>(rows_));
        auto const loss = model.token_loss(context, rows, context.template upload<std::int32_t>(labels_));
        double const share = 1.0 / static_cast<double>(loss.labelled);
        double const mean = values(loss.sum)[0] * share;
        context.backward(loss.sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    Side source_, target_;
    std::vector<index_t> rows_;
    std::vector<std::int32_t> labels_;
};

} // namespace protlm::test
