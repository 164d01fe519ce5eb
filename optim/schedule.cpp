#include <loupe/core/dmath.h>
#include <loupe/optim/schedule.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

double power(double base, int64_t n) { return dmath::pow(base, static_cast<double>(n)); }

void positive(int64_t n, const char* schedule, const char* what) {
  if (n < 1) fail<ValueError>("{}: {} must be at least 1, got {}", schedule, what, n);
}

void not_negative(double x, const char* schedule, const char* what) {
  if (!(x >= 0 && std::isfinite(x)))
    fail<ValueError>("{}: {} {} is not a number of at least 0", schedule, what, x);
}

// A count out of a state.
int64_t count(const char* schedule, double x) {
  if (!(x >= 0 && x < 0x1p53 && x == std::floor(x)))
    fail<ValueError>("{}: the state holds {}, expected a whole number", schedule, x);
  return static_cast<int64_t>(x);
}

}  // namespace

void Schedule::apply_at(int64_t epoch) {
  for (auto& g : optimizer_.groups()) g.lr = rate(g.initial_lr, epoch);
}

void Schedule::step() {
  ++epoch_;
  apply();
}

void Schedule::set_state(const std::vector<double>& state) {
  if (state.size() != 1)
    fail<ValueError>("schedule: a state of {} numbers, expected one", state.size());
  const int64_t epoch = count("schedule", state[0]);
  apply_at(epoch);
  epoch_ = epoch;
}

ConstantLR::ConstantLR(Optimizer& o, double factor, int64_t total_iters)
    : Schedule(o), factor_(factor), total_(total_iters) {
  not_negative(factor, "ConstantLR", "factor");
  apply();
}

StepLR::StepLR(Optimizer& o, int64_t step_size, double gamma)
    : Schedule(o), step_size_(step_size), gamma_(gamma) {
  positive(step_size, "StepLR", "step_size");
  not_negative(gamma, "StepLR", "gamma");
  apply();
}
double StepLR::factor(int64_t t) const { return power(gamma_, t / step_size_); }

MultiStepLR::MultiStepLR(Optimizer& o, std::vector<int64_t> milestones, double gamma)
    : Schedule(o), milestones_(std::move(milestones)), gamma_(gamma) {
  not_negative(gamma, "MultiStepLR", "gamma");
  std::sort(milestones_.begin(), milestones_.end());
  apply();
}
double MultiStepLR::factor(int64_t t) const {
  return power(gamma_,
               std::upper_bound(milestones_.begin(), milestones_.end(), t) - milestones_.begin());
}

ExponentialLR::ExponentialLR(Optimizer& o, double gamma) : Schedule(o), gamma_(gamma) {
  not_negative(gamma, "ExponentialLR", "gamma");
  apply();
}
double ExponentialLR::factor(int64_t t) const { return power(gamma_, t); }

CosineAnnealingLR::CosineAnnealingLR(Optimizer& o, int64_t t_max, double eta_min)
    : Schedule(o), t_max_(t_max), eta_min_(eta_min) {
  positive(t_max, "CosineAnnealingLR", "T_max");
  not_negative(eta_min, "CosineAnnealingLR", "eta_min");
  apply();
}
double CosineAnnealingLR::rate(double initial, int64_t t) const {
  const double share = static_cast<double>(t) / static_cast<double>(t_max_);
  return eta_min_ + (initial - eta_min_) * (1 + dmath::cos_pi(share)) / 2;
}

LinearLR::LinearLR(Optimizer& o, double start, double end, int64_t total)
    : Schedule(o), start_(start), end_(end), total_(total) {
  positive(total, "LinearLR", "total_iters");
  if (!(start > 0 && start <= 1))
    fail<ValueError>("LinearLR: start_factor {} must lie in (0, 1]", start);
  not_negative(end, "LinearLR", "end_factor");
  apply();
}
double LinearLR::factor(int64_t t) const {
  const auto done = static_cast<double>(std::min(t, total_));
  return start_ + (end_ - start_) * done / static_cast<double>(total_);
}

