#pragma once
// The whole lesson: runs the claims, keeps every run, writes the report.
#include <loupe/lesson/nets.h>
#include <loupe/lesson/claim.h>
#include <loupe/lesson/together.h>

#include <functional>
#include <string>
#include <vector>

namespace loupe::lesson {

struct LessonOptions {
  std::string profile = "quick";      // quick, full, tiny
  int part = 1;                       // 2: rivals and successors
  std::vector<std::string> claims{};  // {"C5", "C9"}; empty: all of the part
  int seeds = 0;                      // 0: the profile's
  int first_seed = 1;                 // of verdicts; those from 1001 on choose learning rates
  std::string text{};  // a UTF-8 file in place of the word list; in the full profile beside it
  std::string data{};  // folder of Fashion-MNIST; empty: the package's
  std::string out{};   // folder for runs.jsonl, runs.csv, questions.jsonl, report.html, report.md,
                       // report.jsonl (recompute.py computes the verdicts again from these);
                       // empty: nothing is written
  std::string logdir{};    // folder for TensorBoard's event files; empty: none
  bool resume = false;     // go on from out/runs.jsonl
  bool overwrite = false;  // start anew, whatever out holds
  bool retune = false;     // choose every learning rate anew; else from the program's table
  int workers = 0;         // 0: one a core
  std::string command = "loupe lesson";  // as the report shows it
  Norms norms{};                         // what is compared; own: a third arm of every experiment
  std::function<void(const Progress&)> progress{};
  std::function<void(const ClaimResult&)>
      on_claim{};                // in the order of claims, once all are done: their words are
                                 // corrected together
  std::function<bool()> stop{};  // true once the user asked to stop
  /// Processes that measure together; all are given the same options but for out, logdir, progress and
  /// on_claim, which one of them has.
  Together together{};
};

/// Makes the runs and returns what they show. Stopped when the user asked to stop; ValueError for
/// an unknown claim or profile; IoError without data.
Report run_lesson(const LessonOptions& options);

/// The lesson's table beside the measured verdicts, and its questions answered from them.
/// (summary.cpp)
std::vector<Advice> when_to_use(const std::vector<ClaimResult>& claims);
std::vector<Decision> decisions(const std::vector<ClaimResult>& claims);
std::vector<Answer> interview(const std::vector<ClaimResult>& claims);
/// What the run found that the lesson does not say.
std::vector<Answer> surprises(const std::vector<ClaimResult>& claims);
/// The picture of all claims.
std::vector<PictureRow> picture(const std::vector<ClaimResult>& claims);
/// The lesson's tools, each with a fact computed here. (tools.cpp)
std::vector<Answer> tools(const std::vector<ClaimResult>& claims, const Records& runs);
/// The lines of the run, to fill texts from; those of the lesson that it did not measure say so.
Facts facts_of(const std::vector<ClaimResult>& claims);

}  // namespace loupe::lesson
