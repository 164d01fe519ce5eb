#pragma once
// What the lesson found, as data, and its four forms: the table on a terminal, Markdown, JSON
// lines, one HTML page.
#include <loupe/lesson/chart.h>
#include <loupe/lesson/runs.h>
#include <loupe/lesson/stats.h>

#include <string>
#include <string_view>
#include <vector>

namespace loupe::lesson {

enum class Kind { statistical, exact };
/// How an exact fact's number is held against its bound.
enum class Holds { at_most, above };

/// One sub-claim: a number, how sure it is, and one word.
struct Line {
  std::string id;    // "C5a"
  std::string text;  // what is compared: "BatchNorm, groups of 64 minus groups of 2"
  Kind kind = Kind::statistical;
  Verdict verdict = Verdict::inconclusive;
  Interval effect{};  // exact facts: effect.mean is the number, without interval
  double margin = 0;  // exact facts: the bound that the number is held against, 0 for "exactly 0"
  Holds holds = Holds::at_most;
  std::string unit{};  // "points", "nats", "doublings"; "surviving" where survival is compared
  int seeds = 0, dead = 0;
  bool survival = false;
  bool beside =
      false;  // a check of the experiment or a rival explanation: no part of the claim's word
  std::string meaning{};  // one plain sentence with its conditions
};

/// Judges a comparison by the margin rule. `scale` turns it into the unit shown (100 for points).
Line statistical(std::string id, std::string text, const Comparison& c, double margin,
                 Expect expect, std::string unit, double scale = 1);
/// A fact without uncertainty: value <= bound, or value > bound where it must not be small.
Line exact(std::string id, std::string text, double value, Holds holds, double bound,
           std::string unit = "");

/// Results per arm and seed, or any other small table.
struct Table {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows{};
};
/// One row an arm: its name, then metric per seed (dead runs marked), then the mean over all of
/// them.
std::vector<std::string> seed_row(const std::string& arm, const Records& runs,
                                  const std::string& metric, double scale = 1, int digits = 1);

struct Link {
  std::string text, url;
};

struct ClaimResult {
  std::string id;                         // "C5"
  std::string title;                      // "Batch size"
  std::string says{};                     // the lesson's sentence
  std::vector<std::string> experiment{};  // three lines
  std::vector<Line> lines{};
  std::string meaning{};  // what it means, under which conditions
  std::string trap{};     // how one would get it wrong
  std::vector<Chart> charts{};
  std::vector<Heatmap> maps{};
  std::vector<Table> tables{};
  std::vector<Link> papers{};
  std::string code{};  // "lesson/c5.cpp"
  Verdict verdict() const;
};

/// One of the sentences by the line's verdict: the claim holds, no difference, its opposite, or not
/// decided.
const char* by_verdict(const Line& l, const char* reproduced, const char* no_difference,
                       const char* contradicted, const char* open);

/// One line of the lesson's own table (what it says of BatchNorm and of LayerNorm) beside what this
/// run measured.
struct Advice {
  std::string topic, batch, layer, measured;
  Verdict verdict = Verdict::inconclusive;
  std::string from;  // the sub-claims behind the verdict
};
struct Answer {
  std::string question, answer;
};

struct Report {
  std::string profile, command, machine, data;
  int seeds = 0, runs = 0, dead = 0;
  double seconds = 0;
  std::vector<ClaimResult> claims{};
  std::vector<Advice> advice{};
  std::vector<std::string> decisions{};  // when to use which, in sentences
  std::vector<Answer> interview{};
};

/// The number with its interval and unit: "+26.3 [+21.9, +30.7] points"; exact facts are marked as
/// such.
std::string effect_text(const Line& line);
/// "±0.5"; of an exact fact "= 0", "≤ 1e-5", "> 1e-3".
std::string margin_text(const Line& line);
/// "REPRODUCED"; in brackets where it does not count in the claim's word.
std::string verdict_text(const Line& line);
/// "41 verdicts stand on this page; 30 rest on a 95 % interval, of which 1.5 would miss by chance
/// ..."
std::string chance_text(const Report& report);

/// At most 80 columns.
std::string to_terminal(const Report& report);
std::string to_markdown(const Report& report);
/// JSON lines {"event":"claim","id","kind","verdict","effect","ci","margin","unit","seeds","dead"}:
/// the claim ("C5", its word beside the numbers of its first sub-claim), then each sub-claim
/// ("C5a").
std::string to_json_lines(const ClaimResult& claim);
/// {"event":"result",...} and a newline.
std::string result_json(const Report& report);
/// Those of all claims, then the result.
std::string to_json_lines(const Report& report);
/// The text of a claim's source ("lesson/c5.cpp") as it was built; empty for another name. (Made by
/// sources.cmake.)
std::string_view source_of(std::string_view file);
/// One self-contained page: no scripts, no fonts, no images, nothing fetched.
std::string to_html(const Report& report);

}  // namespace loupe::lesson