OneCycleLR::OneCycleLR(Optimizer& o, Options options) : Schedule(o), options_(options) {
  positive(options.total_steps, "OneCycleLR", "total_steps");
  if (!(options.pct_start >= 0 && options.pct_start <= 1))
    fail<ValueError>("OneCycleLR: pct_start {} must lie in [0, 1]", options.pct_start);
  not_negative(options.max_lr, "OneCycleLR", "max_lr");
  for (const double x : {options.div_factor, options.final_div_factor})
    if (!(x > 0))
      fail<ValueError>("OneCycleLR: div_factor {} and final_div_factor {} must be above 0",
                       options.div_factor, options.final_div_factor);
  for (const double x : {options.base_momentum, options.max_momentum})
    not_negative(x, "OneCycleLR", "momentum");
  apply();
}
OneCycleLR::Place OneCycleLR::place(int64_t epoch) const {
  const auto total = static_cast<double>(options_.total_steps);
  const double last = total - 1;
  const double peak = options_.pct_start * total - 1;
  // One step beyond the last is allowed (the call after the last batch); everything stays where it
  // ended.
  const double t = std::min(static_cast<double>(epoch), last);
  if (t <= peak) return {kStart, kTop, peak > 0 ? t / peak : 1};
  if (!options_.three_phase) return {kTop, kEnd, last > peak ? (t - peak) / (last - peak) : 1};
  const double back = 2 * options_.pct_start * total - 2;  // at the start's rate again
  if (t <= back) return {kTop, kStart, (t - peak) / (back - peak)};
  return {kStart, kEnd, last > back ? (t - back) / (last - back) : 1};
}
double OneCycleLR::between(double a, double b, double share) const {
  if (options_.linear) return a + (b - a) * share;
  return b + (a - b) / 2 * (1 + dmath::cos_pi(share));
}
double OneCycleLR::rate(double /*initial*/, int64_t epoch) const {
  const double start = options_.max_lr / options_.div_factor;
  const double levels[] = {start, options_.max_lr, start / options_.final_div_factor};
  const Place p = place(epoch);
  return between(levels[p.from], levels[p.to], p.share);
}
void OneCycleLR::apply_at(int64_t epoch) {
  if (epoch > options_.total_steps)
    fail<ValueError>("OneCycleLR: step {} of {}", epoch + 1, options_.total_steps);
  Schedule::apply_at(epoch);
  if (!options_.cycle_momentum) return;
  const double levels[] = {options_.max_momentum, options_.base_momentum, options_.max_momentum};
  const Place p = place(epoch);
  optimizer_.set_momentum(between(levels[p.from], levels[p.to], p.share));
}

ReduceLROnPlateau::ReduceLROnPlateau(Optimizer& o, Options options)
    : Schedule(o), options_(options), best_(options.maximize ? -dmath::kInf : dmath::kInf) {
  if (!(options.factor >= 0 && options.factor < 1))
    fail<ValueError>("ReduceLROnPlateau: factor {} must lie in [0, 1)", options.factor);
  if (options.patience < 0 || options.cooldown < 0)
    fail<ValueError>("ReduceLROnPlateau: patience {} and cooldown {} must not be negative",
                     options.patience, options.cooldown);
  for (const double x : {options.threshold, options.min_lr, options.eps})
    not_negative(x, "ReduceLROnPlateau", "threshold, min_lr or eps");
}
void ReduceLROnPlateau::step() {
  fail<ValueError>("ReduceLROnPlateau: step needs the metric: step(metric)");
}
double ReduceLROnPlateau::rate(double, int64_t) const {
  fail<ValueError>(
      "ReduceLROnPlateau: the rate depends on metrics; it cannot be part of another schedule");
}
void ReduceLROnPlateau::step(double metric) {
  ++epoch_;
  const double sign = options_.maximize ? 1 : -1;
  // At first best is infinite: every metric is better.
  const double scale = options_.relative && std::isfinite(best_) ? std::abs(best_) : 1;
  const double margin = best_ + sign * options_.threshold * scale;
  if (options_.maximize ? metric > margin : metric < margin) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooldown_left_ > 0) {
    --cooldown_left_;
    bad_ = 0;
  }
  if (bad_ <= options_.patience) return;
  for (auto& g : optimizer_.groups()) {
    const double lr = std::max(g.lr * options_.factor, options_.min_lr);
    if (g.lr - lr > options_.eps) g.lr = lr;
  }
  cooldown_left_ = options_.cooldown;
  bad_ = 0;
}
std::vector<double> ReduceLROnPlateau::state() const {
  std::vector<double> s{static_cast<double>(epoch_), best_, static_cast<double>(bad_),
                        static_cast<double>(cooldown_left_)};
  for (const auto& g : optimizer_.groups()) s.push_back(g.lr);
  return s;
}
void ReduceLROnPlateau::set_state(const std::vector<double>& s) {
  auto& groups = optimizer_.groups();
  if (s.size() != 4 + groups.size())
    fail<ValueError>("ReduceLROnPlateau: a state of {} numbers, expected {}", s.size(),
                     4 + groups.size());
  const int64_t epoch = count("ReduceLROnPlateau", s[0]);
  const int64_t bad = count("ReduceLROnPlateau", s[2]);
  const int64_t cooldown_left = count("ReduceLROnPlateau", s[3]);
  for (size_t i = 0; i < groups.size(); ++i)
    not_negative(s[4 + i], "ReduceLROnPlateau", "a learning rate");
  epoch_ = epoch;
  best_ = s[1];
  bad_ = bad;
  cooldown_left_ = cooldown_left;
  for (size_t i = 0; i < groups.size(); ++i) groups[i].lr = s[4 + i];
}

