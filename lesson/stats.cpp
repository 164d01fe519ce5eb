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

// The difference at one seed, between two bounds.
struct Pair {
  double lower, upper;
};

Pair pair_of(const Outcome& a, const Outcome& b, Contrast contrast) {
  if (contrast == Contrast::difference)
    return {a.value - (b.value + b.slack), a.value + a.slack - b.value};
  if (a.value <= 0 || b.value <= 0)
    fail<ValueError>("compare: a ratio needs positive values, got {} and {}", a.value, b.value);
  return {std::log2(a.value / (b.value + b.slack)), std::log2((a.value + a.slack) / b.value)};
}

// A dead run as knowing nothing. Of a loss that is a lower bound.
Outcome alive(Outcome o, const Rules& rules) {
  if (!o.dead) return o;
  return {rules.nothing, false, rules.better == Better::less ? kInf : 0, nullptr};
}

// What the test images add to the variance of the mean difference; 0 where marks are not known.
struct Images {
  double variance = 0;
  double count = 0;
};

Images images_of(std::span<const Outcome> a, std::span<const Outcome> b) {
  const auto marked = [](const Outcome& o) { return o.marks != nullptr; };
  const bool all_a = std::all_of(a.begin(), a.end(), marked);
  const bool both = all_a && std::all_of(b.begin(), b.end(), marked);
  const bool one = all_a && std::none_of(b.begin(), b.end(), marked);
  if (a.empty() || !(both || one)) return {};
  const auto n = static_cast<double>(a.size());
  const size_t images = 4 * a[0].marks->size();
  std::vector<double> means;
  double within = 0;  // sum over images of the variance over seeds
  for (size_t j = 0; j < images; ++j) {
    std::vector<double> d;
    for (size_t i = 0; i < a.size(); ++i)
      d.push_back(mark(*a[i].marks, j) - (both ? mark(*b[i].marks, j) : 0));
    means.push_back(mean(d));
    within += stddev(d) * stddev(d);
  }
  const auto count = static_cast<double>(images);
  const double between = stddev(means) * stddev(means) - within / count / n;
  return {std::max(0.0, between) / count, count};
}

// Of a difference: twice that of one run, from the pool; nothing where there is none, a run of it
// died or was cut off.
BlockError pooled(const std::vector<std::vector<Outcome>>& pool, Contrast contrast) {
  std::vector<std::vector<double>> arms;
  for (const auto& arm : pool) {
    arms.emplace_back();
    for (const Outcome& o : arm) {
      if (o.dead || o.slack != 0 || !std::isfinite(o.value)) return {};
      arms.back().push_back(contrast == Contrast::doublings ? std::log2(o.value) : o.value);
    }
  }
  if (arms.size() < 3) return {};  // two arms: the pair's own
  const BlockError e = block_error(arms);
  return {2 * e.variance, e.dof};
}

Estimate::Bound bound_of(const std::vector<double>& x, const BlockError& pool,
                         const Images& images) {
  const auto n = static_cast<double>(x.size());
  Estimate::Bound b{mean(x), 0, n - 1};
  double spread = stddev(x) * stddev(x);
  if (pool.dof > 0) {
    spread = std::max(spread, pool.variance);
    b.dof = pool.dof;
  }
  const double seeds = spread / n;
  const double variance = seeds + images.variance;
  b.error = std::sqrt(variance);
  if (images.variance > 0)  // Satterthwaite
    b.dof = variance * variance /
            (seeds * seeds / b.dof + images.variance * images.variance / (images.count - 1));
  return b;
}

// t standard errors.
double half_width(const Estimate::Bound& b, double level) {
  return b.error > 0 ? t_quantile(1 - level / 2, b.dof) * b.error : 0;
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
  std::sort(v.begin(), v.end());
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
  if (x.empty()) fail<ValueError>("t_interval: needs at least one value");
  const Estimate::Bound b = bound_of(std::vector<double>(x.begin(), x.end()), {}, {});
  return interval({b, b, static_cast<int>(x.size())});
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
  constexpr const char* names[] = {"REPRODUCED",   "PARTLY", "NO DIFFERENCE", "CONTRADICTED",
                                   "INCONCLUSIVE", "SMALL",  "SMALL OPPOSITE"};
  return names[static_cast<size_t>(v)];
}

