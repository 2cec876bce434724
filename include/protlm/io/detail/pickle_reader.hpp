#pragma once

#include <protlm/core/check.hpp>
#include <protlm/io/detail/json_sax.hpp>
#include <protlm/io/detail/pickle_machine.hpp>
#include <protlm/io/detail/pickle_names.hpp>
#include <protlm/io/detail/pickle_operations.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

/// The operations behind `Pickle`.
class PickleReader : public PickleMachine {
  public:
    PickleReader(std::span<std::byte const> bytes, std::string name, std::span<std::string_view const> functions)
        : PickleMachine(bytes, std::move(name)), functions_(functions) {}

    /// Runs to the end of the pickle. @throws Error
    void read() {
        check(!bytes_.empty() && take<std::uint8_t>() == static_cast<std::uint8_t>(Op::proto), name_,
              ": is no pickle of protocol 2 or later");
        auto const protocol = take<std::uint8_t>();
        check(protocol >= 2 && protocol <= 4, name_, ": is a pickle of protocol ", int(protocol), ", 2 to 4 are read");
        for (;;) {
            begin_ = position_;
            auto const code = take<std::uint8_t>();
            auto const op = static_cast<Op>(code);
            if (op == Op::stop)
                break;
            if (!read_scalar(op) && !read_tuple(op) && !read_container(op) && !read_memo(op) && !read_call(op))
                refuse("the operation ", operation_name(code), " is no part of a dictionary of tensors; refused");
        }
        check(stack_.size() == 1 && marks_.empty(), name_, ": the pickle ends with ", stack_.size(), " values");
        root_ = stack_.back();
    }

    Id root() const { return root_; }
    /// "module.name" of a function or name; empty for other values.
    std::string name(PickleValue const &value) const {
        if (value.kind == Kind::function)
            return std::string(functions_[static_cast<std::size_t>(value.number)]);
        if (value.kind != Kind::name)
            return {};
        auto const &[module, name] = names_[static_cast<std::size_t>(value.number)];
        return std::string(module).append(".").append(name);
    }

  private:
    using Op = PickleOperation;

    bool read_scalar(Op op) {
        switch (op) {
        case Op::none:
            return push(none), true;
        case Op::newtrue:
            return push(truth), true;
        case Op::newfalse:
            return push(falsehood), true;
        case Op::binint:
            return push(make(Kind::integer, 0, take<std::int32_t>())), true;
        case Op::binint1:
            return push(make(Kind::integer, 0, take<std::uint8_t>())), true;
        case Op::binint2:
            return push(make(Kind::integer, 0, take<std::uint16_t>())), true;
        case Op::long1:
            return push_long(take<std::uint8_t>()), true;
        case Op::long4:
            return push_long(take<std::uint32_t>()), true;
        case Op::binfloat:
            return take_bytes(8), push(make(Kind::real, 0, 0)), true;
        case Op::short_binstring:
        case Op::short_binbytes:
        case Op::short_binunicode:
            return push_text(take<std::uint8_t>()), true;
        case Op::binstring:
        case Op::binbytes:
        case Op::binunicode:
            return push_text(take<std::uint32_t>()), true;
        case Op::binbytes8:
        case Op::binunicode8:
            return push_text(take<std::uint64_t>()), true;
        case Op::frame: // a hint for reading ahead
            return take_bytes(8), true;
        default:
            return false;
        }
    }

    bool read_tuple(Op op) {
        switch (op) {
        case Op::empty_tuple:
            return push(empty_tuple), true;
        case Op::tuple:
            return push_tuple(pop_mark()), true;
        case Op::tuple1:
            return push_short_tuple(1), true;
        case Op::tuple2:
            return push_short_tuple(2), true;
        case Op::tuple3:
            return push_short_tuple(3), true;
        default:
            return false;
        }
    }

    bool read_container(Op op) {
        switch (op) {
        case Op::mark:
            if (marks_.size() >= most_marks)
                refuse("marks are nested more than ", most_marks, " deep; refused");
            return marks_.push_back(stack_.size()), true;
        case Op::pop:
            return pop(), true;
        case Op::pop_mark:
            return stack_.resize(pop_mark()), true;
        case Op::empty_list:
            return push(make(Kind::list, 0, -1)), true;
        case Op::empty_dict:
            return push(make(Kind::dict, 0, -1)), true;
        case Op::list:
            return push_marked(Kind::list), true;
        case Op::dict:
            return push_marked(Kind::dict), true;
        case Op::empty_set:
            return push(make(Kind::set, 0, -1)), true;
        case Op::additems:
            return extend_marked(Kind::set), true;
        case Op::frozenset:
            return push_marked(Kind::set), true;
        case Op::append:
            return extend_top(Kind::list, 1), true;
        case Op::appends:
            return extend_marked(Kind::list), true;
        case Op::setitem:
            return extend_top(Kind::dict, 2), true;
        case Op::setitems:
            return extend_marked(Kind::dict), true;
        default:
            return false;
        }
    }

