#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>

#include <cmath>
#include <limits>

namespace loupe::lesson {

Profile Profile::named(const std::string& name) {
  if (name == "quick") return {};
  if (name == "full") return {"full", {8, 12}, 1, 4, 10000};
  if (name == "tiny") return {"tiny", {2}, 1, 1, 200};
  fail<ValueError>("lesson: no profile '{}'; there are quick, full and tiny", name);
}

Measured Lab::compute(const std::string& arm, const Config& config,
                      std::function<void(Record&)> make) {
  Job job;
  job.record.claim = claim_;
  job.record.arm = arm;
  job.record.config = config;
  job.record.config["exact"] = claim_ + " " + arm;
  job.cost = 0.2;
  job.make = std::move(make);
  return {arm, kNone, run(std::vector<Job>{job})};
}

Contestant Lab::contestant(const char* name, const Style& style, const Norm& norm) const {
  const Norm& own = with_.norms.own;
  if (!own || norm.name != own.name) return {name, style, norm};
  return {own.name, {own.name, kOwnLook}, norm};
}

std::string Lab::own_place() const {
  if (bn().style.look == kOwnLook) return "BatchNorm";
  return ln().style.look == kOwnLook ? "LayerNorm" : "";
}

bool Lab::asks_own(const Question& q) const {
  if (own_place().empty()) return false;
  const std::string& own = with_.norms.own.name;
  for (const Sample* sample : {&q.a, &q.b}) {
    if (sample->metric.starts_with(own + " ")) return true;  // of an exact fact
    for (const Measured* arm : sample->arms)
      if (arm->style.look == kOwnLook) return true;
  }
  return false;
}

std::vector<uint64_t> Lab::seeds(const Config& arm) const {
  const auto look = look_.find(arm);
  int n = profile().looks.at(look == look_.end() ? 0 : look->second);
  // A plan counts with as many as were needed before.
  const auto before = with_.efforts ? with_.efforts->find(arm) : std::nullopt;
  if (mode_ == Mode::plan && before)
    n = std::max(n, std::min(before->seeds, profile().looks.back()));
  return range(profile().first_seed, n);
}

double Lab::cost(const Config& config, double rough) const {
  const auto before = with_.efforts ? with_.efforts->find(config) : std::nullopt;
  return before ? before->seconds : rough;
}

bool Lab::look_again(const Question& q) {
  constexpr int kExplaining = 8;  // seeds, for a line that only explains
  const auto& looks = profile().looks;
  const int most = q.role == Role::explains ? kExplaining : looks.back();
  const auto next = std::ranges::upper_bound(looks, static_cast<int>(q.seeds()));
  if (next == looks.end() || *next > most) return false;
  const auto look = static_cast<size_t>(next - looks.begin());
  for (const Sample* sample : {&q.a, &q.b})
    for (const Measured* arm : sample->arms) {
      size_t& now = look_[arm->runs.at(0).config];
      now = std::max(now, look);
    }
  return true;
}

Records Lab::run(const std::vector<Job>& jobs) {
  if (mode_ == Mode::measure) return with_.scheduler->run(jobs);
  with_.scheduler->plan(jobs);
  Records records;
  for (const Job& job : jobs) records.push_back(job.record);
  return records;
}

std::vector<uint64_t> Lab::range(uint64_t first, int n) {
  std::vector<uint64_t> v;
  for (int i = 0; i < n; ++i) v.push_back(first + static_cast<uint64_t>(i));
  return v;
}

double Lab::best(const std::map<double, double>& medians) {
  return std::ranges::min_element(medians, {}, [](const auto& m) { return m.second; })->first;
}

std::vector<double> Lab::beyond_the_edge(double lr, const std::vector<double>& grid) {
  if (grid.size() < 2) return {};
  if (lr == grid.front()) return {grid.front() * grid[0] / grid[1]};
  if (lr == grid.back()) return {grid.back() * grid.back() / grid[grid.size() - 2]};
  return {};
}

double Lab::median_loss(std::span<const Record> runs) const {
  std::vector<double> v;
  for (const Record& r : runs)
    v.push_back(r.dead ? std::numeric_limits<double>::infinity() : r["valid_loss"]);
  return median(v);
}

template void Lab::measure(const Arms<ClassifierSpec>&);
template void Lab::measure(const Arms<TransformerSpec>&);
template void Lab::tune(const Arms<ClassifierSpec>&, const std::vector<double>&);
template void Lab::tune(const Arms<TransformerSpec>&, const std::vector<double>&);

// --- Arms ---

CnnArms::CnnArms(const Lab& lab, const std::string& net, Others others,
                 const std::vector<int64_t>& groups) {
  ClassifierSpec base{.data = lab.data(), .net = net};
  base.steps = lab.profile().steps(lab.profile().full() ? 256 : 192);
  const auto with = [&base](const Norm& norm) {
    ClassifierSpec s = base;
    s.norm = norm;
    return s;
  };
  if (others.none) none = {"none", kNone, with(no_norm())};
  if (others.layer) ln = {lab.ln().name, lab.ln().style, with(lab.layer())};
  if (others.group) gn = {"GN", kGroup, with(group_norm())};
  for (int64_t g : groups) {
    ClassifierArm arm{fmt::format("{} {}", lab.bn().name, g), lab.bn().style, with(lab.batch())};
    arm.spec.group = g;
    bn[g] = arm;
  }
}

Arms<ClassifierSpec> CnnArms::all() {
  Arms<ClassifierSpec> arms;
  for (ClassifierArm* arm : {&none, &ln, &gn})
    if (!arm->name.empty()) arms.push_back(arm);
  for (auto group = bn.rbegin(); group != bn.rend(); ++group) arms.push_back(&group->second);
  return arms;
}

std::vector<const ClassifierArm*> CnnArms::list() const {
  std::vector<const ClassifierArm*> arms;
  for (const ClassifierArm* arm : {&none, &ln, &gn})
    if (!arm->name.empty()) arms.push_back(arm);
  for (auto group = bn.rbegin(); group != bn.rend(); ++group) arms.push_back(&group->second);
  return arms;
}

std::vector<const Measured*> CnnArms::pool() const {
  std::vector<const Measured*> arms;
  for (const ClassifierArm* arm : {&none, &ln, &gn})
    if (!arm->name.empty()) arms.push_back(arm);
  for (const auto& [group, arm] : bn)
    if (group > 4) arms.push_back(&arm);
  return arms;
}

void CnnArms::tune(Lab& lab) {
  lab.tune(all(), {0.02, 0.06, 0.2});
  // C7 and C9 look closely at one network.
  if (bn.contains(64)) bn.at(64).spec.inspect = bn.at(64).spec.net == "F1";
}

void CnnArms::run(Lab& lab) {
  tune(lab);
  lab.measure(all());
}

CnnArms f1_arms(const Lab& lab, const std::vector<int64_t>& groups) {
  return {lab, "F1", {.none = true, .layer = true, .group = true}, groups};
}

std::vector<int64_t> group_sizes(const Lab& lab) {
  return lab.profile().full() ? std::vector<int64_t>{64, 32, 16, 8, 4, 2}
                              : std::vector<int64_t>{64, 8, 2};
}

namespace {
const std::vector<double> kPlainGrid{0.01, 0.03, 0.1, 0.3};
}

PlainArms::PlainArms(const Lab& lab, int depth) {
  const auto with = [&](const Norm& norm) {
    return ClassifierSpec{.data = lab.data(),
                          .net = fmt::format("D{}", depth),
                          .norm = norm,
                          .steps = lab.profile().steps(200),
                          .images = 8192};
  };
  none = {"none", kNone, with(no_norm())};
  ln = {lab.ln().name, lab.ln().style, with(lab.layer())};
  bn = {lab.bn().name, lab.bn().style, with(lab.batch())};
}

void PlainArms::run(Lab& lab) {
  lab.tune(all(), kPlainGrid);
  lab.measure(all());
}

// At 0.3 no seed lives.
std::vector<ClassifierArm> generous(const ClassifierArm& arm) {
  return at_rates(arm, {0.01, 0.03, 0.1});
}

Sample best_valid(const std::vector<ClassifierArm>& cells, const std::string& metric) {
  return {.arms = measured(cells), .metric = metric, .pick = Sample::Pick::best_valid};
}

std::vector<double> text_grid(const Profile& profile) {
  return profile.full() ? std::vector<double>{0.003, 0.01, 0.03, 0.06}
                        : std::vector<double>{0.01, 0.03, 0.06};
}

TextArms::TextArms(const Lab& lab, size_t text) {
  TransformerSpec base{.data = lab.data(), .text = text};
  base.net = {.layers = lab.profile().tiny() ? 2 : 8, .width = 32, .context = 32};
  base.steps = lab.profile().steps(lab.profile().full() ? 250 : 100);
  const auto with = [&base](const Norm& norm) {
    TransformerSpec s = base;
    s.norm = norm;
    return s;
  };
  none = {"none", kNone, with(no_norm())};
  scaled = {"none scaled", kScaled, with(no_norm())};
  scaled.spec.net.scaled = true;
  ln = {lab.ln().name, lab.ln().style, with(lab.layer())};
  bn = {lab.bn().name, lab.bn().style, with(lab.batch())};
}

void TextArms::tune(Lab& lab) {
  ln.spec.inspect = bn.spec.inspect = false;
  lab.tune(all(), text_grid(lab.profile()));
  ln.spec.inspect = bn.spec.inspect = true;
}

WindowArms::WindowArms(const Lab& lab, size_t text, int64_t context, int64_t batch) {
  const auto with = [&](const Norm& norm) {
    return TransformerSpec{.data = lab.data(),
                           .text = text,
                           .net = {.layers = 2, .width = 32, .context = context},
                           .norm = norm,
                           .batch = batch,
                           .steps = lab.profile().steps(lab.profile().full() ? 1500 : 1000)};
  };
  ln = {lab.ln().name, lab.ln().style, with(lab.layer())};
  bn = {lab.bn().name, lab.bn().style, with(lab.batch())};
}

void WindowArms::run(Lab& lab) {
  lab.tune(all(), {0.001, 0.003, 0.01});
  lab.measure(all());
}

double knowing_nothing(const TextData& text) { return std::log(static_cast<double>(text.symbols)); }

// --- Charts and tables ---

void add_point(Series& s, double x, const Records& runs, const std::string& metric, double scale) {
  double sum = 0;
  int alive = 0;
  for (const Record& r : runs) {
    const double y = scale * r[metric];
    const bool dead = r.dead || !std::isfinite(y);
    s.dots.push_back(
        {x, y, fmt::format("seed {}: {}", r.seed, dead ? "died" : short_number(y)), dead});
    if (dead) continue;
    sum += y;
    ++alive;
  }
  s.line.push_back({x, alive ? sum / alive : 0, "", alive == 0});
}

Series series_of(const Style& style) {
  return {.name = style.title, .look = style.look, .dashed = style.dashed};
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

Chart columns(const Columns& plot) {
  Chart c{.title = plot.title, .x = {.label = ""}, .y = {.label = plot.y_label}};
  for (const Measured* arm : plot.arms) {
    c.series.push_back(column(arm->style.title, arm->style.look, c.series.size(), arm->runs,
                              plot.metric, plot.scale));
    c.x.categories.push_back(arm->style.title);
  }
  c.paired = plot.paired;
  c.note = plot.note;
  return c;
}

Table seed_table(const std::string& title, const std::vector<const Measured*>& arms,
                 const std::string& metric, double scale, int digits) {
  const auto seeds = [](const Measured* arm) { return arm->runs.size(); };
  const Measured* longest = *std::ranges::max_element(arms, {}, seeds);
  Table t{.title = title, .head = {"arm"}};
  for (const Record& r : longest->runs) t.head.push_back(fmt::format("seed {}", r.seed));
  t.head.push_back("mean");
  for (const Measured* arm : arms) {
    t.rows.push_back(seed_row(arm->name, arm->runs, metric, scale, digits));
    auto& row = t.rows.back();
    row.insert(row.end() - 1, t.head.size() - row.size(), "");
  }
  return t;
}

}  // namespace loupe::lesson
