#pragma once
// The statistics behind a verdict: paired differences over seeds, Student's t intervals, and the
// rule that turns an interval and a margin into a word. Nothing here knows of networks.
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace loupe::lesson {

/// The larger of two errors, or NaN if one is: an exact fact with a NaN is no fact. (std::max(x, NaN)
/// is x.)
inline double worst_of(double worst, double error) {
  return error > worst || std::isnan(error) ? error : worst;
}

double mean(std::span<const double> x);
/// Middle value; the mean of the middle two when n is even. NaN counts as +infinity (a diverged run
/// is the worst).
double median(std::span<const double> x);
/// Sample standard deviation (n - 1). 0 for fewer than two values.
double stddev(std::span<const double> x);

/// P(T <= t) for Student's t with `dof` degrees of freedom, by the regularised incomplete beta
/// function.
double t_cdf(double t, double dof);
/// The t with t_cdf(t, dof) = p, 0 < p < 1. t_quantile(.975, 2) = 4.3027, t_quantile(.975, 4)
/// = 2.7764.
double t_quantile(double p, double dof);

/// An estimate with its two-sided interval, of 95 % unless another level is asked for. An end is infinite where nothing bounds it: fewer
/// than two values, values that are all the same, runs that were cut off.
struct Interval {
  double mean = 0, lo = 0, hi = 0;
  int n = 0;
};
/// mean +- t(.975, n-1) * stddev / sqrt(n).
Interval t_interval(std::span<const double> x);
/// a[i] - b[i]; ValueError if the lengths differ.
std::vector<double> paired_difference(std::span<const double> a, std::span<const double> b);
/// log2(a[i] / b[i]): doublings. 1 means twice.
std::vector<double> paired_log2_ratio(std::span<const double> a, std::span<const double> b);
/// Wilson's score interval of a proportion (Wilson, JASA 22, 1927).
Interval wilson_interval(int successes, int n);
/// Difference of two proportions with Newcombe's score interval (method 10 of Newcombe, Statistics
/// in Medicine 17, 1998). Unlike a t interval it keeps its width when all of one arm survive and
/// none of the other.
Interval survival_difference(int survived_a, int n_a, int survived_b, int n_b);

enum class Verdict {
  reproduced,
  partly,
  no_difference,
  contradicted,
  inconclusive,
  small,          // surely in the expected direction, but perhaps by less than the margin
  small_opposite  // surely in the other direction, but perhaps by less than the margin
};
/// "REPRODUCED", "PARTLY", "NO DIFFERENCE", "CONTRADICTED", "INCONCLUSIVE", "SMALL",
/// "SMALL OPPOSITE".
const char* name(Verdict v);
/// The inverse. ValueError for another word.
Verdict verdict_from(const std::string& word);
/// Is there a conclusion?
inline bool decided(Verdict v) { return v != Verdict::inconclusive; }

/// What is said of an effect: it is positive, it is negative, there is none, or it is at most the
/// margin ("no worse than").
enum class Expect { positive, negative, none, at_most };

/// The margin rule. positive: REPRODUCED if the interval lies beyond +margin, CONTRADICTED beyond
/// -margin; else SMALL if it lies beyond 0, SMALL OPPOSITE below 0; else NO DIFFERENCE inside
/// +-margin, else INCONCLUSIVE. negative: mirrored. none: REPRODUCED inside +-margin, CONTRADICTED
/// wholly outside on either side, else INCONCLUSIVE. at_most: REPRODUCED below +margin, CONTRADICTED
/// above it, else INCONCLUSIVE. A NaN anywhere is INCONCLUSIVE.
Verdict judge(const Interval& effect, double margin, Expect expect);
/// The word of a claim from its parts: theirs if all agree, else PARTLY when some part was
/// reproduced, else INCONCLUSIVE when some part is, else CONTRADICTED.
Verdict combine(std::span<const Verdict> parts);

/// One measured value and whether its run died (diverged, or ended no better than knowing nothing).
struct Outcome {
  double value = 0;
  bool dead = false;
  /// The true value lies between `value` and `value + slack`: 0 where it was measured, the step of
  /// a grid, infinite where the measurement was cut off.
  double slack = 0;
  /// Which test images were right, one bit an image (marks_of); null where that is not known.
  const std::string* marks = nullptr;
};

/// Which direction of the value is good: accuracy, or loss and steps.
enum class Better { more, less };
/// How two values are compared.
enum class Contrast { difference, doublings };

/// How a comparison is made.
struct Rules {
  double nothing = 0;  // what a run that learned nothing scores: chance, ln(classes), the budget
  Better better = Better::more;
  Contrast contrast = Contrast::difference;
  int looks = 1;  // how often the growing number of seeds is looked at (pocock_level)
};

/// Runs are added block by block until a line is decided. So that an interval holds its truth with
/// 95 % whatever the look at which this stops, each is taken at a smaller level: Pocock's for 1 to 5
/// looks (Biometrika 64, 1977): .05, .0294, .0221, .0182, .0158. ValueError for another number.
double pocock_level(int looks);

/// The error of randomised blocks: arms x seeds without interaction. `variance` estimates that of
/// one run once arm and seed are taken out, from (arms - 1)(seeds - 1) degrees of freedom.
struct BlockError {
  double variance = 0;
  double dof = 0;
};
/// arms[i][j]: arm i at seed j. ValueError unless there are two arms or more of one length, 2 or
/// more.
BlockError block_error(const std::vector<std::vector<double>>& arms);

/// A mean over seeds, known between two bounds; they are equal unless some run was cut off.
struct Estimate {
  struct Bound {
    double mean = 0;
    double error = 0;  // standard error of the mean
    double dof = 0;    // its degrees of freedom
  };
  Bound lower{}, upper{};
  int n = 0;
};
/// The interval of level 1 - `level`: from the lower bound minus t times its error to the upper one
/// plus t times its own. Where all values are the same and none was cut off, there is no interval.
Interval interval(const Estimate& e, double level = 0.05);
/// The two-sided level at which the estimate just earns the word: the p-value of the test behind
/// it, times the number of looks (Bonferroni). 1 for INCONCLUSIVE. With n values that are all the
/// same: 2^(1-n), that of the sign test.
double p_value(const Estimate& e, double margin, Expect expect, Verdict word, int looks = 1);

/// Two arms compared seed by seed.
struct Comparison {
  Estimate estimate{};
  Interval effect{};  // of a - b
  int dead_a = 0, dead_b = 0;
  bool against_nothing = false;  // an arm died whole: its runs enter as knowing nothing
};
/// a[i] - b[i], or log2(a[i] / b[i]), over the seeds at which both arms live. Survival is reported
/// beside, never instead. Where fewer than two such seeds are left, a dead run enters as knowing
/// nothing; of a loss that is a lower bound, since a dead run's is larger still.
/// The images' own sampling enters where marks are known: to the error over seeds,
/// s^2 / n, comes max(0, var_j(d_j) - mean_j(s_j^2) / n) / images, with d_j the mean over seeds of
/// the difference at image j and s_j^2 its variance over seeds (two crossed samples; degrees of
/// freedom by Satterthwaite).
/// `pool`: arms of the same experiment, a and b among them, whose runs cannot die. Where all of them
/// live, s^2 is the larger of the pair's own and twice the error of randomised blocks (block_error;
/// of log2 of the values for doublings), with its degrees of freedom. Never less than the pair's
/// own: arms may differ in spread.
Comparison compare(std::span<const Outcome> a, std::span<const Outcome> b, const Rules& rules,
                   const std::vector<std::vector<Outcome>>& pool = {});

/// Bits as text, four a character: "1" is the last of four.
std::string marks_of(const std::vector<bool>& right);
/// The bit of a text of marks.
bool mark(const std::string& marks, size_t i);

/// Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979): which of the tests stand
/// when the chance that any of them errs is to be at most `level`.
std::vector<bool> holm(std::span<const double> p_values, double level = 0.05);

}  // namespace loupe::lesson