Verdict verdict_from(const std::string& word) {
  for (int v = 0; v <= static_cast<int>(Verdict::small_opposite); ++v)
    if (word == name(static_cast<Verdict>(v))) return static_cast<Verdict>(v);
  fail<ValueError>("lesson: no verdict '{}'", word);
}

Verdict judge(const Interval& effect, double margin, Expect expect) {
  if (expect == Expect::negative)
    return judge({-effect.mean, -effect.hi, -effect.lo, effect.n}, margin, Expect::positive);
  if (!(effect.lo <= effect.hi)) return Verdict::inconclusive;
  const bool above = effect.lo > margin, below = effect.hi < -margin;
  const bool inside = effect.lo >= -margin && effect.hi <= margin;
  if (expect == Expect::none) {
    if (inside) return Verdict::reproduced;
    return above || below ? Verdict::contradicted : Verdict::inconclusive;
  }
  if (expect == Expect::at_most) {
    if (effect.hi <= margin) return Verdict::reproduced;
    return above ? Verdict::contradicted : Verdict::inconclusive;
  }
  if (above) return Verdict::reproduced;
  if (below) return Verdict::contradicted;
  if (effect.lo > 0) return Verdict::small;
  if (effect.hi < 0) return Verdict::small_opposite;
  return inside ? Verdict::no_difference : Verdict::inconclusive;
}

Verdict combine(std::span<const Verdict> parts) {
  if (parts.empty()) return Verdict::inconclusive;
  const auto any = [&](Verdict v) {
    return std::find(parts.begin(), parts.end(), v) != parts.end();
  };
  const auto first = [&](Verdict v) { return v == parts[0]; };
  if (std::all_of(parts.begin(), parts.end(), first)) return parts[0];
  if (any(Verdict::reproduced) || any(Verdict::partly)) return Verdict::partly;
  return any(Verdict::inconclusive) ? Verdict::inconclusive : Verdict::contradicted;
}

double pocock_level(int looks) {
  constexpr double levels[] = {0.05, 0.0294, 0.0221, 0.0182, 0.0158};
  if (looks < 1 || looks > 5) fail<ValueError>("pocock_level: 1 to 5 looks, got {}", looks);
  return levels[looks - 1];
}

BlockError block_error(const std::vector<std::vector<double>>& arms) {
  const size_t seeds = arms.empty() ? 0 : arms[0].size();
  if (arms.size() < 2 || seeds < 2)
    fail<ValueError>("block_error: needs two arms and two seeds, got {} and {}", arms.size(),
                     seeds);
  std::vector<double> of_seed(seeds, 0), of_arm;
  for (const auto& arm : arms) {
    if (arm.size() != seeds)
      fail<ValueError>("block_error: arms of {} and {} seeds", seeds, arm.size());
    of_arm.push_back(mean(arm));
    for (size_t j = 0; j < seeds; ++j) of_seed[j] += arm[j] / static_cast<double>(arms.size());
  }
  const double all = mean(of_arm);
  double sum = 0;
  for (size_t i = 0; i < arms.size(); ++i)
    for (size_t j = 0; j < seeds; ++j) {
      const double rest = arms[i][j] - of_arm[i] - of_seed[j] + all;
      sum += rest * rest;
    }
  const auto dof = static_cast<double>((arms.size() - 1) * (seeds - 1));
  return {sum / dof, dof};
}

Interval interval(const Estimate& e, double level) {
  const auto &lower = e.lower, &upper = e.upper;
  const double none = kInf;
  // Values that are all the same say nothing of their spread; a cell of a grid has its own width.
  const bool measured = lower.mean == upper.mean;
  if (e.n < 2 || (measured && lower.error == 0)) return {lower.mean, -none, none, e.n};
  Interval i{0, -none, none, e.n};
  if (std::isfinite(lower.mean)) i.lo = lower.mean - half_width(lower, level);
  if (std::isfinite(upper.mean)) i.hi = upper.mean + half_width(upper, level);
  const bool both = std::isfinite(lower.mean) && std::isfinite(upper.mean);
  if (both) i.mean = (lower.mean + upper.mean) / 2;
  else i.mean = std::isfinite(lower.mean) ? lower.mean : upper.mean;
  return i;
}

