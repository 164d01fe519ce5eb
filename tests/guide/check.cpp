// Holds the guide's text against its programs.
//
//   guide_check DOCS PROGRAMS            fails where a page differs from a fresh run
//   guide_check DOCS PROGRAMS --write    rewrites the pages' blocks and the figures
//   guide_check DOCS PROGRAMS --measure  --write, and the measured times too
//
// DOCS is docs/guide, PROGRAMS the folder of the compiled docs/guide/*.cpp. On a page, the line
// before a fenced block says where the block comes from:
//
//   <!-- code: 02_tape.cpp sum -->    the lines between `// [sum]` and `// [/sum]` of that source
//   <!-- output: 02_tape sum -->      what the program prints after a line `== sum`, with LOUPE_CPU=reference
//   <!-- measured: 09_fast loops -->  the same on this machine's processor; every number is free
//   <!-- cited -->                    the paragraph's numbers come from the source that it names
//
// Every ```cpp block needs the first, every ```text block the second or third. In the prose, every
// number with a decimal point and every number from 100 on must stand in a block of the page or in
// an output of its programs. Links to files must lead somewhere.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

namespace {

int faults = 0;

void report(const std::string& where, const std::string& what) {
  std::cout << where << ": " << what << "\n";
  ++faults;
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Lines split(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string join(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool starts_with(const std::string& s, const std::string& start) { return s.rfind(start, 0) == 0; }

void trim_empty_ends(Lines& lines) {
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  while (!lines.empty() && lines.front().empty()) lines.erase(lines.begin());
}

// Between `// [name]` and `// [/name]`, without the marks of other regions and the common indent.
Lines region(const fs::path& source, const std::string& name) {
  static const std::regex mark("^ *// \\[/?[a-z_0-9]+\\]$");
  Lines found;
  bool inside = false;
  for (const std::string& line : split(read(source))) {
    const std::string bare = line.substr(std::min(line.find_first_not_of(' '), line.size()));
    if (bare == "// [" + name + "]") inside = true;
    else if (bare == "// [/" + name + "]") inside = false;
    else if (inside && !std::regex_match(line, mark)) found.push_back(line);
  }
  size_t indent = std::string::npos;
  for (const std::string& line : found)
    if (!line.empty()) indent = std::min(indent, line.find_first_not_of(' '));
  for (std::string& line : found)
    if (!line.empty()) line.erase(0, indent);
  trim_empty_ends(found);
  return found;
}

// What programs print, by section. A program runs once for each kind of processor.
class Runs {
 public:
  explicit Runs(fs::path programs) : programs_(std::move(programs)) {}

  const std::map<std::string, Lines>& of(const std::string& program, bool reference) {
    const std::string key = program + (reference ? " reference" : " fast");
    const auto found = done_.find(key);
    if (found != done_.end()) return found->second;
    return done_[key] = sections(program, run(program, "", reference));
  }

  // Runs a program in a folder of its own, which is empty at first.
  std::string run(const std::string& program, const std::string& argument, bool reference) {
    const fs::path folder = programs_ / "run" / program;
    fs::remove_all(folder);
    fs::create_directories(folder);
    const std::string command = "cd '" + folder.string() + "' && " +
                                (reference ? "LOUPE_CPU=reference " : "") + "'" +
                                fs::absolute(programs_ / program).string() + "' " + argument;
    std::FILE* pipe = popen(command.c_str(), "r");
    std::string text;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
    if (pclose(pipe) != 0) report(program, "the program failed: " + command);
    return text;
  }

 private:
  static std::map<std::string, Lines> sections(const std::string& program, const std::string& out) {
    std::map<std::string, Lines> found;
    std::string name;
    for (std::string line : split(out)) {
      line.erase(line.find_last_not_of(' ') + 1);
      if (starts_with(line, "== ")) {
        name = line.substr(3);
        if (found.count(name)) report(program, "prints the section " + name + " twice");
      } else found[name].push_back(line);
    }
    for (auto& [_, lines] : found) trim_empty_ends(lines);
    return found;
  }

  fs::path programs_;
  std::map<std::string, std::map<std::string, Lines>> done_;
};

// The numbers of a text, without commas at thousands and without zeros at the end.
std::vector<std::string> numbers(const std::string& text) {
  static const std::regex number("[0-9][0-9,]*(\\.[0-9]+)?(e[+-]?[0-9]+)?");
  std::vector<std::string> found;
  for (std::sregex_iterator i(text.begin(), text.end(), number), end; i != end; ++i) {
    std::string token = i->str();
    token.erase(std::remove(token.begin(), token.end(), ','), token.end());
    if (token.find('.') != std::string::npos && token.find('e') == std::string::npos)
      token.erase(token.find_last_not_of(token.back() == '0' ? "0" : "") + 1);
    if (token.back() == '.') token.pop_back();
    found.push_back(token);
  }
  return found;
}

// Of measured lines: every number alike, and any space between words.
std::string without_numbers(const Lines& lines) {
  static const std::regex number("[0-9]+(\\.[0-9]+)?");
  static const std::regex spaces(" +");
  return std::regex_replace(std::regex_replace(join(lines), number, "#"), spaces, " ");
}

class Page {
 public:
  Page(fs::path path, Runs& runs, bool write, bool measure)
      : path_(std::move(path)), runs_(runs), write_(write), measure_(measure) {}

  void check() {
    const std::string before = read(path_);
    const Lines lines = split(before);
    for (size_t i = 0; i < lines.size(); ++i) {
      line_ = i + 1;
      if (starts_with(lines[i], "```")) i = block(lines, i);
      else text(lines[i]);
    }
    check_numbers();
    check_links();
    if (write_ && join(out_) != before) std::ofstream(path_, std::ios::binary) << join(out_);
  }

 private:
  std::string where() const { return path_.filename().string() + ":" + std::to_string(line_); }

  // A fenced block from its first line; the index of its last.
  size_t block(const Lines& lines, size_t first) {
    size_t last = first + 1;
    while (last < lines.size() && lines[last] != "```") ++last;
    if (last == lines.size()) report(where(), "the block has no end");
    const std::string kind = lines[first].substr(3);
    const Lines shown(lines.begin() + static_cast<long>(first) + 1,
                      lines.begin() + static_cast<long>(last));
    Lines right = shown;
    if (kind == "cpp" || kind == "text") right = wanted(kind, first ? lines[first - 1] : "", shown);
    out_.push_back(lines[first]);
    out_.insert(out_.end(), right.begin(), right.end());
    out_.push_back("```");
    if (kind == "cpp" || kind == "text") known_ += join(right);
    prose_.push_back({line_, ""});
    return last;
  }

  Lines wanted(const std::string& kind, const std::string& mark, const Lines& shown) {
    static const std::regex form("^<!-- (code|output|measured): ([^ ]+) ([^ ]+) -->$");
    std::smatch m;
    if (!std::regex_match(mark, m, form) || (m[1] == "code") != (kind == "cpp")) {
      report(where(), "a " + kind + " block needs its mark on the line before");
      return shown;
    }
    const bool measured = m[1] == "measured";
    Lines fresh;
    if (m[1] == "code") {
      fresh = region(path_.parent_path() / m[2].str(), m[3]);
    } else {
      const auto& sections = runs_.of(m[2], !measured);
      const auto found = sections.find(m[3]);
      if (found != sections.end()) fresh = found->second;
      for (const auto& [_, lines] : sections) known_ += join(lines);
    }
    if (fresh.empty()) {
      report(where(), "nothing there for " + mark);
      return shown;
    }
    const bool same = measured ? without_numbers(fresh) == without_numbers(shown) : fresh == shown;
    if (measured ? measure_ || (write_ && !same) : write_) return fresh;
    if (!same)
      report(where(), "differs from " + mark + ". The page says\n" + join(shown) + "and a run\n" +
                          join(fresh));
    return shown;
  }

  void text(const std::string& line) {
    out_.push_back(line);
    prose_.push_back({line_, line});
  }

  void check_numbers() {
    static const std::regex comment("<!--.*?-->"), target("\\]\\([^)]*\\)"), issue("#[0-9]+"),
        year("\\b(19|20)[0-9]{2}\\b"), code("`[^`]*`"), math("\\$[^$]*\\$"),
        name("[A-Za-z_]+-?[0-9][A-Za-z0-9_]*");
    std::set<std::string> known;
    for (const std::string& n : numbers(known_)) known.insert(n);
    bool cited = false;
    for (const auto& [line, text] : prose_) {
      if (text == "<!-- cited -->") cited = true;
      if (text.empty()) cited = false;
      if (cited) continue;
      std::string rest = text;
      for (const std::regex& r : {comment, target, code, math, issue, year, name})
        rest = std::regex_replace(rest, r, " ");
      for (const std::string& n : numbers(rest)) {
        const bool needs_source =
            n.find('.') != std::string::npos || n.find('e') != std::string::npos || n.size() > 2;
        if (needs_source && !known.count(n)) {
          line_ = line;
          report(where(), "no program prints the number " + n);
        }
      }
    }
  }

  void check_links() {
    static const std::regex link("\\]\\(([^)#:]+)(#[^)]*)?\\)");
    for (const auto& [line, text] : prose_)
      for (std::sregex_iterator i(text.begin(), text.end(), link), end; i != end; ++i) {
        line_ = line;
        if (!fs::exists(path_.parent_path() / (*i)[1].str()))
          report(where(), "the link leads nowhere: " + (*i)[1].str());
      }
  }

  struct Prose {
    size_t line;
    std::string text;
  };
  fs::path path_;
  Runs& runs_;
  bool write_, measure_;
  size_t line_ = 0;
  Lines out_;
  std::vector<Prose> prose_;
  std::string known_;  // the blocks, and the outputs of the page's programs
};

// Every figure is what the program `figures` draws.
void check_figures(const fs::path& docs, const fs::path& programs, Runs& runs, bool write) {
  runs.run("figures", "", true);
  const fs::path fresh = programs / "run" / "figures";
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(fresh))
    names.insert(entry.path().filename().string());
  for (const auto& entry : fs::directory_iterator(docs / "figures"))
    if (entry.path().extension() == ".svg") names.insert(entry.path().filename().string());
  for (const std::string& name : names) {
    const std::string drawn = read(fresh / name);
    if (drawn == read(docs / "figures" / name)) continue;
    if (!write)
      report("figures/" + name,
             drawn.empty() ? "no program draws it" : "differs from a fresh drawing");
    else if (drawn.empty()) fs::remove(docs / "figures" / name);
    else std::ofstream(docs / "figures" / name, std::ios::binary) << drawn;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "guide_check DOCS PROGRAMS [--write | --measure]\n";
    return 2;
  }
  const fs::path docs = argv[1], programs = argv[2];
  const std::string option = argc > 3 ? argv[3] : "";
  const bool measure = option == "--measure", write = option == "--write" || measure;
  Runs runs(programs);
  check_figures(docs, programs, runs, write);
  std::vector<fs::path> pages;
  for (const auto& entry : fs::directory_iterator(docs))
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  std::sort(pages.begin(), pages.end());
  const std::string contents = read(docs / "README.md");
  for (const fs::path& page : pages) {
    Page(page, runs, write, measure).check();
    const std::string name = page.filename().string();
    if (name != "README.md" && contents.find("(" + name + ")") == std::string::npos)
      report("README.md", "the table of contents lacks " + name);
  }
  if (faults)
    std::cout << faults
              << " faults. After a change that is meant: cmake --build build/release --target "
                 "guide_write\n";
  return faults ? 1 : 0;
}
