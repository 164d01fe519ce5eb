#pragma once
// What the pages, tables and traces of this folder share. Not part of the interface.
#include <cstdint>
#include <string>

namespace loupe::view {

/// "640 B", "50.2 kB", "1.3 MB".
std::string bytes_in_words(int64_t bytes);
/// A name cut to `width` columns: its end says more than its beginning.
std::string fitted(const std::string& name, size_t width);
/// Text made safe for HTML and XML.
std::string escape(const std::string& text);
/// `text` as a JSON string, in quotes. `<` is escaped as well: the string may stand in a page's
/// script.
std::string json_string(const std::string& text);
/// Writes the file. IoError, which begins with `what`, if that fails.
void write_text(const std::string& path, const std::string& text, const char* what);

}  // namespace loupe::view
