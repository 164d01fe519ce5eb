#pragma once
// The names that a public header declares, read from its text: tests that must be complete take
// their list from here, never from a typed one.
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace loupe::testing {

/// A function or class that a header declares in namespace loupe, or a member of Tensor: its name,
/// and its text from the first column to the end of the line with the first `;` or `{`.
struct Declaration {
  std::string name;
  std::string text;
};

/// Found by their lines, which begin in the first column, as this house writes them. Structs are
/// options and results: they are left out, as operators are.
inline std::vector<Declaration> declarations(const std::filesystem::path& header) {
  static const std::regex function(
      "^(template <.*> )?((inline|constexpr|extern) )*[A-Za-z_][A-Za-z0-9_:<>,&* ]*[ "
      "&*>]([A-Za-z0-9_]+)\\(.*");
  static const std::regex type("^(template <.*> )?class ([A-Za-z0-9_]+)( final)?( :.*| \\{)?$");
  const bool tensor = header.filename() == "tensor.h";
  std::vector<Declaration> found;
  std::ifstream in(header);
  std::string line;
  for (bool inner = false; std::getline(in, line);) {
    if (line.rfind("namespace ", 0) == 0)
      inner = line != "namespace loupe {" && line != "namespace loupe::init {";
    if (line.rfind("}  // namespace ", 0) == 0) inner = false;
    if (inner) continue;
    if (tensor && line.rfind("  ", 0) == 0 && line.rfind("   ", 0) != 0) line = line.substr(2);
    std::smatch m;
    std::string name;
    if (std::regex_match(line, m, function)) name = m[4];
    else if (std::regex_match(line, m, type)) name = m[2];
    if (name.empty()) continue;
    std::string more;
    std::string text = line;
    while (text.find_first_of(";{") == std::string::npos && std::getline(in, more)) text += more;
    found.push_back({name, text});
  }
  return found;
}

inline std::vector<std::string> public_names(const std::filesystem::path& header) {
  std::vector<std::string> names;
  for (const Declaration& d : declarations(header)) names.push_back(d.name);
  return names;
}

}  // namespace loupe::testing
