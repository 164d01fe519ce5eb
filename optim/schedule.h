#pragma once
// Learning-rate schedules with PyTorch's names, formulas and defaults, but for what a comment says.
// A schedule sets the groups' learning rates when it is made (epoch 0) and at every step()
// (ReduceLROnPlateau: only when it reduces); call step() after Optimizer::step(). "Epoch" is
// whatever one step() stands for: the programs here step once a batch.
#include <loupe/optim/optimizer.h>

namespace loupe {

/// Base. The learning rate of a group at an epoch depends on its initial rate and the epoch alone,
/// but for ReduceLROnPlateau.
class Schedule : Pinned {
 public:
  virtual ~Schedule() = default;

  /// The next epoch.
  virtual void step();
  int64_t epoch() const { return epoch_; }
  double lr() const { return optimizer_.lr(); }
  /// The learning rate at an epoch of a group that began with `initial`.
  virtual double rate(double initial, int64_t epoch) const { return initial * factor(epoch); }
  /// Numbers that, set again, continue the schedule exactly. ValueError for others, and nothing has
  /// been changed then.
  virtual std::vector<double> state() const { return {static_cast<double>(epoch_)}; }
  virtual void set_state(const std::vector<double>& state);
  /// Sets the rates for the present epoch.
  void apply() { apply_at(epoch_); }
  /// Sets them as if this were another epoch.
  virtual void apply_at(int64_t epoch);

 protected:
  explicit Schedule(Optimizer& optimizer) : optimizer_(optimizer) {}
  virtual double factor(int64_t /*epoch*/) const { return 1; }
  Optimizer& optimizer_;
  int64_t epoch_ = 0;
};

/// initial * factor before epoch total_iters, initial from there on. With the default factor 1 the
/// rate is constant (PyTorch's default is 1/3).
class ConstantLR : public Schedule {
 public:
  explicit ConstantLR(Optimizer& o, double factor = 1, int64_t total_iters = 5);

 protected:
  double factor(int64_t t) const override { return t < total_ ? factor_ : 1; }

 private:
  double factor_;
  int64_t total_;
};

/// initial * gamma^floor(t / step_size).
class StepLR : public Schedule {
 public:
  StepLR(Optimizer& o, int64_t step_size, double gamma = 0.1);

 protected:
  double factor(int64_t t) const override;

 private:
  int64_t step_size_;
  double gamma_;
};

/// initial * gamma^(milestones passed).
class MultiStepLR : public Schedule {
 public:
  MultiStepLR(Optimizer& o, std::vector<int64_t> milestones, double gamma = 0.1);

 protected:
  double factor(int64_t t) const override;

 private:
  std::vector<int64_t> milestones_;
  double gamma_;
};

/// initial * gamma^t.
class ExponentialLR : public Schedule {
 public:
  ExponentialLR(Optimizer& o, double gamma);

 protected:
  double factor(int64_t t) const override;

 private:
  double gamma_;
};

/// eta_min + (initial - eta_min) (1 + cos(pi t / T_max)) / 2. Loshchilov and Hutter, "SGDR", 2016,
/// without restarts.
class CosineAnnealingLR : public Schedule {
 public:
  CosineAnnealingLR(Optimizer& o, int64_t t_max, double eta_min = 0);
  double rate(double initial, int64_t epoch) const override;

 private:
  int64_t t_max_;
  double eta_min_;
};

/// Warm-up: initial times a factor that goes linearly from start_factor to end_factor over
/// total_iters epochs.
class LinearLR : public Schedule {
 public:
  LinearLR(Optimizer& o, double start_factor = 1.0 / 3, double end_factor = 1,
           int64_t total_iters = 5);

 protected:
  double factor(int64_t t) const override;

