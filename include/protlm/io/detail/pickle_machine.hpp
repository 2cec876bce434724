#pragma once

#include <protlm/core/check.hpp>
#include <protlm/io/detail/little_endian.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0::detail {

enum class PickleKind : std::uint8_t {
    none,
    boolean,
    integer,
    real, // its value does not matter to anyone and is not kept
    text, // also bytes, and integers of more than 64 bits
    tuple,
    list,
    set,
    dict,
    function, // one of a list
    name,     // another function or class, of which only the name is kept
    call,     // two children: the function or name, and the tuple of its arguments; also an object of a class
    reference // one child: the identifier of something outside the pickle
};

/// One value in 16 bytes.
struct PickleValue {
    PickleKind kind = PickleKind::none;
    std::uint32_t size = 0;  // bytes of a text, children of tuple, call and reference
    std::int64_t number = 0; // an integer; where a text or the children lie; which function, name or container
};

/// The bytes of a pickle, and the stack, marks and memo that its operations work on. Memory is bounded whatever the
/// input is, by the limits below.
class PickleMachine {
  public:
    using Id = std::uint32_t;
    using Kind = PickleKind;

    PickleMachine(std::span<std::byte const> bytes, std::string name)
        : bytes_(bytes), name_(std::move(name)), values_{{Kind::none, 0, 0},
                                                         {Kind::boolean, 0, 0},
                                                         {Kind::boolean, 0, 1},
                                                         {Kind::tuple, 0, 0}} {}

    std::size_t position() const { return position_; }
    std::span<PickleValue const> values() const { return values_; }
    PickleValue const &value(Id id) const { return values_[id]; }
    std::string_view text(PickleValue const &value) const {
        return {reinterpret_cast<char const *>(bytes_.data()) + value.number, value.size};
    }
    std::span<Id const> children(PickleValue const &value) const {
        switch (value.kind) {
        case Kind::tuple:
        case Kind::call:
        case Kind::reference:
            return std::span(children_).subspan(static_cast<std::size_t>(value.number), value.size);
        case Kind::list:
        case Kind::set:
        case Kind::dict:
            return value.number < 0 ? std::span<Id const>() : containers_[static_cast<std::size_t>(value.number)];
        default:
            return {};
        }
    }

  protected:
    static constexpr std::size_t most_values = 300'000, most_children = 2'000'000, most_marks = 1000;
    static constexpr Id none = 0, falsehood = 1, truth = 2, empty_tuple = 3, empty_place = ~Id(0);

    template <class... Parts>
    [[noreturn]] void refuse(Parts const &...parts) const {
        protlm::fail(name_, ": pickle byte ", begin_, ": ", parts...);
    }
    std::size_t take_bytes(std::uint64_t count) {
        if (count > bytes_.size() - position_)
            refuse(count, " bytes are missing, the pickle ends after ", bytes_.size() - position_);
        position_ += count;
        return position_ - count;
    }
    template <class T>
    T take() {
        return load_little<T>(bytes_.data() + take_bytes(sizeof(T)));
    }

    void push(Id id) {
        if (stack_.size() >= most_children)
            refuse("more than ", most_children, " values wait on the stack; refused");
        stack_.push_back(id);
    }
    Id make(Kind kind, std::size_t size, std::int64_t number) {
        if (values_.size() >= most_values)
            refuse("more than ", most_values, " values; refused");
        values_.push_back({kind, static_cast<std::uint32_t>(size), number});
        return static_cast<Id>(values_.size() - 1);
    }
    Id pop() {
        if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
            refuse("a value is missing on the stack");
        Id const id = stack_.back();
        stack_.pop_back();
        return id;
    }
    Id top() {
        Id const id = pop();
        push(id);
        return id;
    }
    std::size_t pop_mark() {
        if (marks_.empty())
            refuse("a mark is missing");
        std::size_t const mark = marks_.back();
        marks_.pop_back();
        return mark;
    }
    void count_children(std::size_t count) {
        if ((child_count_ += count) > most_children)
            refuse("more than ", most_children, " members of containers; refused");
    }

