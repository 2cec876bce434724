// Holds what the architecture promises about the files themselves: which folder may include which, how long headers
// and functions may be, and that only opt-in headers need MPI or HDF5.

#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

fs::path const source = PROTLM_SOURCE;
fs::path const include = source / "include";

// What each folder of include/protlm/ may include beside core/ and itself.
std::map<std::string, Names> const may_include{
    {"core", {}},
    {"ops", {}},
    {"data", {"io"}},
    {"io", {}},
    {"layers", {"ops"}},
    {"model", {"ops", "layers", "io"}},
    {"objective", {"ops", "data"}},
    {"train", {"ops", "data", "io"}},
    {"distributed", {"train"}},
    {"embed", {"ops", "layers", "model", "data", "io"}},
    {"head", {"ops", "layers", "train", "data", "io"}},
};

std::vector<fs::path> files_below(fs::path const &folder, Names const &extensions) {
    std::vector<fs::path> files;
    if (!fs::exists(folder))
        return files;
    for (auto const &entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file() && extensions.contains(entry.path().extension().string()))
            files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

std::vector<fs::path> headers() {
    auto const found = files_below(include, {".hpp", ".h"});
    BOOST_REQUIRE(found.size() > 5);
    return found;
}

std::vector<std::string> lines_of(fs::path const &file) {
    std::istringstream text(protlm::test::read_file(file));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);)
        lines.push_back(line);
    return lines;
}

std::string shown(fs::path const &file) { return fs::relative(file, source).string(); }

/// "ops" for protlm/ops/linear.hpp, "" for protlm/bert.hpp.
std::string folder_of(std::string const &header) {
    static std::regex const pattern("^protlm/([^/]+)/.*");
    std::smatch match;
    return std::regex_match(header, match, pattern) ? match[1].str() : "";
}

struct Include {
    std::string name;
    bool quoted;
};

std::vector<Include> includes_of(fs::path const &file) {
    static std::regex const pattern("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"].*");
    std::vector<Include> result;
    std::smatch match;
    for (auto const &line : lines_of(file))
        if (std::regex_match(line, match, pattern))
            result.push_back({match[2].str(), match[1].str() == "\""});
    return result;
}

void collect_reached(std::string const &header, Names &reached) {
    if (!reached.insert(header).second || !fs::exists(include / header))
        return;
    for (auto const &included : includes_of(include / header))
        collect_reached(included.name, reached);
}

/// All that `header` includes, directly or not.
Names reached_from(std::string const &header) {
    Names reached;
    collect_reached(header, reached);
    return reached;
}

/// The text with comments, literals and preprocessor lines blanked; line breaks stay where they are.
std::string without_comments(std::string text) {
    static std::regex const pattern(
        R"re(//[^\n]*|(^|\n)[ ]*#[^\n]*|/\*[^]*?\*/|R"([^(\s]*)\([^]*?\)\1"|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])+')re");
    std::string result;
    auto last = text.cbegin();
    for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
        auto const begin = text.cbegin() + match->position();
        // 1'000 is no character literal
        if (*begin == '\'' && begin != text.cbegin() && std::isxdigit(static_cast<unsigned char>(begin[-1])))
            continue;
        result.append(last, begin);
        for (char c : match->str())
            result += c == '\n' ? '\n' : ' ';
        last = begin + match->length();
    }
    return result.append(last, text.cend());
}

struct Function {
    int line;   // of its opening brace, from 1
    int length; // lines between its braces
};

/// Functions of a C++ text that are not inside another function. What a brace opens is told by the words before it.
std::vector<Function> functions_of(std::string const &raw) {
    static std::regex const type("(^|[\\s>])(namespace|class|struct|enum|union|concept)\\b");
    static std::regex const initialiser("\\)[^;{}]*[^:]:[^:].*[\\w>]\\s*$");
    std::string const text = without_comments(raw);
    std::vector<Function> functions;
    std::vector<char> open; // f function, i inside one, m amid a declaration, t type or namespace
    std::string statement;
    int line = 1;
    for (char c : text) {
        line += c == '\n';
        if (c == '}' && !open.empty()) {
            if (open.back() == 'f')
                functions.back().length = std::max(0, line - functions.back().line - 1);
            bool const statement_goes_on = open.back() == 'm';
            open.pop_back();
            if (!statement_goes_on)
                statement.clear();
        } else if (c == '{') {
            bool const inside = !open.empty() && open.back() != 't';
            std::string flat = statement;
            std::replace(flat.begin(), flat.end(), '\n', ' ');
            if (inside)
                open.push_back('i');
            else if (std::count(flat.begin(), flat.end(), '(') != std::count(flat.begin(), flat.end(), ')') ||
                     (flat.find('(') != std::string::npos && std::regex_search(flat, initialiser)))
                open.push_back('m');
            else if (std::regex_search(flat, type) && flat.find(')') == std::string::npos)
                open.push_back('t');
            else if (flat.find('(') != std::string::npos) {
                open.push_back('f');
                functions.push_back({line, 0});
            } else
                open.push_back(std::regex_search(flat, type) ? 't' : 'i');
            if (open.back() != 'm')
                statement.clear();
        } else if (c == ';' && (open.empty() || open.back() == 't'))
            statement.clear();
        else if (open.empty() || open.back() == 't')
            statement += c;
    }
    return functions;
}

