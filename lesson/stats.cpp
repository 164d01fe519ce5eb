#include <loupe/core/error.h>
#include <loupe/lesson/stats.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::lesson {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Continued fraction of the incomplete beta function by Lentz's method (Numerical Recipes 6.4,
// DLMF 8.17.22).
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  const auto guard = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / guard(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m < 500; ++m) {
    for (const double numerator : {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                                   -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))}) {
      d = 1 / guard(1 + numerator * d);
      c = guard(1 + numerator / c);
      h *= d * c;
    }
    if (std::abs(d * c - 1) < 1e-16) break;
  }
  return h;
}

// I_x(a, b); y = 1 - x is passed in so that neither end loses digits.
double regularised_beta(double a, double b, double x, double y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log(y));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, y) / b;
}

// P(T > t) for t >= 0: small tails keep their digits.
double upper_tail(double t, double dof) {
  const double s = dof + t * t;
  return 0.5 * regularised_beta(dof / 2, 0.5, dof / s, t * t / s);
}

Comparison compare_with(std::span<const Outcome> a, std::span<const Outcome> b, double nothing,
                        Better better, bool ratio) {
  if (a.size() != b.size())
    fail<ValueError>("compare: arms of {} and {} seeds cannot be paired", a.size(), b.size());
  const auto deaths = [](std::span<const Outcome> arm) {
    return static_cast<int>(std::ranges::count_if(arm, [](const Outcome& o) { return o.dead; }));
  };
  const int n = static_cast<int>(a.size()), dead_a = deaths(a), dead_b = deaths(b);
  Comparison result;
  result.dead = dead_a + dead_b;
  result.better = better;
  result.survival = 2 * std::max(dead_a, dead_b) > n;
  if (result.survival) {
    result.effect = survival_difference(n - dead_a, n, n - dead_b, n);
    return result;
  }
  const auto values = [nothing](std::span<const Outcome> arm) {
    std::vector<double> v;
    for (const Outcome& o : arm) v.push_back(o.dead ? nothing : o.value);
    return v;
  };
  result.effect = t_interval(ratio ? paired_log2_ratio(values(a), values(b))
                                   : paired_difference(values(a), values(b)));
  return result;
}

}  // namespace

double mean(std::span<const double> x) {
  double sum = 0;
  for (double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

double median(std::span<const double> x) {
  if (x.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> v(x.begin(), x.end());
  for (double& value : v)
    if (std::isnan(value)) value = kInf;
  std::ranges::sort(v);
  const size_t half = v.size() / 2;
  return v.size() % 2 ? v[half] : v[half - 1] + (v[half] - v[half - 1]) / 2;
}

double stddev(std::span<const double> x) {
  if (x.size() < 2) return 0;
  const double m = mean(x);
  double sum = 0;
  for (double v : x) sum += (v - m) * (v - m);
  return std::sqrt(sum / static_cast<double>(x.size() - 1));
}

double t_cdf(double t, double dof) { return t < 0 ? upper_tail(-t, dof) : 1 - upper_tail(t, dof); }

double t_quantile(double p, double dof) {
  if (!(p > 0 && p < 1) || !(dof > 0))
    fail<ValueError>("t_quantile: needs 0 < p < 1 and dof > 0, got {} and {}", p, dof);
  if (p == 0.5) return 0;
  const double tail = std::min(p, 1 - p);
  double lo = 0, hi = 1;
  while (upper_tail(hi, dof) > tail) hi *= 2;
  // Bisection: always converges, and 200 halvings reach the last bit.
  for (int i = 0; i < 200 && lo < hi; ++i) {
    const double mid = lo + (hi - lo) / 2;
    if (mid == lo || mid == hi) break;
    (upper_tail(mid, dof) > tail ? lo : hi) = mid;
  }
  return p < 0.5 ? -hi : hi;
}

Interval t_interval(std::span<const double> x) {
  const int n = static_cast<int>(x.size());
  if (n == 0) fail<ValueError>("t_interval: needs at least one value");
  const double m = mean(x);
  if (n < 2) return {m, -kInf, kInf, n};
  const double half = t_quantile(0.975, n - 1) * stddev(x) / std::sqrt(n);
  return {m, m - half, m + half, n};
}

std::vector<double> paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size())
    fail<ValueError>("paired_difference: {} and {} values", a.size(), b.size());
  std::vector<double> d(a.size());
  for (size_t i = 0; i < d.size(); ++i) d[i] = a[i] - b[i];
  return d;
}

std::vector<double> paired_log2_ratio(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size())
    fail<ValueError>("paired_log2_ratio: {} and {} values", a.size(), b.size());
  std::vector<double> d(a.size());
  for (size_t i = 0; i < d.size(); ++i) {
    if (a[i] <= 0 || b[i] <= 0)
      fail<ValueError>("paired_log2_ratio: needs positive values, got {} and {}", a[i], b[i]);
    d[i] = std::log2(a[i] / b[i]);
  }
  return d;
}

