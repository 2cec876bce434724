#pragma once

#include <protlm/model/xlnet.hpp>
#include <protlm/ops/add.hpp>
#include <protlm/ops/gather.hpp>
#include <reference/check_case.hpp>

#include <algorithm>

namespace protlm::test {

/// A case of XLNet: one batch, or segments one after the other of which each sees the memory of those before. Each has
/// one stream with labels or without, or two streams where it has `rank` and `is_target`. Hidden states and logits, the
/// loss of all segments together, its gradients, and trajectories.
template <class S, class Exec>
class XlnetCheck {
  public:
    explicit XlnetCheck(ReferenceCase const &reference)
        : reference_(reference), remembers_(!reference.inputs.contains("tokens")) {
        if (!remembers_)
            segments_.push_back(read(""));
        std::string prefix;
        for (int n = 0; reference.inputs.contains((prefix = "segment" + std::to_string(n) + '.') + "tokens"); ++n)
            segments_.push_back(read(prefix));
        check(!segments_.empty(), "inputs: no tensor tokens, nor segment0.tokens");
    }

    bool run() const {
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        forward(report);
        if (std::any_of(segments_.begin(), segments_.end(), [](auto const &s) { return !s.labels.empty(); })) {
            auto model = load();
            double const loss = loss_and_gradient(model);
            report.compare("loss", "loss", std::vector{loss}, reference_.expected("loss"), tolerances<S>().forward);
            compare_gradients(report, reference_, model.parameters());
        }
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(report, reference_, trajectory, trained.parameters(),
                               [&] { return loss_and_gradient(trained); });
        }
        return report.print();
    }

  private:
    using Model = Xlnet<S, Exec>;
    using Activations = typename Model::Activations;

    struct Segment {
        std::string prefix;
        std::vector<std::int32_t> tokens, types, rank, is_target;
        std::vector<std::int64_t> offsets;
        std::vector<index_t> rows;        // of the one stream that have a label
        std::vector<std::int32_t> labels; // of these, or of all targets
        PackedView view() const { return {tokens, types, offsets}; }
    };

    Segment read(std::string const &prefix) const {
        auto const ids = [&](char const *name) {
            return reference_.inputs.contains(prefix + name)
                       ? reference_.inputs.template read<std::int32_t>(prefix + name)
                       : std::vector<std::int32_t>();
        };
        Segment segment{prefix, ids("tokens"), ids("token_types"), ids("rank"), ids("is_target"), {}, {}, {}};
        segment.offsets = reference_.inputs.template read<std::int64_t>(prefix + "offsets");
        auto const given = segment.rank.empty() ? ids("labels") : segment.is_target;
        if (!given.empty())
            check_extent("inputs", prefix + (segment.rank.empty() ? "labels" : "is_target"), "entries", given.size(),
                         segment.tokens.size());
        for (std::size_t t = 0; t < given.size(); ++t)
            if (segment.rank.empty() ? given[t] >= 0 : given[t] != 0) {
                segment.rows.push_back(static_cast<index_t>(t));
                segment.labels.push_back(segment.rank.empty() ? given[t] : segment.tokens[t]);
            }
        return segment;
    }

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

    /// The rows that logits are made of: all of one stream, or the targets of the query stream.
    template <class Context>
    Activations run(Context &context, Model const &model, Segment const &segment, typename Model::Memory &memory,
                    std::vector<Activations> *content, std::vector<Activations> *query) const {
        auto const packed = make_packed(context, segment.view());
        if (segment.rank.empty())
            return remembers_ ? model.encode(context, packed, memory, content) : model.encode(context, packed, content);
        auto const order = make_two_stream_order(context, segment.rank, segment.is_target, segment.offsets);
        std::vector<typename Model::Streams> states;
        auto const last = remembers_ ? model.two_stream(context, packed, order, memory, content ? &states : nullptr)
                                     : model.two_stream(context, packed, order, content ? &states : nullptr);
        for (auto const &streams : states) {
            content->push_back(streams.content);
            query->push_back(streams.query);
        }
        return last.query;
    }

    void compare_states(Report &report, std::string const &prefix, std::vector<Activations> const &states) const {
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = prefix + "hidden." + std::to_string(n);
            report.compare(prefix + "hidden states", name, values(states[n]), reference_.expected(name),
                           tolerances<S>().forward);
        }
    }

    void forward(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        typename Model::Memory memory;
        for (auto const &segment : segments_) {
            std::vector<Activations> content, query;
            auto const last = run(context, model, segment, memory, &content, &query);
            compare_states(report, segment.prefix + (segment.rank.empty() ? "" : "content."), content);
            compare_states(report, segment.prefix + "query.", query);
            if (std::string const name = segment.prefix + "logits"; reference_.reference.contains(name))
                report.compare("logits", name, values(model.logits(context, last)), reference_.expected(name),
                               tolerances<S>().forward);
        }
        std::string name;
        for (index_t n = 0; reference_.reference.contains(name = "attention." + std::to_string(n) + ".sequence0"); ++n)
            report.compare("attention maps", name,
                           values(model.attention_map(context, make_packed(context, segments_[0].view()), n, 0)),
                           reference_.expected(name), tolerances<S>().forward);
    }

    /// Mean loss over all labels of all segments, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        model.parameters().zero_gradients(context.exec());
        typename Model::Memory memory;
        Activations sum;
        index_t labelled = 0;
        for (auto const &segment : segments_) {
            auto last = run(context, model, segment, memory, nullptr, nullptr);
            if (segment.rank.empty())
                last = gather_rows(context, last, context.template upload<index_t>(segment.rows));
            auto const loss = model.token_loss(context, last, context.template upload<std::int32_t>(segment.labels));
            sum = sum ? add(context, sum, loss.sum) : loss.sum;
            labelled += loss.labelled;
        }
        double const share = 1.0 / static_cast<double>(labelled);
        double const mean = values(sum)[0] * share;
        context.backward(sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    bool remembers_;
    std::vector<Segment> segments_;
};

} // namespace protlm::test
