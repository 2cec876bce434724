#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/ops/gather.hpp>
#include <reference/check_case.hpp>

namespace protlm::test {

/// A case of an encoder trained as a masked language model: hidden states, attention maps, logits, loss, gradients and
/// trajectories.
template <class Model>
class EncoderCheck {
    using S = typename Model::scalar_type;
    using Exec = typename Model::execution_space;

  public:
    explicit EncoderCheck(ReferenceCase const &reference)
        : reference_(reference), tokens_(reference.inputs.read<std::int32_t>("tokens")),
          offsets_(reference.inputs.read<std::int64_t>("offsets")) {
        if (reference.inputs.contains("token_types"))
            types_ = reference.inputs.read<std::int32_t>("token_types");
        auto const labels = reference.inputs.read<std::int32_t>("labels");
        check_extent("inputs", "labels", "entries", labels.size(), tokens_.size());
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
    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        model.validate(batch());
        return model;
    }
    PackedView batch() const { return {tokens_, types_, offsets_}; }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    void forward(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        auto const packed = make_packed(context, batch());
        std::vector<typename Model::Activations> states;
        auto const last = model.encode(context, packed, &states);
        double const tolerance = tolerances<S>().forward;
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = "hidden." + std::to_string(n);
            report.compare("hidden states", name, values(states[n]), reference_.expected(name), tolerance);
        }
        report.compare("logits", "logits", values(model.logits(context, last)), reference_.expected("logits"),
                       tolerance);
        std::string name;
        for (index_t n = 0; reference_.reference.contains(name = "attention." + std::to_string(n) + ".sequence0"); ++n)
            report.compare("attention maps", name, values(model.attention_map(context, packed, n, 0)),
                           reference_.expected(name), tolerance);
    }

    /// Mean loss over all labelled tokens, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        auto const packed = make_packed(context, batch());
        model.parameters().zero_gradients(context.exec());
        auto const loss = model.token_loss(
            context, gather_rows(context, model.encode(context, packed), context.template upload<index_t>(rows_)),
            context.template upload<std::int32_t>(labels_));
        double const share = 1.0 / static_cast<double>(loss.labelled);
        double const mean = values(loss.sum)[0] * share;
        context.backward(loss.sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    std::vector<std::int32_t> tokens_, types_, labels_;
    std::vector<std::int64_t> offsets_;
    std::vector<index_t> rows_;
};

} // namespace protlm::test
