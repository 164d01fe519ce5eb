#pragma once
// The lesson's texts: files of sections with placeholders, which the report fills from the answers
// of a run. They are compiled into the program (cmake/embed.cmake).
//
// A file:
//   == meaning                    a section; its paragraphs are separated by blank lines
//   BatchNorm changes it by {C5a.mean} points.
//
// A placeholder:
//   {C5a}                         the number of a line with its interval and unit
//   {C5a.mean} {C5a.minus} {C5a.size} {C5a.factor} {C5a.word} {C5a.found} {C5a.amount} {C5a.signed} {C5a.times}
//                                 mean, minus the mean, its size, 2 to the mean, the word of the
//                                 verdict, number and word, size with its digits ("at least 1.0"),
//                                 that as a factor
//   {rates}                       a text that the claim says itself
//   {C5a yes: text | small: text | same: text | less: text | no: text | open: text}
//                                 a choice by the line's verdict: the claim holds, it holds but
//                                 perhaps by little, no difference, the opposite by little, the
//                                 opposite, not decided. Of a flag: yes or no. Where small and less
//                                 are not there, they take yes and no with "(perhaps little)";
//                                 another label that is not there gives nothing. Texts may hold
//                                 placeholders again.
#include <loupe/lesson/question.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace loupe::lesson {

/// The text of a file of this folder as it was built ("lesson/c5.txt", "lesson/c5.cpp"); empty for
/// another name.
std::string_view embedded(std::string_view file);

struct Section {
  std::string head;
  std::vector<std::string> paragraphs{};  // each on one line
};
/// ValueError, which says `name`, for text before the first section and for a section that is empty
/// or there twice.
std::vector<Section> parse_sections(std::string_view text, const std::string& name);
/// Those of an embedded file. ValueError if there is none of that name.
std::vector<Section> embedded_sections(const std::string& file);

/// What placeholders may name.
class Facts {
 public:
  void text(const std::string& name, const std::string& value) { texts_[name] = value; }
  void flag(const std::string& name, bool on) { flags_[name] = on; }
  void line(const Line& line) {
    lines_[line.id] = line;
    missing_.erase(line.id);
  }
  /// A line that was not measured: its number says so, its choices are "open".
  void unmeasured(const std::string& id) { missing_.insert(id); }

  const Line* find(const std::string& id) const;
  /// The text of {name}. ValueError if nothing is called so.
  std::string value(const std::string& name) const;
  /// The label that {name label: ...} takes.
  std::string label(const std::string& name) const;
  /// Every name a text may use, without the lines'.
  std::set<std::string> names() const;

 private:
  std::map<std::string, std::string> texts_;
  std::map<std::string, bool> flags_;
  std::map<std::string, Line> lines_;
  std::set<std::string> missing_;
};

/// The text with its placeholders filled. ValueError for an unknown name, a label that no choice
/// knows, or braces that do not match.
std::string fill(std::string_view text, const Facts& facts);
/// One placeholder, as a test sees it.
struct Placeholder {
  std::string name;                // "C5a" of {C5a.mean}
  std::set<std::string> labels{};  // of a choice
};
/// All of a text, those inside choices too.
std::vector<Placeholder> placeholders(std::string_view text);

struct Link {
  std::string text, url;
};

/// A claim's file: title, says, condition; guess (that it holds, in part, not), answer, finding (title
/// of the first chart), number and bars ("line :: in large :: what it is", "line :: text" of BatchNorm
/// and of LayerNorm, or "line :: text :: name" of others); experiment, meaning, trap, live (its settings on the live lesson's page, where that has them), papers, and a section for each line: what is
/// compared, and what it means.
struct Story {
  std::string id, title, says, condition, answer, finding, meaning, trap;
  std::string live{};
  std::vector<std::string> guesses{};
  std::vector<std::string> number{};             // line, in large, what it is
  std::vector<std::vector<std::string>> bars{};  // line, text, perhaps a name
  std::vector<std::string> experiment{};
  std::map<std::string, std::vector<std::string>> lines{};
  std::vector<Link> papers{};
  /// Of "C5": lesson/c5.txt.
  static Story of(const std::string& id);
  /// Every text in which placeholders may stand.
  std::vector<std::string> texts() const;
};

}  // namespace loupe::lesson
