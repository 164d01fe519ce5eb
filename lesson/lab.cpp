#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

Profile Profile::named(const std::string& name) {
  if (name == "quick") return {};
  if (name == "full") return {"full", 5, 3, 10000};
  if (name == "tiny") return {"tiny", 2, 1, 200};
  fail<ValueError>("lesson: no profile '{}'; there are quick, full and tiny", name);
}

Record Lab::compute(const std::string& arm, const Config& config, std::function<void(Record&)> make) {
  Job job;
  job.record.claim = claim_;
  job.record.arm = arm;
  job.record.config = config;
  job.record.config["exact"] = claim_ + " " + arm;
  job.cost = 0.2;
  job.make = std::move(make);
  return scheduler_->run({job})[0];
}

template std::map<std::string, Records> Lab::measure(const std::vector<Arm<ClassifierSpec>>&);
template std::map<std::string, Records> Lab::measure(const std::vector<Arm<TransformerSpec>>&);
template void Lab::tune(std::vector<Arm<ClassifierSpec>>&, const std::vector<double>&, const std::string&);
template void Lab::tune(std::vector<Arm<TransformerSpec>>&, const std::vector<double>&, const std::string&);

void add_point(Series& s, double x, const Records& runs, const std::string& metric, double scale) {
  double sum = 0;
  int alive = 0;
  for (const Record& r : runs) {
    const double y = scale * r[metric];
    const bool dead = r.dead || !std::isfinite(y);
    s.dots.push_back({x, y, fmt::format("seed {}: {}", r.seed, dead ? "died" : short_number(y)), dead});
    if (!dead) sum += y, ++alive;
  }
  s.line.push_back({x, alive ? sum / alive : 0, "", alive == 0});
}

Series column(const std::string& name, Look look, size_t position, const Records& runs, const std::string& metric,
              double scale) {
  Series s{.name = name, .look = look};
  add_point(s, static_cast<double>(position), runs, metric, scale);
  const double middle = (static_cast<double>(runs.size()) - 1) / 2;
  for (size_t i = 0; i < s.dots.size(); ++i) s.dots[i].x += 0.07 * (static_cast<double>(i) - middle);
  return s;
}

Table seed_table(const std::string& title, const std::vector<std::pair<std::string, const Records*>>& arms,
                 const std::string& metric, double scale, int digits) {
  Table t{.title = title, .head = {"arm"}};
  for (const Record& r : *arms.at(0).second) t.head.push_back(fmt::format("seed {}", r.seed));
  t.head.push_back("mean");
  for (const auto& [name, runs] : arms) t.rows.push_back(seed_row(name, *runs, metric, scale, digits));
  return t;
}

std::vector<Arm<ClassifierSpec>> f1_arms(Lab& lab, const std::vector<int64_t>& groups) {
  ClassifierSpec base{.data = lab.data()};
  base.steps = lab.profile().steps(256);
  std::vector<Arm<ClassifierSpec>> plain, batch;
  for (const auto& [name, norm] : {std::pair{"none", no_norm()}, {"LN", layer_norm()}, {"GN", group_norm()}}) {
    plain.push_back({name, base});
    plain.back().spec.norm = norm;
  }
  for (int64_t g : groups) {
    batch.push_back({fmt::format("BN {}", g), base});
    batch.back().spec.group = g;
  }
  // The grids were fixed beforehand; an optimum at an edge extends its grid by a step.
  lab.tune(plain, {0.02, 0.06, 0.2});
  lab.tune(batch, {0.02, 0.06, 0.2});
  plain.insert(plain.end(), batch.begin(), batch.end());
  for (auto& arm : plain) arm.spec.inference = arm.name == "BN 64";
  return plain;
}

std::vector<Arm<ClassifierSpec>> d8_arms(Lab& lab) {
  std::vector<Arm<ClassifierSpec>> arms;
  for (const auto& [name, norm] : {std::pair{"none", no_norm()}, {"LN", layer_norm()}, {"BN", batch_norm()}}) {
    arms.push_back({name, {.data = lab.data(), .net = "D8", .norm = norm, .images = 8192}});
    arms.back().spec.steps = lab.profile().steps(200);
  }
  lab.tune(arms, {0.01, 0.03, 0.1, 0.3});
  return arms;
}

Comparison below(double number, const Records& runs, const std::string& metric, double nothing) {
  const std::vector<Outcome> fixed(runs.size(), Outcome{number, false});
  return compare(fixed, outcomes(runs, metric), nothing);
}

}  // namespace loupe::lesson
