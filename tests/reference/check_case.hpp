#pragma once

#include <protlm/core/parameters.hpp>
#include <protlm/io/json.hpp>
#include <protlm/io/safetensors.hpp>
#include <protlm/train/adafactor.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/clipping.hpp>
#include <protlm/train/lamb.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>

namespace protlm::test {

/// How far values may be from the reference, relative to a tensor's largest value.
struct Tolerances {
    double forward; // hidden states, logits, attention maps, loss
    double gradients;
    double trajectory; // losses, norms and weights of ten optimizer steps
};

/// double: the reference is stored in float, 6e-8, and its own sums round differently. float: sums over a few hundred
/// terms lose two digits in the forward and one more in the backward; ten steps of optimizers that divide by the
/// gradient's size carry on what rounding made of elements whose gradient is near zero.
template <class S>
Tolerances tolerances() {
    return std::same_as<S, double> ? Tolerances{1e-6, 1e-6, 1e-6} : Tolerances{1e-5, 1e-4, 1e-3};
}

/// One folder of reference values: see tests/reference/README.md.
struct ReferenceCase {
    std::filesystem::path folder;
    nlohmann::json description;
    SafetensorsFile inputs, reference;

    explicit ReferenceCase(std::filesystem::path const &path)
        : folder(path), description(read_json(path / "case.json")), inputs(path / "inputs.safetensors"),
          reference(path / "reference.safetensors") {
        auto const format = Fields(description, (path / "case.json").string()).required<int>("format");
        check(format == 1, (path / "case.json").string(), ": format: is ", format, ", expected 1");
    }
    std::string name() const { return folder.filename().empty() ? folder.parent_path().filename() : folder.filename(); }
    std::string architecture() const {
        return Fields(description, (folder / "case.json").string()).required<std::string>("architecture");
    }
    std::vector<double> expected(std::string const &tensor) const { return reference.read<double>(tensor); }
};

/// Collects errors in groups and prints one line for each; a group passes when its largest error is within tolerance.
class Report {
  public:
    Report(std::string case_name, std::string scalar) : title_(std::move(case_name) + ' ' + std::move(scalar)) {}

    /// @param scale what errors are relative to; by default the largest expected value
    template <class Actual>
    void compare(std::string const &group, std::string const &tensor, Actual const &actual,
                 std::vector<double> const &expected, double tolerance, std::optional<double> scale = {}) {
        auto &line = groups_.try_emplace(group, Line{0, tolerance, "", 0, next_++}).first->second;
        double error = 0, largest = 0;
        bool finite = std::size(actual) == expected.size();
        for (std::size_t i = 0; finite && i < expected.size(); ++i) {
            double const a = static_cast<double>(actual[i]);
            finite = std::isfinite(a) && std::isfinite(expected[i]);
            error = std::max(error, std::abs(a - expected[i]));
            largest = std::max(largest, std::abs(expected[i]));
        }
        double const unit = scale.value_or(largest);
        double const relative = !finite ? HUGE_VAL : unit > 0 ? error / unit : error;
        if (!line.tensors++ || relative > line.error) {
            line.error = relative;
            line.worst = tensor;
        }
    }

    /// Prints all lines. @returns whether all groups are within their tolerances; none at all is a failure
    bool print() const {
        std::map<int, std::pair<std::string, Line>> ordered;
        for (auto const &[group, line] : groups_)
            ordered[line.order] = {group, line};
        bool all = !ordered.empty();
        for (auto const &[order, entry] : ordered) {
            auto const &[group, line] = entry;
            bool const good = line.error <= line.tolerance;
            all = all && good;
            std::printf("%-24s %-22s %4d tensors  largest relative error %9.2e (tolerance %.0e)  %s%s\n",
                        title_.c_str(), group.c_str(), line.tensors, line.error, line.tolerance, good ? "ok" : "FAIL ",
                        good ? "" : line.worst.c_str());
        }
        return all;
    }

  private:
    struct Line {
        double error, tolerance;
        std::string worst;
        int tensors, order;
    };
    std::string title_;
    std::map<std::string, Line> groups_;
    int next_ = 0;
};

/// An attention key bias has zero gradient in exact arithmetic: the softmax does not see it.
inline bool is_key_bias(std::string const &name) { return name.ends_with("key.bias") || name.ends_with("k_proj.bias"); }

/// Host copy of one tensor of a flat buffer.
template <class View>
std::vector<double> tensor_values(View const &flat, ParameterEntry const &entry) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), flat);
    std::vector<double> values;
    for (index_t i = 0; i < entry.size(); ++i)
        values.push_back(static_cast<double>(host(static_cast<std::size_t>(entry.offset + i))));
    return values;
}

