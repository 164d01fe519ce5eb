#pragma once
// The statistics behind a verdict: paired differences over seeds, Student's t intervals, and the
// rule that turns an interval and a margin into a word. Nothing here knows of networks.
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace loupe::lesson {

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

/// An estimate with its two-sided 95 % interval. No interval (lo = -inf, hi = inf) for fewer than
/// two values.
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

enum class Verdict { reproduced, partly, no_difference, contradicted, inconclusive };
/// "REPRODUCED", "PARTLY", "NO DIFFERENCE", "CONTRADICTED", "INCONCLUSIVE".
const char* name(Verdict v);

/// What the lesson says of an effect: it is positive, it is negative, or there is none.
enum class Expect { positive, negative, none };

/// The margin rule. positive: REPRODUCED if the interval lies beyond +margin, CONTRADICTED beyond
/// -margin, NO DIFFERENCE inside +-margin, else INCONCLUSIVE; negative: mirrored. none: REPRODUCED
/// inside +-margin, CONTRADICTED wholly outside on either side, else INCONCLUSIVE. A NaN anywhere
/// is INCONCLUSIVE.
Verdict judge(const Interval& effect, double margin, Expect expect);
/// The word of a claim from its parts: theirs if all agree, else PARTLY when some part was
/// reproduced, else INCONCLUSIVE when some part is, else CONTRADICTED.
Verdict combine(std::span<const Verdict> parts);

/// One measured value and whether its run died (diverged, or never left chance with a loss that is
/// not finite).
struct Outcome {
  double value = 0;
  bool dead = false;
};

/// Which direction of the value is good: accuracy, or loss and steps.
enum class Better { more, less };

/// Two arms compared seed by seed.
struct Comparison {
  Interval effect;               // of a - b, or of the difference of survival rates
  bool survival = false;         // more than half of an arm was dead: survival is compared instead
  int dead = 0;                  // dead runs in both arms
  Better better = Better::more;  // a's survival counts like a larger, or like a smaller, value of a
};
/// a[i] - b[i] with a t interval. A dead run enters as `knowing_nothing` (chance accuracy,
/// ln(classes), the full budget).
Comparison compare(std::span<const Outcome> a, std::span<const Outcome> b, double knowing_nothing,
                   Better better);
/// The same of log2(a / b).
Comparison compare_log2(std::span<const Outcome> a, std::span<const Outcome> b,
                        double knowing_nothing, Better better);
/// What to expect of the difference of survival rates where `expect` is expected of the values.
Expect expect_of_survival(Expect expect, Better better);

/// How many of n honest 95 % intervals miss their true value by chance, on average.
inline double expected_misses(int intervals) { return 0.05 * intervals; }

}  // namespace loupe::lesson
