#pragma once

#include <protlm/model/transformer_xl.hpp>
#include <protlm/ops/add.hpp>
#include <protlm/ops/gather.hpp>
#include <reference/check_case.hpp>

namespace protlm::test {

/// A case of Transformer-XL: segments one after the other, each seeing the memory of those before. Hidden states and
/// logits of each, the loss of all together, its gradients, and trajectories. Memories begin empty, or with zeros where
/// case.json says "memory": "zeros".
template <class S, class Exec>
class TransformerXlCheck {
  public:
    explicit TransformerXlCheck(ReferenceCase const &reference) : reference_(reference) {
        auto const &inputs = reference.inputs;
        std::string prefix;
        for (int n = 0; inputs.contains((prefix = "segment" + std::to_string(n) + '.') + "tokens"); ++n) {
            Segment segment{prefix,
                            inputs.template read<std::int32_t>(prefix + "tokens"),
                            inputs.template read<std::int64_t>(prefix + "offsets"),
                            {},
                            {}};
            auto const labels = inputs.template read<std::int32_t>(prefix + "labels");
            check_extent("inputs", prefix + "labels", "entries", labels.size(), segment.tokens.size());
            for (std::size_t t = 0; t < labels.size(); ++t)
                if (labels[t] >= 0) {
                    segment.rows.push_back(static_cast<index_t>(t));
                    segment.labels.push_back(labels[t]);
                }
            segments_.push_back(std::move(segment));
        }
        check(!segments_.empty(), "inputs: no tensor segment0.tokens");
    }

    bool run() const {
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        forward(report);
        auto model = load();
        double const loss = loss_and_gradient(model);
        report.compare("loss", "loss", std::vector{loss}, reference_.expected("loss"), tolerances<S>().forward);
        compare_gradients(report, reference_, model.parameters());
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(report, reference_, trajectory, trained.parameters(),
                               [&] { return loss_and_gradient(trained); });
        }
        return report.print();
    }

  private:
    using Model = TransformerXl<S, Exec>;

    struct Segment {
        std::string prefix;
        std::vector<std::int32_t> tokens;
        std::vector<std::int64_t> offsets;
        std::vector<index_t> rows; // that have a label
        std::vector<std::int32_t> labels;
        PackedView view() const { return {tokens, {}, offsets}; }
    };

    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        for (auto const &segment : segments_)
            model.validate(segment.view());
        return model;
    }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    template <class Context>
    typename Model::Memory first_memory(Model const &model, Context &context) const {
        if (reference_.description.value("memory", "empty") == "empty")
            return {};
        return model.zero_memory(context, static_cast<index_t>(segments_[0].offsets.size()) - 1);
    }

    void forward(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        auto memory = first_memory(model, context);
        double const tolerance = tolerances<S>().forward;
        for (auto const &segment : segments_) {
            std::vector<typename Model::Activations> states;
            auto const last = model.encode(context, make_packed(context, segment.view()), memory, &states);
            for (std::size_t n = 0; n < states.size(); ++n) {
                std::string const name = segment.prefix + "hidden." + std::to_string(n);
                report.compare("hidden states", name, values(states[n]), reference_.expected(name), tolerance);
            }
            std::string const name = segment.prefix + "logits";
            report.compare("logits", name, values(model.logits(context, last)), reference_.expected(name), tolerance);
        }
    }

    /// Mean loss over all labelled tokens of all segments, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        model.parameters().zero_gradients(context.exec());
        auto memory = first_memory(model, context);
        Tensor<typename Model::A, Exec> sum;
        index_t labelled = 0;
        for (auto const &segment : segments_) {
            auto const hidden = model.encode(context, make_packed(context, segment.view()), memory);
            auto const rows = gather_rows(context, hidden, context.template upload<index_t>(segment.rows));
            auto const loss = model.token_loss(context, rows, context.template upload<std::int32_t>(segment.labels));
            sum = sum ? add(context, sum, loss.sum) : loss.sum;
            labelled += loss.labelled;
        }
        double const share = 1.0 / static_cast<double>(labelled);
        double const mean = values(sum)[0] * share;
        context.backward(sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    std::vector<Segment> segments_;
};

} // namespace protlm::test
