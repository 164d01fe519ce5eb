#include <loupe/core/error.h>
#include <loupe/lesson/question.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::lesson {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double rate_of(const Record& r) { return std::stod(r.config.at("lr")); }

// Of the seed's runs, one an arm.
using Runs = std::vector<const Record*>;

std::vector<double> metric_of(const Runs& runs, const std::string& metric) {
  std::vector<double> v;
  for (const Record* r : runs) v.push_back((*r)[metric]);
  return v;
}

Outcome decades(const Runs& runs, const std::string& metric) {
  const std::vector<double> v = metric_of(runs, metric);
  return {std::log10(std::ranges::max(v)) - std::log10(std::ranges::min(v)), false};
}

Outcome best_valid(const Runs& runs, const std::string& metric) {
  const Record* best = runs[0];
  for (const Record* r : runs) {
    if (r->dead) continue;
    if (best->dead || (*r)["valid_loss"] < (*best)["valid_loss"]) best = r;
  }
  return best->outcome(metric);
}

Outcome usable_rate(const Runs& runs, const Sample& s) {
  const double first = rate_of(*runs[0]),
               second = rate_of(*runs[std::min<size_t>(1, runs.size() - 1)]);
  double largest = first * first / second;  // a step below the grid
  for (const Record* r : runs)
    if (!r->dead && (*r)[s.metric] < s.bound) largest = rate_of(*r);
  return {largest, false};
}

Outcome pick(const Sample& s, const Runs& runs) {
  switch (s.pick) {
    case Sample::Pick::value: return runs[0]->outcome(s.metric);
    case Sample::Pick::largest: return {std::ranges::max(metric_of(runs, s.metric)), false};
    case Sample::Pick::decades: return decades(runs, s.metric);
    case Sample::Pick::best_valid: return best_valid(runs, s.metric);
    case Sample::Pick::usable_rate: return usable_rate(runs, s);
    case Sample::Pick::constant: break;
  }
  return {s.bound, false};
}

Line answer_exact(const Question& q) {
  const size_t n = q.a.seeds();
  const std::vector<Outcome> a = q.a.outcomes(n), b = q.b.outcomes(n);
  double largest = 0;
  for (size_t i = 0; i < n; ++i) {
    const double gap = std::abs(a[i].value - b[i].value);
    largest = std::max(largest, std::isnan(gap) ? kInf : gap);
  }
  return exact(q.id, "", q.scale * largest, q.holds, q.margin, q.unit);
}

Line answer_statistical(const Question& q) {
  const size_t n = std::max(q.a.seeds(), q.b.seeds());
  const std::vector<Outcome> a = q.a.outcomes(n), b = q.b.outcomes(n);
  const Comparison c = q.contrast == Contrast::doublings ? compare_log2(a, b, q.nothing, q.better)
                                                         : compare(a, b, q.nothing, q.better);
  return statistical(q.id, "", c, q.margin, q.expect, q.unit, q.scale);
}

}  // namespace

std::vector<Outcome> Sample::outcomes(size_t n) const {
  if (arms.empty()) return std::vector<Outcome>(n, Outcome{bound, false});
  std::vector<Outcome> v;
  for (size_t seed = 0; seed < seeds(); ++seed) {
    Runs runs;
    for (const Measured* arm : arms) runs.push_back(&arm->runs.at(seed));
    v.push_back(lesson::pick(*this, runs));
  }
  return v;
}

Sample of(const Measured& arm, const std::string& metric) { return {{&arm}, metric}; }
Sample constant(double value) { return {.pick = Sample::Pick::constant, .bound = value}; }

Question points(const std::string& id, const Sample& a, const Sample& b) {
  return {.id = id,
          .a = a,
          .b = b,
          .nothing = kChance,
          .margin = kAccuracyMargin,
          .unit = "points",
          .scale = 100};
}

Question nats(const std::string& id, const Sample& a, const Sample& b, double nothing,
              Expect expect) {
  return {.id = id,
          .a = a,
          .b = b,
          .nothing = nothing,
          .better = Better::less,
          .margin = kLossMargin,
          .expect = expect,
          .unit = "nats"};
}

Question doublings(const std::string& id, const Sample& a, const Sample& b, double nothing,
                   Expect expect) {
  return {.id = id,
          .a = a,
          .b = b,
          .contrast = Contrast::doublings,
          .nothing = nothing,
          .better = Better::less,
          .margin = kRatioMargin,
          .expect = expect,
          .unit = "doublings"};
}

Question fact(const std::string& id, const Sample& a, Holds holds, double bound,
              const std::string& unit) {
  return {.id = id,
          .a = a,
          .b = constant(0),
          .margin = bound,
          .unit = unit,
          .kind = Kind::exact,
          .holds = holds};
}

Question largest_gap(const std::string& id, const Sample& a, const Sample& b, double bound,
                     const std::string& unit, double scale) {
  return {
      .id = id, .a = a, .b = b, .margin = bound, .unit = unit, .scale = scale, .kind = Kind::exact};
}

Question beside(Question q) {
  q.beside = true;
  return q;
}

Line answer(const Question& q) {
  Line line = q.kind == Kind::exact ? answer_exact(q) : answer_statistical(q);
  line.beside = q.beside;
  return line;
}

Line statistical(std::string id, std::string text, const Comparison& c, double margin,
                 Expect expect, std::string unit, double scale) {
  Line l{.id = std::move(id), .text = std::move(text)};
  l.effect = c.effect;
  l.seeds = c.effect.n;
  l.dead = c.dead;
  l.survival = c.survival;
  if (c.survival) {
    l.margin = 0.1;  // ten points of survival
    l.unit = "surviving";
  } else {
    l.effect = {scale * c.effect.mean, scale * c.effect.lo, scale * c.effect.hi, c.effect.n};
    l.margin = margin;
    l.unit = std::move(unit);
  }
  l.verdict = judge(l.effect, l.margin, c.survival ? expect_of_survival(expect, c.better) : expect);
  return l;
}

Line exact(std::string id, std::string text, double value, Holds holds, double bound,
           std::string unit) {
  Line l{.id = std::move(id), .text = std::move(text), .kind = Kind::exact};
  l.verdict = (holds == Holds::at_most ? value <= bound : value > bound) ? Verdict::reproduced
                                                                         : Verdict::contradicted;
  l.effect = {value, value, value, 1};
  l.margin = bound;
  l.holds = holds;
  l.unit = std::move(unit);
  return l;
}

}  // namespace loupe::lesson