    bool read_memo(Op op) {
        switch (op) {
        case Op::binput:
            return put(take<std::uint8_t>()), true;
        case Op::long_binput:
            return put(take<std::uint32_t>()), true;
        case Op::memoize:
            return put(memo_count_), true;
        case Op::binget:
            return get(take<std::uint8_t>()), true;
        case Op::long_binget:
            return get(take<std::uint32_t>()), true;
        default:
            return false;
        }
    }
    bool read_call(Op op) {
        switch (op) {
        case Op::global: {
            auto const module = take_line(), function = take_line();
            return push_function(module, function), true;
        }
        case Op::stack_global: {
            Id const function = pop(), module = pop();
            if (values_[function].kind != Kind::text || values_[module].kind != Kind::text)
                refuse("the name of a function is no text");
            return push_function(text(values_[module]), text(values_[function])), true;
        }
        case Op::newobj_ex:
            pop(); // named arguments
            return call(), true;
        case Op::reduce:
        case Op::newobj:
            return call(), true;
        case Op::build: // attributes of a dictionary, for example the versions of modules, or of another object
            pop();
            if (Id const id = top(); values_[id].kind != Kind::dict && values_[id].kind != Kind::list && !is_object(id))
                refuse("attributes are set on something that is no dictionary and no object; refused");
            return true;
        case Op::binpersid: {
            Id const id = pop();
            return push_children(Kind::reference, {id}), true;
        }
        default:
            return false;
        }
    }
    std::string_view take_line() {
        auto const *first = reinterpret_cast<char const *>(bytes_.data()) + position_;
        std::string_view const rest(first, bytes_.size() - position_);
        auto const end = rest.substr(0, 1000).find('\n');
        if (end == rest.npos)
            refuse("a name does not end");
        position_ += end + 1;
        return rest.substr(0, end);
    }
    void push_function(std::string_view module, std::string_view name) {
        for (std::size_t i = 0; i < functions_.size(); ++i) {
            auto const known = functions_[i];
            if (known.size() == module.size() + 1 + name.size() && known.starts_with(module) &&
                known[module.size()] == '.' && known.ends_with(name))
                return push(make(Kind::function, 0, static_cast<std::int64_t>(i)));
        }
        if (may_be_kept(module, name)) {
            names_.emplace_back(module, name);
            return push(make(Kind::name, 0, static_cast<std::int64_t>(names_.size() - 1)));
        }
        refuse("names ", excerpt(module), '.', excerpt(name),
               ", which is no part of a dictionary of tensors; refused, nothing was run");
    }
    bool makes_dictionary(PickleValue const &function) const {
        if (function.kind == Kind::function)
            return functions_[static_cast<std::size_t>(function.number)] == "collections.OrderedDict";
        auto const &[module, name] = names_[static_cast<std::size_t>(function.number)];
        return module == "collections" && (name == "Counter" || name == "defaultdict");
    }
    /// Keeps a call, or the making of an object, as a value. OrderedDict() alone is a dictionary, which the following
    /// operations fill; Python 2 passes it a list of pairs, a Counter gets a dictionary.
    void call() {
        Id const arguments = pop(), function = pop();
        bool const named = values_[function].kind == Kind::function || values_[function].kind == Kind::name;
        if (values_[function].kind == Kind::reference)
            refuse("makes an object of a class that lies in the file: a whole module was saved; save its state with "
                   "torch.save(model.state_dict(), ...)");
        if (!named || values_[arguments].kind != Kind::tuple)
            refuse("calls something that is no function; refused");
        if (!makes_dictionary(values_[function]))
            return push_children(Kind::call, {function, arguments});
        Id const dict = make(Kind::dict, 0, -1);
        push(dict);
        std::vector<Id> const lists(children(values_[arguments]).begin(), children(values_[arguments]).end());
        for (Id const list : lists) {
            std::vector<Id> const pairs(children(values_[list]).begin(), children(values_[list]).end());
            if (values_[list].kind == Kind::dict) {
                stack_.insert(stack_.end(), pairs.begin(), pairs.end());
                extend(dict, Kind::dict, stack_.size() - pairs.size());
                continue;
            }
            if (values_[list].kind != Kind::list && values_[list].kind != Kind::tuple)
                continue; // what makes the missing values of a defaultdict
            for (Id const pair : pairs) {
                auto const members = children(values_[pair]);
                if (members.size() != 2)
                    refuse("an OrderedDict of something that is no pairs; refused");
                stack_.insert(stack_.end(), {members[0], members[1]});
                extend(dict, Kind::dict, stack_.size() - 2);
            }
        }
    }

    std::span<std::string_view const> functions_;
    std::vector<std::pair<std::string_view, std::string_view>> names_; // module and name; views of the pickle
    Id root_ = none;
};

} // namespace protlm::inline v0::detail
