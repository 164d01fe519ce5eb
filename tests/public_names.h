#pragma once
// The names that a public header declares, read from its text: tests that must be complete take
// their list from here, never from a typed one.
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace loupe::testing {

/// Names of the functions and classes that a header declares in namespace loupe (and the members of
/// Tensor): lines that begin in the first column, as this house writes them. Structs are options and
/// results.
inline std::vector<std::string> public_names(const std::filesystem::path& header) {
  static const std::regex function(
      "^(template <.*> )?((inline|constexpr|extern) )*[A-Za-z_][A-Za-z0-9_:<>,&* ]*[ "
      "&*>]([A-Za-z0-9_]+)\\(.*");
  static const std::regex type("^(template <.*> )?class ([A-Za-z0-9_]+)( final)?( :.*| \\{)?$");
  const bool tensor = header.filename() == "tensor.h";
  std::vector<std::string> names;
  std::ifstream in(header);
  std::string line;
  for (bool inner = false; std::getline(in, line);) {
    if (line.rfind("namespace ", 0) == 0)
      inner = line != "namespace loupe {" && line != "namespace loupe::init {";
    if (line.rfind("}  // namespace ", 0) == 0) inner = false;
    if (inner) continue;
    if (tensor && line.rfind("  ", 0) == 0 && line.rfind("   ", 0) != 0) line = line.substr(2);
    std::smatch m;
    if (std::regex_match(line, m, function)) names.push_back(m[4]);
    else if (std::regex_match(line, m, type)) names.push_back(m[2]);
  }
  return names;
}

}  // namespace loupe::testing
