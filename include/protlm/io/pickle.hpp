#pragma once

#include <protlm/core/check.hpp>
#include <protlm/io/detail/pickle_reader.hpp>

#include <bit>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// What a pickle says, as data: functions that it names are never called, a call is kept as a value that says which
/// function of a list it names and with which arguments. Read by a machine of our own that knows the operations of
/// protocols 2 to 4 which dictionaries of tensors and training states use; every other one is refused by its name.
/// Format: CPython's Lib/pickletools.py, which documents each operation.
class Pickle {
  public:
    using Kind = detail::PickleKind;
    using Value = detail::PickleValue;

    /// Reads one pickle that begins at `bytes`' first byte.
    /// @param bytes which must stay valid: texts are views of them
    /// @param name  stands for the file in messages
    /// @param functions names ("module.name") that mean something to the caller; of other names, those of classes and
    /// what training programs put beside their weights are kept as words, and any further one is refused
    /// @throws Error naming file, byte and operation or function that is refused, and for whatever is malformed or
    /// larger than the limits (300,000 values, marks nested a thousand deep)
    Pickle(std::span<std::byte const> bytes, std::string const &name, std::span<std::string_view const> functions)
        : functions_(functions), reader_(bytes, name, functions) {
        reader_.read();
    }

    Value const &root() const { return reader_.value(reader_.root()); }
    /// All values, in the order in which they were made.
    std::span<Value const> values() const { return reader_.values(); }
    /// Bytes up to the end of the pickle; others may follow.
    std::size_t size() const { return reader_.position(); }

    std::string_view text(Value const &value) const {
        return value.kind == Kind::text ? reader_.text(value) : std::string_view();
    }
    /// The name of a function, as the list given has it.
    std::string_view function(Value const &value) const {
        return value.kind == Kind::function ? functions_[static_cast<std::size_t>(value.number)] : std::string_view();
    }
    /// "module.name" of any function or class that the pickle names, listed or not; empty for other kinds.
    std::string name(Value const &value) const { return reader_.name(value); }
    /// A tuple's, list's or set's values, a dictionary's keys and values by turns, a call's function and arguments (a
    /// tuple), a reference's identifier; nothing for other kinds.
    std::size_t count(Value const &value) const { return reader_.children(value).size(); }
    Value const &child(Value const &value, std::size_t i) const { return reader_.value(reader_.children(value)[i]); }

  private:
    std::span<std::string_view const> functions_;
    detail::PickleReader reader_;
};

} // namespace protlm::inline v0
