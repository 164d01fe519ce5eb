#include <loupe/io/json.h>
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

// A step count that was cut off may be any larger one.
Outcome outcome_of(const Record& r, const std::string& metric) {
  Outcome o = r.outcome(metric);
  const auto marks = r.marks.find(metric);
  if (marks != r.marks.end()) o.marks = &marks->second;
  if (!o.dead && metric == kSteps && std::isnan(o.value)) {
    o.value = std::stod(r.config.at("steps"));
    o.slack = kInf;
  }
  return o;
}

Outcome gap(const Runs& runs, const std::string& metric) {
  const bool dead = runs[0]->dead || runs[1]->dead;
  return {(*runs[0])[metric] - (*runs[1])[metric], dead};
}

Outcome best_valid(const Runs& runs, const std::string& metric) {
  const Record* best = runs[0];
  for (const Record* r : runs) {
    if (r->dead) continue;
    if (best->dead || (*r)["valid_loss"] < (*best)["valid_loss"]) best = r;
  }
  return outcome_of(*best, metric);
}

// Between the largest usable rate and the next of the grid; above the last nothing is known.
Outcome usable_rate(const Runs& runs, const Sample& s) {
  std::vector<double> rates;
  for (const Record* r : runs) rates.push_back(rate_of(*r));
  const double step = rates.size() > 1 ? rates[1] / rates[0] : 1;
  double largest = rates[0] / step, next = rates[0];
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i]->dead || !((*runs[i])[s.metric] < s.bound)) continue;
    largest = rates[i];
    next = i + 1 < rates.size() ? rates[i + 1] : kInf;
  }
  return {largest, false, next - largest};
}

Outcome pick(const Sample& s, const Runs& runs) {
  switch (s.pick) {
    case Sample::Pick::value: return outcome_of(*runs[0], s.metric);
    case Sample::Pick::largest: return {std::ranges::max(metric_of(runs, s.metric)), false};
    case Sample::Pick::decades: return decades(runs, s.metric);
    case Sample::Pick::gap: return gap(runs, s.metric);
    case Sample::Pick::best_valid: return best_valid(runs, s.metric);
    case Sample::Pick::usable_rate: return usable_rate(runs, s);
    case Sample::Pick::constant: break;
  }
  return {s.bound, false};
}

Line answer_exact(const Question& q) {
  const size_t n = q.seeds();
  const std::vector<Outcome> a = q.a.outcomes(n), b = q.b.outcomes(n);
  double largest = 0;
  for (size_t i = 0; i < n; ++i) { largest = worst_of(largest, std::abs(a[i].value - b[i].value)); }
  return exact(q, q.scale * (std::isnan(largest) ? kInf : largest));
}

Line answer_statistical(const Question& q) {
  const size_t n = q.seeds();
  const std::vector<Outcome> a = q.a.outcomes(n), b = q.b.outcomes(n);
  std::vector<std::vector<Outcome>> pool;
  for (const Measured* arm : q.pool)
    if (arm->runs.size() >= n) pool.push_back(of(*arm, q.a.metric).outcomes(n));
  return statistical(q, compare(a, b, {q.nothing, q.better, q.contrast, q.looks}, pool));
}

// --- As JSON ---

std::string json(const Config& config) {
  std::string out;
  for (const auto& [key, value] : config)
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", json_quote(key), json_quote(value));
  return "{" + out + "}";
}

// The runs of an arm: their common configuration and their seeds.
std::string json(const Measured& arm) {
  std::string seeds;
  for (const Record& r : arm.runs) seeds += fmt::format("{}{}", seeds.empty() ? "" : ",", r.seed);
  return fmt::format(R"({{"config":{},"seeds":[{}]}})", json(arm.runs.at(0).config), seeds);
}

std::string json(const Sample& s) {
  constexpr const char* names[] = {"value",      "largest",     "decades", "gap",
                                   "best_valid", "usable_rate", "constant"};
  std::string arms;
  for (const Measured* arm : s.arms) arms += (arms.empty() ? "" : ",") + json(*arm);
  return fmt::format(R"({{"pick":"{}","metric":{},"bound":{},"arms":[{}]}})",
                     names[static_cast<size_t>(s.pick)], json_quote(s.metric), s.bound, arms);
}

std::string json(const std::vector<const Measured*>& arms) {
  std::string out;
  for (const Measured* arm : arms) out += (out.empty() ? "" : ",") + json(*arm);
  return "[" + out + "]";
}

}  // namespace

size_t Sample::seeds() const {
  size_t n = arms.empty() ? 0 : arms[0]->runs.size();
  for (const Measured* arm : arms) n = std::min(n, arm->runs.size());
  return n;
}

size_t Question::seeds() const {
  if (a.arms.empty() || b.arms.empty()) return std::max(a.seeds(), b.seeds());
  return std::min(a.seeds(), b.seeds());
}