namespace {

void check_parts(const std::vector<std::unique_ptr<Schedule>>& parts, const char* schedule) {
  if (parts.empty()) fail<ValueError>("{}: it got no schedule", schedule);
  for (const auto& part : parts)
    if (!part) fail<ValueError>("{}: a schedule is null", schedule);
}

}  // namespace

SequentialLR::SequentialLR(Optimizer& o, std::vector<std::unique_ptr<Schedule>> schedules,
                           std::vector<int64_t> milestones)
    : Schedule(o), schedules_(std::move(schedules)), milestones_(std::move(milestones)) {
  check_parts(schedules_, "SequentialLR");
  if (schedules_.size() != milestones_.size() + 1)
    fail<ValueError>("SequentialLR: {} schedules need {} milestones, got {}", schedules_.size(),
                     schedules_.size() - 1, milestones_.size());
  if (!std::is_sorted(milestones_.begin(), milestones_.end()))
    fail<ValueError>("SequentialLR: the milestones must ascend");
  apply();
}
std::pair<Schedule*, int64_t> SequentialLR::at(int64_t epoch) const {
  const auto passed =
      std::upper_bound(milestones_.begin(), milestones_.end(), epoch) - milestones_.begin();
  return {schedules_[static_cast<size_t>(passed)].get(),
          epoch - (passed ? milestones_[static_cast<size_t>(passed) - 1] : 0)};
}
double SequentialLR::rate(double initial, int64_t epoch) const {
  const auto [schedule, own] = at(epoch);
  return schedule->rate(initial, own);
}
void SequentialLR::apply_at(int64_t epoch) {
  const auto [schedule, own] = at(epoch);
  schedule->apply_at(own);
}

ChainedScheduler::ChainedScheduler(Optimizer& o, std::vector<std::unique_ptr<Schedule>> schedules)
    : Schedule(o), schedules_(std::move(schedules)) {
  check_parts(schedules_, "ChainedScheduler");
  apply();
}
double ChainedScheduler::rate(double initial, int64_t epoch) const {
  for (const auto& schedule : schedules_) initial = schedule->rate(initial, epoch);
  return initial;
}

WarmupCosine::WarmupCosine(Optimizer& o, int64_t warmup, int64_t total, double min_factor)
    : Schedule(o), warmup_(warmup), total_(total), min_(min_factor) {
  positive(total, "WarmupCosine", "total");
  if (warmup < 0 || warmup > total)
    fail<ValueError>("WarmupCosine: warmup {} must lie in [0, total], total is {}", warmup, total);
  not_negative(min_factor, "WarmupCosine", "min_factor");
  apply();
}
double WarmupCosine::factor(int64_t t) const {
  if (t < warmup_) return static_cast<double>(t + 1) / static_cast<double>(warmup_);
  if (t >= total_) return min_;
  const double share = static_cast<double>(t - warmup_) / static_cast<double>(total_ - warmup_);
  return min_ + (1 - min_) * (1 + dmath::cos_pi(share)) / 2;
}

}  // namespace loupe
