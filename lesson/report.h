#pragma once
// What the lesson found, as data, and its four forms: the table on a terminal, Markdown, JSON
// lines, one HTML page.
#include <loupe/lesson/question.h>
#include <loupe/lesson/story.h>
#include <loupe/view/chart.h>
#include <loupe/view/page.h>

#include <optional>
#include <string>
#include <vector>

namespace loupe::lesson {

using view::Chart;
using view::Heatmap;
using view::Look;
using view::Series;
using view::short_number;
using view::Table;

/// One row an arm: its name, then metric per seed (dead runs marked), then the mean over all of
/// them.
std::vector<std::string> seed_row(const std::string& arm, const Records& runs,
                                  const std::string& metric, double scale = 1, int digits = 1);

/// A number to remember: of the line `line`, in large, and what it is.
struct Figure {
  std::string line, big, text;
};
/// What the picture of all claims says of one norm: the bar is the line's.
struct Bar {
  std::string line, text, name;
};

struct ClaimResult {
  std::string id;                         // "C5"
  std::string title;                      // "Batch size"
  std::string says{};                     // the lesson's sentence
  std::vector<std::string> experiment{};  // three lines
  std::vector<Line> lines{};
  std::vector<std::string> guesses{};  // that it holds, that it holds in part, that it does not
  std::string answer{};                // at most 25 words
  std::string finding{};               // title of the first chart or map
  Figure number{};
  Bar batch{}, layer{};
  std::string meaning{};  // what it means, under which conditions
  std::string trap{};     // how one would get it wrong
  std::vector<Chart> charts{};
  std::vector<Heatmap> maps{};
  std::vector<Table> tables{};
  std::vector<Link> papers{};
  std::string live{};  // its settings on the live lesson's page; empty where that cannot train it
  std::string code{};  // "lesson/c5.cpp"
  std::string condition{};           // under which it holds, in a few words
  std::vector<std::string> asked{};  // the questions as JSON (question.h)
  std::vector<Line> own{};           // the lines with one's own norm in a place of the two (own.h)
  Bar own_bar{};                     // what the picture says of it
  std::string own_text{};            // that bar's words, filled
  Facts facts{};                     // what its texts are filled from, besides the lines

  /// The line behind the word; the first where none is called primary.
  const Line& primary() const { return lines.at(primary_at()); }
  Line& primary() { return lines.at(primary_at()); }
  size_t primary_at() const;
  /// Its verdict, INCONCLUSIVE unless it stands; PARTLY where it is reproduced and a line that
  /// limits it is not: then the claim is shown only in part, and the condition says which.
  Verdict verdict() const;
};
/// The word as a person says it: "yes", "in part", "no difference", "no", "not decided", "a little",
/// "rather not".
const char* plain(Verdict v);
/// Which of a claim's guesses is right; none where it is not decided.
std::optional<size_t> right_guess(const ClaimResult& claim);
/// "PARTLY: only where a statistic averages few values"; other words stand alone.
std::string word_text(const ClaimResult& claim);
/// Holm's correction of the claims' words: over the primary lines that rest on an interval.
void correct(std::vector<ClaimResult>& claims);

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
/// A question of the decision tree.
struct Decision {
  std::string question, yes, no;
};

/// A bar of the picture of all claims: `share` of the row's larger one, negative where the effect is
/// opposite to what the lesson says. Hollow where nothing is decided.
struct PictureBar {
  std::string name, text{};
  double share = 0;
  bool decided = true;
};
struct PictureRow {
  std::string id, title;
  Verdict verdict = Verdict::inconclusive;
  PictureBar batch, layer, own{};
};

struct Report {
  std::string profile, command, machine, data;
  std::string images{};  // what the images are called
  std::string own{};     // the name of one's own norm; empty: none
  int part = 1;
  std::vector<int> looks{};  // seeds at each
  int runs = 0, dead = 0;
  int foreign = 0;       // runs in the file that another program made: made again
  double seconds = 0;    // on the clock, of this call
  double processor = 0;  // seconds of processor time of all runs, whenever they were made
  std::vector<ClaimResult> claims{};
  std::vector<Advice> advice{};
  std::vector<Decision> decisions{};  // when to use which
  std::vector<Answer> interview{}, surprises{}, tools{};
  std::vector<PictureRow> picture{};
};

/// The number with its interval and unit: "+26.3 [+21.9, +30.7] points"; exact facts are marked as
/// such.
std::string effect_text(const Line& line);
/// The size of the effect, without sign and unit: "2.59", "at least 1.00".
std::string amount_text(const Line& line);
/// The mean with its sign and the digits that the interval has: "-0.075".
std::string signed_text(const Line& line);
/// The same of doublings, as a factor: "2.6", "at least 3.0".
std::string times_text(const Line& line);
/// The same for a sentence: "exactly 0 logits".
std::string number_text(const Line& line);
/// "±0.5"; of an exact fact "= 0", "≤ 1e-5", "> 1e-3".
std::string margin_text(const Line& line);
/// "REPRODUCED"; in brackets where it does not count in the claim's word.
std::string verdict_text(const Line& line);
/// "4 to 12 seeds", "8 seeds".
std::string seeds_text(const Report& report);
/// "84 lines stand here ... the words of the claims are corrected for their number ..."
std::string chance_text(const Report& report);

/// At most 80 columns: one line a claim. With `details` the table of all lines before them.
std::string to_terminal(const Report& report, bool details = false);
std::string to_markdown(const Report& report);
/// JSON lines {"event":"claim","id","role","kind","verdict","effect","ci","margin","unit","seeds",
/// "dead","p"}: the claim ("C5", role "claim", its word and the numbers of its primary line), then
/// each line ("C5a"); then {"event":"own",...}, role "own", for each line of one's own norm
/// ("C5a@BatchNorm"). An open end of an interval is null.
std::string to_json_lines(const ClaimResult& claim);
/// A line's event, read again: what a text needs of it. Without an id for another event. IoError,
/// which says `name`, where it is no JSON.
Line line_from_json(const std::string& text, const std::string& name);
/// {"event":"result",...} and a newline.
std::string result_json(const Report& report);
/// Those of all claims, then the result.
std::string to_json_lines(const Report& report);
/// One self-contained page: no scripts, no fonts, no images, nothing fetched.
std::string to_html(const Report& report);
/// The picture of all claims: of the page, and as a file of its own for sharing (1200 x 630).
std::string picture_html(const Report& report);
std::string picture_svg(const Report& report);

}  // namespace loupe::lesson