 private:
  double start_, end_;
  int64_t total_;
};

/// Up from max_lr / div_factor to max_lr in the first pct_start of total_steps, down to (max_lr /
/// div_factor) / final_div_factor in the rest, by half cosines. A phase without steps is left out.
/// Smith and Topin, "Super-convergence", 2017. The groups' initial rates are not used.
class OneCycleLR : public Schedule {
 public:
  struct Options {
    double max_lr = 1e-2;
    int64_t total_steps = 1;
    double pct_start = 0.3;
    bool linear = false;  // straight lines instead of cosines
    /// The optimizer's momentum (Adam's beta1) goes the other way: max, base, max. Replaces what it
    /// was made with.
    bool cycle_momentum = true;
    double base_momentum = 0.85;
    double max_momentum = 0.95;
    double div_factor = 25;
    double final_div_factor = 1e4;
    /// As many steps down to max_lr / div_factor as up, then on to the end.
    bool three_phase = false;
  };
  OneCycleLR(Optimizer& o, Options options);
  double rate(double initial, int64_t epoch) const override;
  /// ValueError beyond total_steps.
  void apply_at(int64_t epoch) override;

 private:
  // Where in the cycle an epoch is, on the way between two of the three levels.
  enum Level { kStart, kTop, kEnd };
  struct Place {
    Level from, to;
    double share;
  };
  Place place(int64_t epoch) const;
  double between(double a, double b, double share) const;
  Options options_;
};

/// Multiplies the rate by `factor` when a metric has not got better for more than `patience` steps:
/// step(metric).
class ReduceLROnPlateau : public Schedule {
 public:
  struct Options {
    bool maximize = false;  // the metric should grow
    double factor = 0.1;
    int64_t patience = 10;
    double threshold = 1e-4;
    /// Better means by threshold * |best|, else by threshold. (PyTorch leaves out the bars: there a
    /// loss of -9.9995 counts as better than one of -10.)
    bool relative = true;
    int64_t cooldown = 0;
    double min_lr = 0;
    double eps = 1e-8;
  };
  ReduceLROnPlateau(Optimizer& o, Options options);
  /// ValueError, both: this schedule needs the metric.
  void step() override;
  double rate(double initial, int64_t epoch) const override;
  void step(double metric);
  std::vector<double> state() const override;
  void set_state(const std::vector<double>& state) override;

 private:
  Options options_;
  double best_;
  int64_t bad_ = 0, cooldown_left_ = 0;
};

/// One schedule after the other: schedules[i] runs from milestones[i - 1] on, starting at its own
/// epoch 0.
class SequentialLR : public Schedule {
 public:
  SequentialLR(Optimizer& o, std::vector<std::unique_ptr<Schedule>> schedules,
               std::vector<int64_t> milestones);
  double rate(double initial, int64_t epoch) const override;
  void apply_at(int64_t epoch) override;

 private:
  // The schedule in charge, and its own epoch.
  std::pair<Schedule*, int64_t> at(int64_t epoch) const;
  std::vector<std::unique_ptr<Schedule>> schedules_;
  std::vector<int64_t> milestones_;
};

/// All at once: each takes the rate that the one before gives for its initial one, so that factors
/// multiply.
class ChainedScheduler : public Schedule {
 public:
  ChainedScheduler(Optimizer& o, std::vector<std::unique_ptr<Schedule>> schedules);
  double rate(double initial, int64_t epoch) const override;

 private:
  std::vector<std::unique_ptr<Schedule>> schedules_;
};

/// Warm-up: the factor at step t < warmup is (t + 1) / warmup. Then a half cosine goes down to
/// min_factor at `total`, and the factor stays there: the usual schedule of Transformers.
/// ValueError unless 0 <= warmup <= total.
class WarmupCosine : public Schedule {
 public:
  WarmupCosine(Optimizer& o, int64_t warmup, int64_t total, double min_factor = 0);

 protected:
  double factor(int64_t t) const override;

 private:
  int64_t warmup_, total_;
  double min_;
};

}  // namespace loupe