BOOST_AUTO_TEST_SUITE(structure)

BOOST_AUTO_TEST_CASE(every_folder_is_in_the_include_table) {
    int folders = 0;
    for (auto const &entry : fs::directory_iterator(include / "protlm"))
        if (entry.is_directory()) {
            ++folders;
            BOOST_TEST(may_include.contains(entry.path().filename().string()), shown(entry.path()));
        }
    BOOST_TEST(folders >= 2);
}

BOOST_AUTO_TEST_CASE(folders_include_only_what_the_table_allows) {
    int checked = 0;
    for (auto const &file : headers()) {
        std::string const folder = folder_of(fs::relative(file, include).string());
        if (folder.empty() || !may_include.contains(folder))
            continue;
        for (auto const &included : includes_of(file)) {
            if (!included.name.starts_with("protlm/"))
                continue;
            std::string const other = folder_of(included.name);
            bool const allowed = other == folder || other == "core" || may_include.at(folder).contains(other) ||
                                 included.name == "protlm/core/version.hpp";
            BOOST_TEST(allowed, shown(file) << " includes <" << included.name << ">, which " << folder << "/ may not");
            ++checked;
        }
    }
    BOOST_TEST(checked > 0);
}

BOOST_AUTO_TEST_CASE(details_are_included_by_their_own_folder_only) {
    for (auto const &file : headers())
        for (auto const &included : includes_of(file))
            if (included.name.find("/detail/") != std::string::npos && included.name.starts_with("protlm/"))
                BOOST_TEST(folder_of(included.name) == folder_of(fs::relative(file, include).string()),
                           shown(file) << " includes <" << included.name << ">");
}

BOOST_AUTO_TEST_CASE(own_headers_are_included_as_protlm_slash_and_exist) {
    for (auto const &file : headers())
        for (auto const &included : includes_of(file)) {
            BOOST_TEST(!included.quoted, shown(file) << " includes \"" << included.name << "\" with quotes");
            if (included.name.starts_with("protlm/"))
                BOOST_TEST(fs::exists(include / included.name), shown(file) << " includes <" << included.name << ">");
        }
}

BOOST_AUTO_TEST_CASE(headers_have_no_cycles) {
    for (auto const &file : headers())
        for (auto const &included : includes_of(file))
            if (included.name.starts_with("protlm/"))
                BOOST_TEST(!reached_from(included.name).contains(fs::relative(file, include).string()),
                           shown(file) << " and <" << included.name << "> include each other");
}

BOOST_AUTO_TEST_CASE(headers_are_short_and_guarded) {
    for (auto const &file : headers()) {
        auto const lines = lines_of(file);
        BOOST_TEST(lines.size() < 350u, shown(file) << " has " << lines.size() << " lines, at most 349 are allowed");
        BOOST_TEST((!lines.empty() && lines.front() == "#pragma once"), shown(file) << " begins with #pragma once");
    }
}

BOOST_AUTO_TEST_CASE(functions_in_headers_are_short) {
    std::size_t functions = 0;
    for (auto const &file : headers())
        for (auto const &function : functions_of(protlm::test::read_file(file))) {
            ++functions;
            BOOST_TEST(function.length < 40, shown(file) << ":" << function.line << ": a function of "
                                                         << function.length << " lines, at most 39 are allowed");
        }
    BOOST_TEST(functions > 20u);
}

