#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/embed/protein_ids.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Reads a table line by line. A field in quotation marks may hold separators, doubled quotation marks and line ends
/// (RFC 4180); lines end with LF, CR LF or CR.
class TableText {
  public:
    TableText(std::string_view text, std::string const &name) : text_(text), name_(&name) {
        bool const wide = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
        check(!wide, name, ": is UTF-16; save it as UTF-8 text");
        if (text.starts_with("\xef\xbb\xbf")) // a byte order mark, as spreadsheets write it
            text_.remove_prefix(3);
        auto const rest = text_.substr(std::min(text_.find_first_not_of("\r\n"), text_.size()));
        auto const first = rest.substr(0, rest.find_first_of("\r\n"));
        separator_ = first.find('\t') != first.npos ? '\t' : first.find(',') != first.npos ? ',' : ';';
    }

    /// The next line that is not empty; its number is `line`. @returns false at the end @throws Error naming the line
    bool next(std::vector<std::string> &fields) {
        while (take_line_end()) {
        }
        line_ = lines_;
        fields.clear();
        if (text_.empty())
            return false;
        do
            fields.push_back(take_field());
        while (take(separator_));
        return true;
    }
    std::size_t line() const { return line_; } ///< from 1

  private:
    bool take(char c) {
        bool const there = !text_.empty() && text_.front() == c;
        text_.remove_prefix(there ? 1 : 0);
        return there;
    }
    bool take_line_end() {
        bool const carriage_return = take('\r'), end = take('\n') || carriage_return;
        lines_ += end;
        return end;
    }
    std::string take_field() {
        char const ends[] = {separator_, '\r', '\n'};
        if (take('"'))
            return take_quoted();
        std::string field(text_.substr(0, text_.find_first_of(std::string_view(ends, 3))));
        text_.remove_prefix(field.size());
        return field;
    }
    std::string take_quoted() {
        std::string field;
        while (true) {
            auto const part = text_.substr(0, text_.find('"'));
            check(part.size() < text_.size(), *name_, ": line ", line_, ": a quotation mark is never closed");
            field += part;
            lines_ += static_cast<std::size_t>(std::count(part.begin(), part.end(), '\n'));
            text_.remove_prefix(part.size() + 1);
            if (!take('"'))
                break;
            field += '"';
        }
        bool const ends =
            text_.empty() || text_.front() == separator_ || text_.front() == '\r' || text_.front() == '\n';
        check(ends, *name_, ": line ", line_, ": there is text behind a closing quotation mark");
        return field;
    }

    std::string_view text_;
    std::string const *name_;
    char separator_ = '\t';
    std::size_t lines_ = 1, line_ = 1;
};

inline std::string first_word(std::string const &id) { return id.substr(0, id.find_first_of(" \t")); }

} // namespace detail

/// A table of what is known about proteins: a line of column names, then a line a protein, its id in the first column.
/// Columns are separated by tabs or, where the first line has none, by commas, or else by semicolons.
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
        detail::TableText lines(text, table.name_);
        lines.next(table.columns_);
        check(table.columns_.size() >= 2, table.name_, ": expected a line of two or more column names");
        auto const entry = std::find(table.columns_.begin(), table.columns_.end(), "Entry") - table.columns_.begin();
        for (std::vector<std::string> fields; lines.next(fields);) {
            check(fields.size() == table.columns_.size(), table.name_, ": line ", lines.line(), " has ", fields.size(),
                  " fields, the first has ", table.columns_.size());
            auto const row = table.rows_.size();
            auto const &id = fields[0];
            table.by_id_[id].push_back(row);
            table.by_accession_[accession_of(detail::first_word(id))].push_back(row);
            if (entry > 0 && entry < std::ssize(fields))
                table.by_accession_[fields[static_cast<std::size_t>(entry)]].push_back(row);
            table.rows_.push_back({std::move(fields), lines.line()});
        }
        return table;
    }

    std::vector<std::string> const &columns() const { return columns_; }
    index_t size() const { return static_cast<index_t>(by_id_.size()); } ///< different ids

    /// Labels (P) of proteins; empty where the table has no such protein. A protein's id is looked up as a whole, then
    /// its first word, then the accession in that (see accession_of), each among the table's ids; then the accession
    /// among the accessions in the table's ids and in a column `Entry`.
    /// @param column  a column's name, or "" for the second
    /// @throws Error when there is no such column, or where lines of one id have different labels
    std::vector<std::string> labels(std::vector<std::string> const &ids, std::string const &column) const {
        auto const at = column.empty() ? columns_.begin() + 1 : std::find(columns_.begin(), columns_.end(), column);
        check(at != columns_.end(), name_, ": has no column '", column, "'; it has ", names());
        auto const place = static_cast<std::size_t>(at - columns_.begin());
        std::vector<std::string> result;
        for (auto const &id : ids) {
            auto const word = detail::first_word(id), accession = accession_of(word);
            auto const *found = &nothing_;
            for (auto const *key : {&id, &word, &accession})
                found = found->empty() ? &lookup(by_id_, *key) : found;
            result.push_back(label(found->empty() ? lookup(by_accession_, accession) : *found, place, id));
        }
        return result;
    }

  private:
    using Places = std::vector<std::size_t>; ///< of rows
    struct Row {
        std::vector<std::string> fields;
        std::size_t line;
    };

    Places const &lookup(std::unordered_map<std::string, Places> const &index, std::string const &key) const {
        auto const found = index.find(key);
        return found == index.end() || key.empty() ? nothing_ : found->second;
    }
    std::string label(Places const &places, std::size_t column, std::string const &id) const {
        if (places.empty())
            return {};
        auto const &first = rows_[places.front()];
        for (std::size_t const place : places)
            check(rows_[place].fields[column] == first.fields[column], name_, ": lines ", first.line, " and ",
                  rows_[place].line, " give ", id, " different labels: '", first.fields[column], "' and '",
                  rows_[place].fields[column], "'");
        return first.fields[column];
    }
    std::string names() const {
        std::string all;
        for (auto const &column : columns_)
            all += (all.empty() ? "'" : ", '") + column + "'";
        return all;
    }

    std::string name_;
    std::vector<std::string> columns_;
    std::vector<Row> rows_;
    std::unordered_map<std::string, Places> by_id_, by_accession_;
    Places nothing_;
};

} // namespace protlm::inline v0
