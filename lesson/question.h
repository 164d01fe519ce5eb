#pragma once
// What a claim asks of its runs, as data: which values of which arms are compared, in which unit,
// beyond which margin. `answer` turns a question into a line of the report.
#include <loupe/lesson/arm.h>
#include <loupe/lesson/stats.h>

#include <string>
#include <vector>

namespace loupe::lesson {

/// One value a seed, taken from the runs of one arm or of several.
struct Sample {
  enum class Pick {
    value,        // the metric of the one arm
    largest,      // the largest of the arms'
    decades,      // log10 of the largest over the smallest of the arms'
    best_valid,   // of the arm that lives and has the smallest validation loss
    usable_rate,  // the largest learning rate of the arms whose metric is below `bound`; a step of
                  // the grid below them where none is
    constant      // `bound`, whatever the seed
  };
  std::vector<const Measured*> arms{};
  std::string metric{};
  Pick pick = Pick::value;
  double bound = 0;

  /// In the order of seeds. `n`: how many values a constant has.
  std::vector<Outcome> outcomes(size_t n) const;
  /// 0 for a constant.
  size_t seeds() const { return arms.empty() ? 0 : arms[0]->runs.size(); }
};
Sample of(const Measured& arm, const std::string& metric);
Sample constant(double value);

enum class Kind { statistical, exact };
/// How an exact fact's number is held against its bound.
enum class Holds { at_most, above };
/// How two samples are compared, seed by seed.
enum class Contrast { difference, doublings };

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
  bool beside = false;  // a check of the experiment or a rival explanation: no part of the claim's
                        // word
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
/// The question, which then does not count in the claim's word.
Question beside(Question q);

/// One sub-claim answered: a number, how sure it is, and one word.
struct Line {
  std::string id;
  std::string text;  // what is compared: "BatchNorm, groups of 64 minus groups of 2"
  Kind kind = Kind::statistical;
  Verdict verdict = Verdict::inconclusive;
  Interval effect{};  // exact facts: effect.mean is the number, without interval
  double margin = 0;  // exact facts: the bound that the number is held against, 0 for "exactly 0"
  Holds holds = Holds::at_most;
  std::string unit{};  // "points", "nats", "doublings"; "surviving" where survival is compared
  int seeds = 0, dead = 0;
  bool survival = false;
  bool beside = false;
  std::string meaning{};  // one plain sentence with its conditions
};

/// The answer; text and meaning are the story's to fill in.
Line answer(const Question& question);

/// Judges a comparison by the margin rule. `scale` turns it into the unit shown (100 for points).
Line statistical(std::string id, std::string text, const Comparison& c, double margin,
                 Expect expect, std::string unit, double scale = 1);
/// A fact without uncertainty: value <= bound, or value > bound where it must not be small.
Line exact(std::string id, std::string text, double value, Holds holds, double bound,
           std::string unit = "");

inline constexpr double kChance = 0.1;             // ten classes
inline constexpr double kAccuracyMargin = 0.5;     // points
inline constexpr double kLossMargin = 0.02;        // nats
inline constexpr double kRatioMargin = 0.3219281;  // log2(1.25)

}  // namespace loupe::lesson
