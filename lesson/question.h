#pragma once
// What a claim asks of its runs, as data: which values of which arms are compared, in which unit,
// beyond which margin. `answer` turns a question into a line of the report.
#include <loupe/lesson/arm.h>
#include <loupe/lesson/stats.h>

#include <optional>
#include <string>
#include <vector>

namespace loupe::lesson {

/// One value a seed, taken from the runs of one arm or of several.
struct Sample {
  enum class Pick {
    value,        // the metric of the one arm
    largest,      // the largest of the arms'
    decades,      // log10 of the largest over the smallest of the arms'
    gap,          // the first arm's minus the second's; dead if one is
    best_valid,   // of the arm that lives and has the smallest validation loss
    usable_rate,  // the largest learning rate of the arms whose metric is below `bound`, and from
                  // there to the next rate of the grid: the truth lies between; a step of the grid
                  // below them where none is
    constant      // `bound`, whatever the seed
  };
  std::vector<const Measured*> arms{};
  std::string metric{};
  Pick pick = Pick::value;
  double bound = 0;

  /// Of the first n seeds, in their order.
  std::vector<Outcome> outcomes(size_t n) const;
  /// That all of its arms have: an arm may have more than another. 0 for a constant.
  size_t seeds() const;
};
Sample of(const Measured& arm, const std::string& metric);
Sample constant(double value);

enum class Kind { statistical, exact };
/// How an exact fact's number is held against its bound.
enum class Holds { at_most, above };
/// What a line is to its claim.
enum class Role {
  primary,  // the claim's word is this line's, corrected for the number of claims
  limits,   // where it does not hold, the claim holds only under a condition: PARTLY
  explains  // a check of the experiment, a rival explanation, another network: no part of the word
};

/// One sub-claim: a against b.
struct Question {
  std::string id;  // "C5a"; "C8a-2" asks C8a of the second text
  Sample a, b;
  Contrast contrast = Contrast::difference;
  double nothing = 0;  // what a run that learned nothing scores
  Better better = Better::more;
  double margin = 0;  // exact facts: the bound that the number is held against
  Expect expect = Expect::positive;
  std::string unit{};
  double scale = 1;  // turns the difference into the unit: 100 for points
  Kind kind = Kind::statistical;
  Holds holds = Holds::at_most;
  Role role = Role::explains;
  std::vector<const Measured*> pool{};  // arms whose error is pooled (compare)
  int looks = 1;                        // at a growing number of seeds

  /// The seeds that all of its arms have.
  size_t seeds() const;
};

/// Test accuracy of a minus b, in points.
Question points(const std::string& id, const Sample& a, const Sample& b);
/// a minus b of a loss, in nats; `nothing`: the loss of knowing nothing.
Question nats(const std::string& id, const Sample& a, const Sample& b, double nothing,
              Expect expect);
/// log2(a / b) of a quantity of which less is better.
Question doublings(const std::string& id, const Sample& a, const Sample& b, double nothing,
                   Expect expect);
/// The largest |a| over the seeds, which must be at most, or above, the bound.
Question fact(const std::string& id, const Sample& a, Holds holds, double bound,
              const std::string& unit = "");
/// The largest |a - b|.
Question largest_gap(const std::string& id, const Sample& a, const Sample& b, double bound,
                     const std::string& unit, double scale = 1);
/// The question in another role. (Statistical ones explain, exact ones limit, if nothing is said.)
Question primary(Question q);
Question limits(Question q);
Question explains(Question q);
/// With the error of these arms: the same network and task, none of which can die.
Question pooled(Question q, std::vector<const Measured*> arms);

inline constexpr int kClaimCount = 12;  // of the lesson

/// One sub-claim answered: a number, how sure it is, and one word.
struct Line {
  std::string id;
  std::string text;  // what is compared: "BatchNorm, groups of 64 minus groups of 2"
  Kind kind = Kind::statistical;
  Verdict verdict = Verdict::inconclusive;
  Interval effect{};  // exact facts: effect.mean is the number, without interval
  double margin = 0;  // exact facts: the bound that the number is held against, 0 for "exactly 0"
  Holds holds = Holds::at_most;
  std::string unit{};            // "points", "nats", "doublings"
  int seeds = 0;                 // compared
  int looks = 1;                 // planned, at a growing number of seeds
  int dead_a = 0, dead_b = 0;    // runs of each arm that died; they are left out of the comparison,
  bool against_nothing = false;  // unless an arm died whole and enters as knowing nothing
  Expect expect = Expect::positive;
  bool gridded = false;  // known between two rates of a grid: seeds alone do not narrow it
  Role role = Role::explains;
  double p = 0;           // of the word; exact facts: 0
  bool stands = true;     // of a primary line: its word survives the correction for the claims
  std::string meaning{};  // one plain sentence with its conditions
  bool own = false;       // an arm of it is one's own norm's

  int dead() const { return dead_a + dead_b; }
  /// What a text may say: the verdict, INCONCLUSIVE where it does not stand.
  Verdict word() const { return stands ? verdict : Verdict::inconclusive; }
};

/// The answer; text and meaning are the story's to fill in.
Line answer(const Question& question);
/// Would more seeds add to it? Not where the word is REPRODUCED, CONTRADICTED or NO DIFFERENCE or a
/// small effect is surely below its margin. A primary line must also stand beside those of the
/// other claims, of which there are so many.
bool settled(const Line& line, int claims = kClaimCount);
/// About how many seeds would decide an INCONCLUSIVE line, were its mean and spread right; nothing
/// where seeds would not help (the step of a grid) or the word is another.
std::optional<int> seeds_to_decide(const Line& line);

/// Judges a comparison by the margin rule.
Line statistical(const Question& question, const Comparison& comparison);
/// A fact without uncertainty: value <= bound, or value > bound where it must not be small.
Line exact(const Question& question, double value);
/// {"claim":...,"id":...}: all that is needed to answer the question from the file of runs, which
/// recompute.py does. One line.
std::string to_json(const Question& question, const std::string& claim);

inline constexpr double kChance = 0.1;             // ten classes
inline constexpr double kAccuracyMargin = 0.5;     // points
inline constexpr double kLossMargin = 0.02;        // nats
inline constexpr double kRatioMargin = 0.3219281;  // log2(1.25)

}  // namespace loupe::lesson
