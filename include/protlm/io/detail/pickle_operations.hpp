#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// The operations of pickle protocols 2 to 4 that dictionaries of tensors and what lies beside them use, named as
/// Lib/pickletools.py does.
enum class PickleOperation : std::uint8_t {
    mark = '(',
    stop = '.',
    pop = '0',
    pop_mark = '1',
    binfloat = 'G',
    binint = 'J',
    binint1 = 'K',
    binint2 = 'M',
    none = 'N',
    binpersid = 'Q',
    reduce = 'R',
    binstring = 'T',
    short_binstring = 'U',
    binunicode = 'X',
    append = 'a',
    build = 'b',
    global = 'c',
    dict = 'd',
    appends = 'e',
    binget = 'h',
    long_binget = 'j',
    list = 'l',
    binput = 'q',
    long_binput = 'r',
    setitem = 's',
    tuple = 't',
    setitems = 'u',
    empty_dict = '}',
    empty_list = ']',
    empty_tuple = ')',
    binbytes = 'B',
    short_binbytes = 'C',
    proto = 0x80,
    tuple1 = 0x85,
    tuple2 = 0x86,
    tuple3 = 0x87,
    newtrue = 0x88,
    newfalse = 0x89,
    long1 = 0x8a,
    long4 = 0x8b,
    short_binunicode = 0x8c,
    binunicode8 = 0x8d,
    binbytes8 = 0x8e,
    stack_global = 0x93,
    newobj = 0x81,
    empty_set = 0x8f,
    additems = 0x90,
    frozenset = 0x91,
    newobj_ex = 0x92,
    memoize = 0x94,
    frame = 0x95
};

/// The name of an operation that is refused, or its number where there is none of that number.
inline std::string operation_name(std::uint8_t code) {
    constexpr struct {
        std::uint8_t code;
        std::string_view name;
    } refused[] = {{'2', "DUP"},         {'F', "FLOAT"},        {'I', "INT"},
                   {'L', "LONG"},        {'P', "PERSID"},       {'S', "STRING"},
                   {'V', "UNICODE"},     {'g', "GET"},          {'i', "INST"},
                   {'o', "OBJ"},         {'p', "PUT"},          {0x80, "PROTO"},
                   {0x82, "EXT1"},       {0x83, "EXT2"},        {0x84, "EXT4"},
                   {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}};
    for (auto const &row : refused)
        if (row.code == code)
            return std::string(row.name);
    return "of number " + std::to_string(code);
}

} // namespace protlm::inline v0::detail