namespace {

// Two-sided level of "the bound lies `distance` beyond": distance / error under Student's t.
double level_of(double distance, const Estimate::Bound& b, int n) {
  if (!(distance > 0) || n < 2) return 1;
  if (b.error == 0) return std::pow(2.0, 1 - n);
  return std::min(1.0, 2 * upper_tail(distance / b.error, b.dof));
}

}  // namespace

double p_value(const Estimate& e, double margin, Expect expect, Verdict word, int looks) {
  if (looks > 1) return std::min(1.0, looks * p_value(e, margin, expect, word));
  if (expect == Expect::negative) {
    const auto minus = [](Estimate::Bound b) {
      b.mean = -b.mean;
      return b;
    };
    return p_value({minus(e.upper), minus(e.lower), e.n}, margin, Expect::positive, word);
  }
  const double above = level_of(e.lower.mean - margin, e.lower, e.n);
  const double below = level_of(-e.upper.mean - margin, e.upper, e.n);
  const double inside = std::max(level_of(margin - e.upper.mean, e.upper, e.n),
                                 level_of(margin + e.lower.mean, e.lower, e.n));
  if (expect == Expect::at_most) {
    if (word == Verdict::reproduced) return level_of(margin - e.upper.mean, e.upper, e.n);
    return word == Verdict::contradicted ? above : 1;
  }
  switch (word) {
    case Verdict::reproduced: return expect == Expect::none ? inside : above;
    case Verdict::contradicted: return expect == Expect::none ? std::min(above, below) : below;
    case Verdict::no_difference: return inside;
    case Verdict::small: return level_of(e.lower.mean, e.lower, e.n);
    case Verdict::small_opposite: return level_of(-e.upper.mean, e.upper, e.n);
    default: return 1;
  }
}

Comparison compare(std::span<const Outcome> a, std::span<const Outcome> b, const Rules& rules,
                   const std::vector<std::vector<Outcome>>& pool) {
  if (a.size() != b.size())
    fail<ValueError>("compare: arms of {} and {} seeds cannot be paired", a.size(), b.size());
  Comparison result;
  std::vector<Outcome> live_a, live_b;
  for (size_t i = 0; i < a.size(); ++i) {
    result.dead_a += a[i].dead;
    result.dead_b += b[i].dead;
    if (a[i].dead || b[i].dead) continue;
    live_a.push_back(a[i]);
    live_b.push_back(b[i]);
  }
  if (live_a.size() < 2 && live_a.size() < a.size()) {
    result.against_nothing = true;
    live_a.clear();
    live_b.clear();
    for (size_t i = 0; i < a.size(); ++i) {
      live_a.push_back(alive(a[i], rules));
      live_b.push_back(alive(b[i], rules));
    }
  }
  std::vector<double> lower, upper;
  for (size_t i = 0; i < live_a.size(); ++i) {
    const Pair p = pair_of(live_a[i], live_b[i], rules.contrast);
    lower.push_back(p.lower);
    upper.push_back(p.upper);
  }
  const Images images =
      rules.contrast == Contrast::difference ? images_of(live_a, live_b) : Images{};
  const bool all_live = result.dead_a + result.dead_b == 0;
  const BlockError error = all_live ? pooled(pool, rules.contrast) : BlockError{};
  result.estimate = {bound_of(lower, error, images), bound_of(upper, error, images),
                     static_cast<int>(lower.size())};
  result.effect = interval(result.estimate, pocock_level(rules.looks));
  return result;
}

std::string marks_of(const std::vector<bool>& right) {
  std::string text((right.size() + 3) / 4, '0');
  for (size_t i = 0; i < right.size(); ++i) {
    const size_t digit = i / 4;
    const int before = text[digit] <= '9' ? text[digit] - '0' : text[digit] - 'a' + 10;
    const int after = before | (right[i] ? 8 >> (i % 4) : 0);
    text[digit] = "0123456789abcdef"[after];
  }
  return text;
}

bool mark(const std::string& marks, size_t i) {
  const char c = marks[i / 4];
  const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
  return (digit >> (3 - i % 4)) & 1;
}

std::vector<bool> holm(std::span<const double> p_values, double level) {
  std::vector<size_t> order(p_values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t i, size_t j) { return p_values[i] < p_values[j]; });
  std::vector<bool> stands(p_values.size(), false);
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const auto left = static_cast<double>(order.size() - rank);
    if (!(p_values[order[rank]] <= level / left)) break;
    stands[order[rank]] = true;
  }
  return stands;
}

}  // namespace loupe::lesson
