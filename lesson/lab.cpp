#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

Profile Profile::named(const std::string& name) {
  if (name == "quick") return {};
  if (name == "full") return {"full", 5, 2, 10000};
  if (name == "tiny") return {"tiny", 2, 1, 200};
  fail<ValueError>("lesson: no profile '{}'; there are quick, full and tiny", name);
}

Record Lab::compute(const std::string& arm, const Config& config,
                    std::function<void(Record&)> make) {
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
template void Lab::tune(std::vector<Arm<ClassifierSpec>>&, const std::vector<double>&,
                        const std::string&);
template void Lab::tune(std::vector<Arm<TransformerSpec>>&, const std::vector<double>&,
                        const std::string&);

void add_point(Series& s, double x, const Records& runs, const std::string& metric, double scale) {
  double sum = 0;
  int alive = 0;
  for (const Record& r : runs) {
    const double y = scale * r[metric];
    const bool dead = r.dead || !std::isfinite(y);
    s.dots.push_back(
        {x, y, fmt::format("seed {}: {}", r.seed, dead ? "died" : short_number(y)), dead});
    if (!dead) sum += y, ++alive;
  }
  s.line.push_back({x, alive ? sum / alive : 0, "", alive == 0});
}

Series column(const std::string& name, Look look, size_t position, const Records& runs,
              const std::string& metric, double scale) {
  Series s{.name = name, .look = look};
  add_point(s, static_cast<double>(position), runs, metric, scale);
  const double middle = (static_cast<double>(runs.size()) - 1) / 2;
  for (size_t i = 0; i < s.dots.size(); ++i)
    s.dots[i].x += 0.07 * (static_cast<double>(i) - middle);
  return s;
}

Table seed_table(const std::string& title,
                 const std::vector<std::pair<std::string, const Records*>>& arms,
                 const std::string& metric, double scale, int digits) {
  Table t{.title = title, .head = {"arm"}};
  for (const Record& r : *arms.at(0).second) t.head.push_back(fmt::format("seed {}", r.seed));
  t.head.push_back("mean");
  for (const auto& [name, runs] : arms)
    t.rows.push_back(seed_row(name, *runs, metric, scale, digits));
  return t;
}

std::vector<Arm<ClassifierSpec>> cnn_arms(Lab& lab, const std::string& net,
                                          const std::vector<std::string>& others,
                                          const std::vector<int64_t>& groups) {
  ClassifierSpec base{.data = lab.data(), .net = net};
  base.steps = lab.profile().steps(lab.profile().full() ? 256 : 192);
  std::vector<Arm<ClassifierSpec>> arms;
  for (const std::string& name : others) {
    arms.push_back({name, base});
    arms.back().spec.norm = name == "LN" ? lab.layer() : name == "GN" ? group_norm() : no_norm();
  }
  for (int64_t g : groups) {
    arms.push_back({fmt::format("BN {}", g), base});
    arms.back().spec.norm = lab.batch();
    arms.back().spec.group = g;
  }
  lab.tune(arms, {0.02, 0.06, 0.2});
  for (auto& arm : arms) arm.spec.inspect = arm.name == "BN 64";
  return arms;
}

std::vector<Arm<ClassifierSpec>> f1_arms(Lab& lab, const std::vector<int64_t>& groups) {
  return cnn_arms(lab, "F1", {"none", "LN", "GN"}, groups);
}

std::vector<int64_t> group_sizes(const Lab& lab) {
  return lab.profile().full() ? std::vector<int64_t>{64, 32, 16, 8, 4, 2}
                              : std::vector<int64_t>{64, 8, 2};
}

namespace {
const std::vector<double> kPlainGrid{0.01, 0.03, 0.1, 0.3};
}

Records best_rates(Lab& lab, const Arm<ClassifierSpec>& arm) {
  std::vector<Arm<ClassifierSpec>> cells;
  for (double lr : kPlainGrid) {
    cells.push_back({fmt::format("{} {}", arm.name, lr), arm.spec});
    cells.back().spec.lr = lr;
  }
  return best_per_seed(lab.measure(cells));
}

Records best_per_seed(const std::map<std::string, Records>& arms) {
  Records best;
  for (const auto& [name, runs] : arms) {
    if (best.empty()) best = runs;
    for (size_t i = 0; i < runs.size(); ++i)
      if (!runs[i].dead && (best[i].dead || runs[i]["valid_loss"] < best[i]["valid_loss"]))
        best[i] = runs[i];
  }
  return best;
}

std::vector<Arm<ClassifierSpec>> plain_arms(Lab& lab, int depth) {
  std::vector<Arm<ClassifierSpec>> arms;
  for (const auto& [name, norm] :
       {std::pair{"none", no_norm()}, {"LN", lab.layer()}, {"BN", lab.batch()}}) {
    arms.push_back(
        {name,
         {.data = lab.data(), .net = fmt::format("D{}", depth), .norm = norm, .images = 8192}});
    arms.back().spec.steps = lab.profile().steps(200);
  }
  lab.tune(arms, kPlainGrid);
  return arms;
}

std::vector<double> text_grid(const Lab& lab) {
  return lab.profile().full() ? std::vector<double>{0.003, 0.01, 0.03, 0.06}
                              : std::vector<double>{0.01, 0.03, 0.06};
}

std::vector<Arm<TransformerSpec>> text_arms(Lab& lab, size_t text) {
  TransformerSpec base{.data = lab.data(), .text = text};
  base.net = {.layers = lab.profile().tiny() ? 2 : 8, .width = 32, .context = 32};
  base.steps = lab.profile().steps(lab.profile().full() ? 250 : 100);
  std::vector<Arm<TransformerSpec>> arms(4, {"", base});
  arms[0].name = "none", arms[0].spec.norm = no_norm();
  arms[1].name = "none scaled", arms[1].spec.norm = no_norm(), arms[1].spec.net.scaled = true;
  arms[2].name = "LN", arms[2].spec.norm = lab.layer();
  arms[3].name = "BN", arms[3].spec.norm = lab.batch();
  lab.tune(arms, text_grid(lab));
  arms[2].spec.inspect = arms[3].spec.inspect = true;
  return arms;
}

std::vector<Arm<TransformerSpec>> window_arms(Lab& lab, size_t text, int64_t context,
                                              int64_t batch) {
  std::vector<Arm<TransformerSpec>> arms;
  for (const auto& [name, norm] : {std::pair{"LN", lab.layer()}, {"BN", lab.batch()}})
    arms.push_back({name,
                    {.data = lab.data(),
                     .text = text,
                     .net = {.layers = 2, .width = 32, .context = context},
                     .norm = norm,
                     .batch = batch,
                     .steps = lab.profile().steps(lab.profile().full() ? 1500 : 1000)}});
  lab.tune(arms, {0.001, 0.003, 0.01});
  return arms;
}

Comparison below(double number, const Records& runs, const std::string& metric, double nothing) {
  const std::vector<Outcome> fixed(runs.size(), Outcome{number, false});
  return compare(fixed, outcomes(runs, metric), nothing, Better::less);
}

}  // namespace loupe::lesson