/// Every `grad.NAME` of the reference against the model's gradients; a gradient without a tensor is an error.
template <class S, class Exec>
void compare_gradients(Report &report, ReferenceCase const &reference, Parameters<S, Exec> const &parameters,
                       Tolerances const &tolerance = tolerances<S>()) {
    double largest = 0;
    for (auto const &tensor : reference.reference.tensors())
        if (tensor.name.starts_with("grad."))
            for (double g : reference.expected(tensor.name))
                largest = std::max(largest, std::abs(g));
    for (auto const &tensor : reference.reference.tensors()) {
        if (!tensor.name.starts_with("grad."))
            continue;
        std::string const name = tensor.name.substr(5);
        ParameterId const id = parameters.table().find(name);
        check(id >= 0, reference.name(), ": the model has no parameter ", name);
        bool const key_bias = is_key_bias(name);
        report.compare(key_bias ? "key bias gradients" : "gradients", name,
                       tensor_values(parameters.gradients(), parameters.table()[id]), reference.expected(tensor.name),
                       tolerance.gradients, key_bias ? std::optional(largest) : std::nullopt);
    }
}

template <class S, class Exec>
using OptimizerVariant = std::variant<AdamW<S, Exec>, Lamb<S, Exec>, Adafactor<S, Exec>>;

/// The optimizer of one trajectory. @throws Error for a name or a setting that is not known
template <class S, class Exec>
OptimizerVariant<S, Exec> make_optimizer(Fields const &o, Parameters<S, Exec> const &parameters) {
    auto const name = o.choice("name", {"adamw", "lamb", "adafactor"});
    if (name == "adafactor") {
        AdafactorOptions options;
        options.epsilon1 = o.optional("eps1", options.epsilon1);
        options.epsilon2 = o.optional("eps2", options.epsilon2);
        options.clip_threshold = o.optional("clip_threshold", options.clip_threshold);
        options.decay_rate = o.optional("decay_rate", options.decay_rate);
        options.beta1 = o.optional("beta1", 0.0);
        options.weight_decay = o.optional("weight_decay", 0.0);
        options.relative_step = o.optional("relative_step", options.relative_step);
        options.warmup_init = o.optional("warmup_init", options.warmup_init);
        options.scale_parameter = o.optional("scale_parameter", options.scale_parameter);
        return Adafactor<S, Exec>(parameters, options);
    }
    auto const set = [&](auto options) {
        options.beta1 = o.optional("beta1", options.beta1);
        options.beta2 = o.optional("beta2", options.beta2);
        options.epsilon = o.optional("eps", options.epsilon);
        options.weight_decay = o.optional("weight_decay", options.weight_decay);
        return options;
    };
    AdamWOptions const adamw;
    LambOptions const lamb;
    if (name == "adamw")
        return AdamW<S, Exec>(parameters, set(adamw));
    return Lamb<S, Exec>(parameters, set(lamb));
}

/// Runs one trajectory: `loss_and_gradient(parameters)` gives the mean loss and leaves its gradient in the parameters.
template <class S, class Exec, class Step>
void compare_trajectory(Report &report, ReferenceCase const &reference, nlohmann::json const &description,
                        Parameters<S, Exec> &parameters, Step loss_and_gradient,
                        Tolerances const &tolerances_of_case = tolerances<S>()) {
    Fields const fields(description, reference.name() + " trajectory");
    auto const prefix = fields.required<std::string>("prefix");
    auto const steps = fields.required<index_t>("steps", at_least<index_t>(1));
    auto const settings = fields.object("optimizer");
    auto optimizer = make_optimizer<S, Exec>(settings, parameters);
    double const rate = settings.optional("lr", 0.0), clip = settings.optional("clip_norm", 0.0);
    settings.refuse_unknown();
    GradientNorm<Exec> norm(parameters.table());
    std::vector<double> losses, norms;
    Exec const exec;
    for (index_t step = 1; step <= steps; ++step) {
        losses.push_back(loss_and_gradient());
        norms.push_back(norm(exec, parameters, 1.0, step));
        std::visit([&](auto &o) { o.step(exec, parameters, rate, clip_factor(norms.back(), clip)); }, optimizer);
    }
    losses.push_back(loss_and_gradient());
    double const tolerance = tolerances_of_case.trajectory;
    report.compare(prefix + " losses", prefix, losses, reference.expected(prefix + ".losses"), tolerance);
    if (reference.reference.contains(prefix + ".grad_norms"))
        report.compare(prefix + " gradient norms", prefix, norms, reference.expected(prefix + ".grad_norms"),
                       tolerance);
    std::string const final = prefix + ".final.";
    for (auto const &tensor : reference.reference.tensors())
        if (tensor.name.starts_with(final) && !is_key_bias(tensor.name)) {
            ParameterId const id = parameters.table().find(tensor.name.substr(final.size()));
            check(id >= 0, reference.name(), ": the model has no parameter ", tensor.name.substr(final.size()));
            report.compare(prefix + " weights", tensor.name, tensor_values(parameters.values(), parameters.table()[id]),
                           reference.expected(tensor.name), tolerance);
        }
}

} // namespace protlm::test