BOOST_AUTO_TEST_CASE(the_function_finder_finds_functions) {
    auto const functions = functions_of("namespace a {\n"
                                        "struct S {\n"
                                        "    S() : x_{1}, y_(2) {\n" // line 3
                                        "        f();\n"
                                        "    }\n"
                                        "    int x_ = 0, y_{3};\n"
                                        "};\n"
                                        "template <class T>\n"
                                        "    requires(sizeof(T) > 1)\n"
                                        "void g(T t = {}) { // {\n" // line 10: the default argument is a brace, too
                                        "    for (;;) {\n"
                                        "        if (t) { char c = '{'; }\n"
                                        "    }\n"
                                        "}\n"
                                        "auto h = [](int i) { return i; };\n"
                                        "}\n");
    std::vector<std::pair<int, int>> found;
    for (auto const &function : functions)
        found.emplace_back(function.line, function.length);
    BOOST_TEST((std::find(found.begin(), found.end(), std::pair(3, 1)) != found.end()));
    BOOST_TEST((std::find_if(found.begin(), found.end(), [](auto f) { return f.second == 3; }) != found.end()));
    BOOST_TEST(std::count_if(found.begin(), found.end(), [](auto f) { return f.second > 3; }) == 0);
}

BOOST_AUTO_TEST_CASE(headers_define_no_macros_and_open_no_namespace) {
    std::regex const macro("^\\s*#\\s*define\\b.*"), opened("^\\s*using\\s+namespace\\b.*");
    for (auto const &file : headers())
        for (auto const &line : lines_of(file)) {
            if (file.filename() != "version.hpp")
                BOOST_TEST(!std::regex_match(line, macro), shown(file) << ": " << line);
            BOOST_TEST(!std::regex_match(line, opened), shown(file) << ": " << line);
        }
}

BOOST_AUTO_TEST_CASE(declarations_are_in_the_versioned_namespace) {
    std::regex const own("namespace protlm::inline v0(::\\w+)* \\{");
    for (auto const &file : headers()) {
        std::string const text = protlm::test::read_file(file);
        if (text.find("namespace") != std::string::npos)
            BOOST_TEST(std::regex_search(text, own), shown(file) << " does not open namespace protlm::inline v0");
    }
}

BOOST_AUTO_TEST_CASE(the_headers_at_the_top_only_include) {
    std::regex const harmless("^\\s*(//.*|#pragma once|#\\s*include\\s*<.*>.*)?$");
    for (auto const &entry : fs::directory_iterator(include / "protlm"))
        if (entry.is_regular_file())
            for (auto const &line : lines_of(entry.path()))
                BOOST_TEST(std::regex_match(line, harmless), shown(entry.path()) << ": " << line);
}

BOOST_AUTO_TEST_CASE(only_the_opt_in_headers_need_mpi_or_hdf5) {
    for (auto const &entry : fs::directory_iterator(include / "protlm")) {
        std::string const name = entry.path().filename().string();
        if (!entry.is_regular_file())
            continue;
        auto const reached = reached_from("protlm/" + name);
        if (name != "distributed.hpp")
            BOOST_TEST(!reached.contains("mpi.h"), name << " needs MPI");
        if (name != "hdf5.hpp")
            BOOST_TEST(!reached.contains("hdf5.h"), name << " needs HDF5");
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_left_to_be_done) {
    std::regex const mark("\\b(TODO|FIXME|XXX|HACK)\\b");
    for (char const *folder : {"include", "examples", "benchmarks", "cmake", "docs"})
        for (auto const &file : files_below(source / folder, {".hpp", ".cpp", ".cmake", ".sh", ".md"}))
            BOOST_TEST(!std::regex_search(protlm::test::read_file(file), mark), shown(file) << " has an open end");
}

BOOST_AUTO_TEST_CASE(drivers_only_assemble) {
    for (auto const &file : files_below(source / "examples", {".cpp"}))
        BOOST_TEST(lines_of(file).size() <= 160u, shown(file) << " has " << lines_of(file).size() << " lines");
}

BOOST_AUTO_TEST_CASE(links_between_documents_lead_somewhere) {
    std::vector<fs::path> documents = files_below(source / "docs", {".md"});
    for (auto const &entry : fs::directory_iterator(source))
        if (entry.path().extension() == ".md")
            documents.push_back(entry.path());
    std::regex const link("\\]\\(([^)#\\s]+)(#[^)]*)?\\)");
    for (auto const &document : documents) {
        std::string const text = protlm::test::read_file(document);
        for (std::sregex_iterator match(text.begin(), text.end(), link), end; match != end; ++match) {
            std::string const target = (*match)[1].str();
            if (target.find("://") == std::string::npos && !target.starts_with("mailto:"))
                BOOST_TEST(fs::exists(document.parent_path() / target), shown(document) << " links to " << target);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
