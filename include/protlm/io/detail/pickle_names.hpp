#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// Whether `name` is one of the words of `list`, which stand between single spaces.
inline bool has_word(std::string_view list, std::string_view name) {
    if (name.empty() || name.find(' ') != name.npos)
        return false;
    for (auto place = list.find(name); place != list.npos; place = list.find(name, place + 1))
        if (list[place - 1] == ' ' && list[place + name.size()] == ' ')
            return true;
    return false;
}

/// True for modules of Python whose functions start programs, read code or reach the system: no training state needs
/// them, and who names one in a pickle wants it to be run.
inline bool reaches_the_system(std::string_view module) {
    constexpr std::string_view modules = " os posix nt subprocess commands sys pty runpy imp code codeop bdb pdb timeit"
                                         " platform socket shutil ctypes importlib asyncio webbrowser pickle marshal"
                                         " builtins __builtin__ types multiprocessing ";
    auto const package = module.substr(0, module.find('.'));
    return has_word(modules, package);
}

// Functions and types without a capital letter that lie beside the weights in training states.
inline constexpr std::string_view python_names =
    " set frozenset bytearray bytes complex slice range list dict tuple int float bool str long"
    " unicode object xrange ";
inline constexpr std::string_view torch_names =
    " device dtype layout strided float float16 float32 float64 half double bool int long short int8"
    " int16 int32 int64 uint8 uint16 uint32 uint64 bfloat16 complex32 qint8 quint8 qint32 quint4x2"
    " complex64 complex128 quint2x4 sparse_coo float8_e4m3fn float8_e5m2 float8_e4m3fnuz"
    " float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 per_tensor_affine per_channel_affine"
    " contiguous_format preserve_format channels_last ";
inline constexpr std::string_view numpy_names =
    " ndarray dtype _reconstruct scalar _frombuffer float16 float32 float64 int8 int16 int32 int64"
    " uint8 uint16 uint32 uint64 bool_ str_ bytes_ longdouble __randomstate_ctor __generator_ctor"
    " __bit_generator_ctor ";
inline constexpr std::string_view other_names =
    " _codecs.encode copyreg._reconstructor copy_reg._reconstructor datetime.datetime datetime.date"
    " datetime.time datetime.timedelta datetime.timezone collections.defaultdict collections.deque"
    " functools.partial torch._tensor._rebuild_from_type_v2 torch.serialization._get_layout ";

/// Whether a name is one of the above. They are kept as names; nothing is ever called.
inline bool is_plain_part_of_states(std::string_view module, std::string_view name) {
    if (module == "builtins" || module == "__builtin__")
        return has_word(python_names, name);
    if (module == "torch")
        return has_word(torch_names, name);
    if (module == "numpy" || module.starts_with("numpy."))
        return has_word(numpy_names, name);
    if (module == "torch._utils")
        return name.starts_with("_rebuild_");
    return has_word(other_names, std::string(module).append(".").append(name));
}

/// Whether a name that is no part of tensors may be kept as an idle word: classes, which are written with a capital
/// letter, and what lies in training states. Functions that nobody knows are refused, although nothing would call them.
inline bool may_be_kept(std::string_view module, std::string_view name) {
    if (is_plain_part_of_states(module, name))
        return true;
    auto const last = name.substr(name.rfind('.') + 1);
    auto const letter = last.substr(std::min(last.find_first_not_of('_'), last.size())).substr(0, 1);
    return !reaches_the_system(module) && !letter.empty() && letter[0] >= 'A' && letter[0] <= 'Z';
}

} // namespace protlm::inline v0::detail