Interval wilson_interval(int successes, int n) {
  if (n < 1 || successes < 0 || successes > n)
    fail<ValueError>("wilson_interval: {} of {}", successes, n);
  constexpr double z = 1.959963984540054;
  const double p = static_cast<double>(successes) / n, shrink = 1 + z * z / n;
  const double centre = (p + z * z / (2 * n)) / shrink;
  const double half = z / shrink * std::sqrt(p * (1 - p) / n + z * z / (4.0 * n * n));
  return {p, std::max(0.0, centre - half), std::min(1.0, centre + half), n};
}

Interval survival_difference(int survived_a, int n_a, int survived_b, int n_b) {
  const Interval a = wilson_interval(survived_a, n_a), b = wilson_interval(survived_b, n_b);
  const double d = a.mean - b.mean;
  return {d, d - std::hypot(a.mean - a.lo, b.hi - b.mean),
          d + std::hypot(a.hi - a.mean, b.mean - b.lo), std::min(n_a, n_b)};
}

const char* name(Verdict v) {
  constexpr const char* names[] = {"REPRODUCED", "PARTLY", "NO DIFFERENCE", "CONTRADICTED",
                                   "INCONCLUSIVE"};
  return names[static_cast<size_t>(v)];
}

Verdict judge(const Interval& effect, double margin, Expect expect) {
  if (expect == Expect::negative)
    return judge({-effect.mean, -effect.hi, -effect.lo, effect.n}, margin, Expect::positive);
  if (!(effect.lo <= effect.hi)) return Verdict::inconclusive;
  const bool above = effect.lo > margin, below = effect.hi < -margin;
  const bool inside = effect.lo >= -margin && effect.hi <= margin;
  if (expect == Expect::none)
    return inside           ? Verdict::reproduced
           : above || below ? Verdict::contradicted
                            : Verdict::inconclusive;
  if (above) return Verdict::reproduced;
  if (below) return Verdict::contradicted;
  return inside ? Verdict::no_difference : Verdict::inconclusive;
}

Verdict combine(std::span<const Verdict> parts) {
  if (parts.empty()) return Verdict::inconclusive;
  const auto any = [&](Verdict v) { return std::ranges::find(parts, v) != parts.end(); };
  if (std::ranges::all_of(parts, [&](Verdict v) { return v == parts[0]; })) return parts[0];
  if (any(Verdict::reproduced) || any(Verdict::partly)) return Verdict::partly;
  return any(Verdict::inconclusive) ? Verdict::inconclusive : Verdict::contradicted;
}

Comparison compare(std::span<const Outcome> a, std::span<const Outcome> b, double knowing_nothing,
                   Better better) {
  return compare_with(a, b, knowing_nothing, better, false);
}

Comparison compare_log2(std::span<const Outcome> a, std::span<const Outcome> b,
                        double knowing_nothing, Better better) {
  return compare_with(a, b, knowing_nothing, better, true);
}

Expect expect_of_survival(Expect expect, Better better) {
  if (better == Better::more || expect == Expect::none) return expect;
  return expect == Expect::positive ? Expect::negative : Expect::positive;
}

}  // namespace loupe::lesson