    void push_text(std::uint64_t size) {
        if (size > 0xffffffff)
            refuse("a text of ", size, " bytes; refused");
        auto const begin = take_bytes(size);
        push(make(Kind::text, size, static_cast<std::int64_t>(begin)));
    }
    /// Two's complement of any length; what does not fit into 64 bits is kept as its bytes.
    void push_long(std::uint64_t size) {
        if (size > 8)
            return push_text(size);
        auto const *from = bytes_.data() + take_bytes(size);
        std::uint64_t value = 0;
        for (std::uint64_t i = 0; i < size; ++i)
            value |= std::uint64_t(from[i]) << (8 * i);
        if (size > 0 && size < 8 && (std::uint8_t(from[size - 1]) & 0x80))
            value |= ~std::uint64_t(0) << (8 * size);
        push(make(Kind::integer, 0, static_cast<std::int64_t>(value)));
    }
    void push_tuple(std::size_t first) {
        auto const size = stack_.size() - first;
        count_children(size);
        Id const id = size ? make(Kind::tuple, size, static_cast<std::int64_t>(children_.size())) : empty_tuple;
        children_.insert(children_.end(), stack_.begin() + std::ptrdiff_t(first), stack_.end());
        stack_.resize(first);
        push(id);
    }
    void push_short_tuple(std::size_t size) {
        if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < size)
            refuse("a value is missing on the stack");
        push_tuple(stack_.size() - size);
    }

    /// A call of something of which only the name is known: what it makes is nothing that a tensor needs.
    bool is_object(Id id) const {
        auto const &value = values_[id];
        return value.kind == Kind::call && values_[children(value)[0]].kind == Kind::name;
    }

    /// Moves what lies on the stack from `first` on into the list or dictionary.
    void extend(Id id, Kind kind, std::size_t first) {
        if (is_object(id)) // of a class that is derived from the list, set or dictionary
            values_[id] = {kind, 0, -1};
        if (values_[id].kind != kind)
            refuse("members are added to something that is no ", kind == Kind::dict   ? "dictionary"
                                                                 : kind == Kind::list ? "list"
                                                                                      : "set");
        auto const size = stack_.size() - first;
        if (kind == Kind::dict && size % 2 != 0)
            refuse("a dictionary's key has no value");
        count_children(size);
        if (size > 0 && values_[id].number < 0) {
            values_[id].number = static_cast<std::int64_t>(containers_.size());
            containers_.emplace_back();
        }
        if (size > 0) {
            auto &members = containers_[static_cast<std::size_t>(values_[id].number)];
            members.insert(members.end(), stack_.begin() + std::ptrdiff_t(first), stack_.end());
        }
        stack_.resize(first);
    }
    void extend_top(Kind kind, std::size_t size) {
        if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < size + 1)
            refuse("a value is missing on the stack");
        extend(stack_[stack_.size() - size - 1], kind, stack_.size() - size);
    }
    void extend_marked(Kind kind) {
        std::size_t const first = pop_mark();
        if (first <= (marks_.empty() ? 0 : marks_.back()))
            refuse("a value is missing on the stack");
        extend(stack_[first - 1], kind, first);
    }
    void push_marked(Kind kind) {
        std::size_t const first = pop_mark();
        Id const id = make(kind, 0, -1);
        extend(id, kind, first);
        push(id);
    }

    void push_children(Kind kind, std::initializer_list<Id> ids) {
        count_children(ids.size());
        Id const id = make(kind, ids.size(), static_cast<std::int64_t>(children_.size()));
        children_.insert(children_.end(), ids);
        push(id);
    }
    void put(std::size_t place) {
        if (place >= most_values)
            refuse("memo place ", place, ", at most ", most_values, " are read; refused");
        Id const id = top();
        if (memo_.size() <= place)
            memo_.resize(std::max(place + 1, 2 * memo_.size()), empty_place);
        memo_count_ += memo_[place] == empty_place;
        memo_[place] = id;
    }
    void get(std::size_t place) {
        if (place >= memo_.size() || memo_[place] == empty_place)
            refuse("memo place ", place, " is empty");
        push(memo_[place]);
    }

    std::span<std::byte const> bytes_;
    std::string name_;
    std::size_t position_ = 0, begin_ = 0, child_count_ = 0, memo_count_ = 0;
    std::vector<PickleValue> values_;
    std::vector<Id> children_, stack_, memo_;
    std::vector<std::vector<Id>> containers_;
    std::vector<std::size_t> marks_;
};

} // namespace protlm::inline v0::detail
