// docs/tour.md names places in the code as [file:line](../file#Lline): `text`. Each line still
// holds its text. After code has moved, LOUPE_UPDATE_TOUR=1 test_core "[tour]" writes the new
// lines.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "catch.h"

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = LOUPE_SOURCE_ROOT;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Place {
  std::string file;
  size_t line = 0;
  std::string text;  // that the line holds
};

// The line of `file` that holds `text`; 0 if none or several do.
size_t line_with(const std::string& file, const std::string& text) {
  const std::vector<std::string> lines = lines_of(kRoot / file);
  size_t found = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find(text) == std::string::npos) continue;
    if (found) return 0;
    found = i + 1;
  }
  return found;
}

const std::regex kPlace(R"(\[([\w./-]+):(\d+)\]\(\.\./[\w./-]+#L\d+\): `([^`]+)`)");

std::string link(const Place& p) {
  return "[" + p.file + ":" + std::to_string(p.line) + "](../" + p.file + "#L" +
         std::to_string(p.line) + "): `" + p.text + "`";
}

}  // namespace

TEST_CASE("every place of the tour is where the tour says", "[tour]") {
  const fs::path page = kRoot / "docs/tour.md";
  const std::string tour = read(page);
  std::string now;
  size_t copied = 0, places = 0;
  for (std::sregex_iterator it(tour.begin(), tour.end(), kPlace), end; it != end; ++it) {
    const Place told{(*it)[1], std::stoul((*it)[2]), (*it)[3]};
    const Place real{told.file, line_with(told.file, told.text), told.text};
    INFO(told.file << " has one line with \"" << told.text << "\"");
    CHECK(real.line > 0);
    INFO("docs/tour.md says line " << told.line << ", it is line " << real.line
                                   << "; LOUPE_UPDATE_TOUR=1 test_core \"[tour]\" mends it");
    if (!std::getenv("LOUPE_UPDATE_TOUR")) CHECK(it->str() == link(real));
    now += tour.substr(copied, static_cast<size_t>(it->position()) - copied) + link(real);
    copied = static_cast<size_t>(it->position() + it->length());
    ++places;
  }
  CHECK(places >= 10);
  size_t stops = 0;
  for (size_t at = 0; (at = tour.find("\n## ", at)) != std::string::npos; ++at) ++stops;
  CHECK(stops == 10);
  if (std::getenv("LOUPE_UPDATE_TOUR")) std::ofstream(page) << now << tour.substr(copied);
}
