#pragma once

#include <protlm/core/kokkos.hpp>

#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Identifies a tensor of a Parameters table.
using ParameterId = int;

/// The backward functions of the ops that ran, in their order. Knows which parameters each touches, so that a
/// listener hears of a parameter the moment its gradient is complete, while the backward still runs.
class Tape {
  public:
    using Backward = std::function<void()>;
    using Listener = std::function<void(ParameterId)>;

    /// Appends one op. `parameters`: those whose gradient `backward` adds to.
    void record(Backward backward, std::vector<ParameterId> parameters = {}) {
        for (ParameterId id : parameters)
            ++pending_[id];
        records_.push_back({std::move(backward), std::move(parameters)});
    }

    /// Runs and forgets all records, last first; what a record keeps is freed as soon as it has run.
    void run(Listener const &listener = {}) {
        while (!records_.empty()) {
            Record record = std::move(records_.back());
            records_.pop_back();
            record.backward();
            for (ParameterId id : record.parameters)
                if (--pending_[id] == 0 && listener)
                    listener(id);
        }
        pending_.clear();
    }

    /// Forgets all records without running them.
    void clear() {
        records_.clear();
        pending_.clear();
    }

    /// Every parameter named by a record, each once for each time it was named.
    std::vector<ParameterId> parameters() const {
        std::vector<ParameterId> all;
        for (auto const &record : records_)
            all.insert(all.end(), record.parameters.begin(), record.parameters.end());
        return all;
    }
    bool empty() const { return records_.empty(); }

  private:
    struct Record {
        Backward backward;
        std::vector<ParameterId> parameters;
    };
    std::vector<Record> records_;
    std::map<ParameterId, int> pending_;
};

} // namespace protlm::inline v0