std::vector<Outcome> Sample::outcomes(size_t n) const {
  if (arms.empty()) return std::vector<Outcome>(n, Outcome{bound, false});
  std::vector<Outcome> v;
  for (size_t seed = 0; seed < std::min(n, seeds()); ++seed) {
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
          .holds = holds,
          .role = Role::limits};
}

Question largest_gap(const std::string& id, const Sample& a, const Sample& b, double bound,
                     const std::string& unit, double scale) {
  return {
      .id = id, .a = a, .b = b, .margin = bound, .unit = unit, .scale = scale, .kind = Kind::exact};
}

Question primary(Question q) {
  q.role = Role::primary;
  return q;
}

Question limits(Question q) {
  q.role = Role::limits;
  return q;
}

Question explains(Question q) {
  q.role = Role::explains;
  return q;
}

Question pooled(Question q, std::vector<const Measured*> arms) {
  q.pool = std::move(arms);
  return q;
}

bool settled(const Line& l, int claims) {
  if (l.kind == Kind::exact) return true;
  const bool below = l.effect.lo >= -l.margin && l.effect.hi <= l.margin;
  const bool small = l.verdict == Verdict::small || l.verdict == Verdict::small_opposite;
  if (l.verdict == Verdict::inconclusive || (small && !below)) return false;
  return l.role != Role::primary || l.p <= 0.05 / claims;
}

std::optional<int> seeds_to_decide(const Line& l) {
  const double half = (l.effect.hi - l.effect.lo) / 2;
  if (l.kind == Kind::exact || l.verdict != Verdict::inconclusive || l.gridded) return std::nullopt;
  if (!std::isfinite(half) || l.effect.n < 2) return std::nullopt;
  // Whatever is reached first: an interval on one side of 0, or inside the margin. Where none is
  // expected, or nothing above the margin: on one side of the margin.
  const double mean = std::abs(l.effect.mean);
  double reach = std::max(mean, l.margin - mean);
  if (l.expect == Expect::none) reach = std::abs(l.margin - mean);
  if (l.expect == Expect::at_most) reach = std::abs(l.margin - l.effect.mean);
  if (!(reach > 0)) return std::nullopt;
  return static_cast<int>(std::ceil(l.effect.n * half * half / (reach * reach)));
}

Line answer(const Question& q) {
  return q.kind == Kind::exact ? answer_exact(q) : answer_statistical(q);
}

Line statistical(const Question& q, const Comparison& c) {
  Line l{.id = q.id, .text = ""};
  const Interval& e = c.effect;
  l.effect = {q.scale * e.mean, q.scale * e.lo, q.scale * e.hi, e.n};
  l.margin = q.margin;
  l.unit = q.unit;
  l.seeds = e.n;
  l.looks = q.looks;
  l.dead_a = c.dead_a;
  l.dead_b = c.dead_b;
  l.against_nothing = c.against_nothing;
  l.gridded = c.estimate.lower.mean != c.estimate.upper.mean;
  l.role = q.role;
  l.expect = q.expect;
  l.verdict = judge(l.effect, l.margin, q.expect);
  l.p = p_value(c.estimate, q.margin / q.scale, q.expect, l.verdict, q.looks);
  return l;
}

Line exact(const Question& q, double value) {
  Line l{.id = q.id, .text = "", .kind = Kind::exact};
  const bool holds = q.holds == Holds::at_most ? value <= q.margin : value > q.margin;
  l.verdict = holds ? Verdict::reproduced : Verdict::contradicted;
  l.effect = {value, value, value, 1};
  l.margin = q.margin;
  l.holds = q.holds;
  l.unit = q.unit;
  l.role = q.role;
  return l;
}

std::string to_json(const Question& q, const std::string& claim) {
  constexpr const char* expects[] = {"positive", "negative", "none", "at_most"};
  constexpr const char* roles[] = {"primary", "limits", "explains"};
  return fmt::format(
      R"({{"claim":{},"id":{},"role":"{}","kind":"{}","holds":"{}","contrast":"{}","better":"{}",)"
      R"("nothing":{},"margin":{},"expect":"{}","unit":{},"scale":{},"looks":{},"a":{},"b":{},)"
      R"("pool":{}}})",
      json_quote(claim), json_quote(q.id), roles[static_cast<size_t>(q.role)],
      q.kind == Kind::exact ? "exact" : "statistical",
      q.holds == Holds::at_most ? "at_most" : "above",
      q.contrast == Contrast::difference ? "difference" : "doublings",
      q.better == Better::more ? "more" : "less", q.nothing, q.margin,
      expects[static_cast<size_t>(q.expect)], json_quote(q.unit), q.scale, q.looks, json(q.a),
      json(q.b), json(q.pool));
}

}  // namespace loupe::lesson
