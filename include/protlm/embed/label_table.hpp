#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Fields of a line; one in quotation marks may hold separators, and quotation marks doubled (RFC 4180).
inline std::vector<std::string> split_fields(std::string_view line, char separator) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"')
            fields.back() += line[i++];
        else if (line[i] == '"' && (quoted || fields.back().empty()))
            quoted = !quoted;
        else if (line[i] == separator && !quoted)
            fields.emplace_back();
        else
            fields.back() += line[i];
    }
    return fields;
}

} // namespace detail

/// A table of what is known about proteins: a line of column names, then a line a protein, its id in the first column.
/// Columns are separated by tabs or, where the first line has none, by commas.
class LabelTable {
  public:
    /// @throws Error when the file cannot be read, has no second column, or a line has another number of fields
    static LabelTable read(std::filesystem::path const &path) {
        MappedFile const file(path);
        return parse({reinterpret_cast<char const *>(file.bytes().data()), file.size()}, path.string());
    }

    /// @param name  of the table, in messages
    static LabelTable parse(std::string_view text, std::string name) {
        LabelTable table;
        table.name_ = std::move(name);
        char separator = '\t';
        for (std::size_t number = 1; !text.empty(); ++number) {
            auto line = text.substr(0, text.find('\n'));
            text.remove_prefix(std::min(line.size() + 1, text.size()));
            if (line.ends_with('\r'))
                line.remove_suffix(1);
            if (line.empty())
                continue;
            if (table.columns_.empty()) {
                separator = line.find('\t') != line.npos ? '\t' : ',';
                table.columns_ = detail::split_fields(line, separator);
                continue;
            }
            auto fields = detail::split_fields(line, separator);
            check(fields.size() == table.columns_.size(), table.name_, ": line ", number, " has ", fields.size(),
                  " fields, the first has ", table.columns_.size());
            auto id = std::move(fields[0]);
            check(table.rows_.emplace(id, std::move(fields)).second, table.name_, ": line ", number, ": ", id,
                  " is there twice");
        }
        check(table.columns_.size() >= 2, table.name_, ": expected a line of two or more column names");
        return table;
    }

    std::vector<std::string> const &columns() const { return columns_; }
    index_t size() const { return static_cast<index_t>(rows_.size()); } ///< proteins

    /// Labels (P) of proteins; empty where the table has no such protein. An id is looked up as a whole, then by its
    /// first word.
    /// @param column  a column's name, or "" for the second @throws Error when there is no such column
    std::vector<std::string> labels(std::vector<std::string> const &ids, std::string const &column) const {
        auto const at = column.empty() ? columns_.begin() + 1 : std::find(columns_.begin(), columns_.end(), column);
        check(at != columns_.end(), name_, ": has no column '", column, "'; it has ", names());
        auto const place = static_cast<std::size_t>(at - columns_.begin());
        std::vector<std::string> result;
        for (auto const &id : ids) {
            auto row = rows_.find(id);
            if (row == rows_.end())
                row = rows_.find(id.substr(0, id.find_first_of(" \t")));
            result.push_back(row == rows_.end() || place == 0 ? std::string() : row->second[place]);
        }
        return result;
    }

  private:
    std::string names() const {
        std::string all;
        for (auto const &column : columns_)
            all += (all.empty() ? "'" : ", '") + column + "'";
        return all;
    }

    std::string name_;
    std::vector<std::string> columns_;
    std::unordered_map<std::string, std::vector<std::string>> rows_; // the first field is moved out: it is the key
};

} // namespace protlm::inline v0
