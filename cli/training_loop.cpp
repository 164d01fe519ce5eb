// The loop of `loupe train`: steps, evaluations, checkpoints, and a run that goes on after a stop.
#include <loupe/cli/training.h>

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/view/profile.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>

namespace loupe::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kEvaluationDue = "evaluation_due";  // a number of checkpoints

double seconds_since(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

struct MeanSince {
  double sum = 0, count = 0;
  void add(double value) {
    sum += value;
    ++count;
  }
  double mean() const { return sum / count; }
};

// Nothing if Ctrl-C came before or meanwhile.
std::optional<Evaluation> evaluation_of(Training& t, int64_t step, bool stopped) {
  if (stopped) return {};
  NoGrad guard;
  loupe::train(t.model, false);
  std::optional<Evaluation> e;
  try {
    e = t.evaluate(step);
  } catch (const Interrupted&) {}
  loupe::train(t.model, true);
  return e;
}

using Streams = std::vector<std::pair<Rng*, Rng::State>>;

Streams streams_of(Module& m) {
  Streams s;
  for (const auto& [name, rng] : named_streams(m)) s.emplace_back(rng, rng->state());
  return s;
}

// Where in the step the first NaN or Inf appears: the step once more, on the same random numbers,
// in anomaly mode.
std::string cause(Training& t, const Batch& batch, const Streams& streams) {
  for (const auto& [rng, state] : streams) rng->set_state(state);
  t.optimizer.zero_grad();
  try {
    const AnomalyMode anomaly;
    t.loss(t.forward(batch), batch).backward();
  } catch (const NumericError& e) { return e.what(); }
  return "run again it was finite: a fault of this machine?";
}

// A run goes on as what it was. What does not decide its numbers may change, and so may its end.
void check_options(const CheckpointFolder& folder, const std::string& record) {
  const std::vector<int64_t> steps = folder.steps();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    std::string options;
    try {
      options = checkpoint_options(folder.path_of(*step));
    } catch (const IoError&) {  // damaged: resume says so and passes over it
      continue;
    }
    const Json then = Json::parse(options, folder.path_of(*step)),
               now = Json::parse(record, "options");
    for (const std::string& key : now.differing(then)) {
      if (key == "threads" || key == "epochs" || key == "steps" || key == "data" || key == "text" ||
          key == "default_text" || key == "init_from")
        continue;
      fail<ValueError>(
          "train: {} was made with {} {}, this run has {}; resume with the options of the run, or "
          "start another one from its "
          "weights with --init-from",
          folder.path_of(*step), key, then.member_text(key), now.member_text(key));
    }
    return;
  }
}

// The random streams of a model that several ranks train. Each rank and each step has a stream of
// its own, which follows from the one that the model began with: that one stays in the checkpoint,
// whatever the number of ranks. One process just goes on drawing.
class RankStreams {
 public:
  RankStreams(Module& model, const Communicator& ranks)
      : begun_(ranks.size() > 1 ? streams_of(model) : Streams()), rank_(ranks.rank()) {}
  void begin_step(int64_t step) const {
    for (const auto& [rng, state] : begun_) {
      const auto of_rank = philox(state.key + state.counter, static_cast<uint64_t>(rank_) << 40);
      const auto of_step =
          philox(uint64_t{of_rank[1]} << 32 | of_rank[0], static_cast<uint64_t>(step));
      rng->set_state({uint64_t{of_step[1]} << 32 | of_step[0], 0});
    }
  }
  void restore() const {
    for (const auto& [rng, state] : begun_) rng->set_state(state);
  }

 private:
  Streams begun_;
  int rank_;
};

// What the first rank resumed from, for the others: they may have no such file.
void share_checkpoint(Communicator& ranks, TrainingState& state, const std::string& path) {
  std::string content = ranks.rank() == 0 ? read_file(path) : "";
  const double size = ranks.sum({static_cast<double>(content.size())})[0];
  const Tensor bytes = empty({static_cast<int64_t>(size)}, DType::u8);
  std::memcpy(bytes.ptr<uint8_t>(), content.data(), content.size());
  ranks.broadcast(bytes);
  if (ranks.rank() == 0) return;
  const Bytes all(bytes.ptr<uint8_t>(), static_cast<size_t>(size));
  load_checkpoint(load_safetensors(all, bytes.storage(), "checkpoint"), state, "checkpoint");
}

// --profile: some early steps, after the first ones have filled caches and memory.
class StepProfile {
 public:
  explicit StepProfile(Run& run)
      : run_(run), left_(run.options().profile.empty() || !run.leads() ? 0 : kAll) {}

  void begin_step() {
    if (left_ > 0 && left_ <= kMeasured && !profile_) profile_.emplace();
  }

  void end_step(bool is_last) {
    if (left_ == 0) return;
    --left_;
    if (left_ > 0 && !is_last) return;
    left_ = 0;
    run_.console.finish();
    if (!profile_) {
      run_.console.say(
          fmt::format("--profile: a run of more than {} steps can be measured", kWarm));
      return;
    }
    const std::string& path = run_.options().profile;
    profile_->save_trace(path);
    const std::string table = profile_->table();
    profile_.reset();  // measures no more
    run_.console.say(table + "trace written to " + path + ": open it in ui.perfetto.dev");
  }

 private:
  static constexpr int kWarm = 5, kMeasured = 20, kAll = kWarm + kMeasured;
  Run& run_;
  int left_;
  std::optional<Profile> profile_;
};

class Loop {
 public:
  Loop(Run& run, Training& training);
  /// Before the first step: resumes where that is asked for, and makes an evaluation that is due.
  void start();
  bool goes_on() const { return result_.steps < t_.steps && !stopped(); }
  /// One batch: its gradients, the update, what is told of it, and an evaluation or a checkpoint
  /// where one is due. Does nothing where an epoch ends.
  void step();
  TrainingResult finish();

 private:
  // What one step found.
  struct Step {
    int64_t number = 0;
    Tensor logits = {};
    double loss = NAN, gradient_norm = NAN, lr = 0;
  };

  // Ctrl-C: one rank's holds for all, who ask each other at the end of each step.
  bool stopped() const { return ranks_.size() == 1 ? interrupted() : stopped_together_; }
  void resume();
  Step gradients(int64_t number, const Batch& batch);
  void compute(Step& step, const Batch& batch);
  void update(Step& step);
  void write_scalars(const Step& step, const Batch& batch);
  void evaluate(double lr);
  void tell(const Evaluation& e, double lr);
  void checkpoint(std::optional<double> metric);
  [[noreturn]] void stop(const std::string& why);
  double speed() const;

  Run& run_;
  Training& t_;
  Communicator& ranks_;
  std::optional<AnomalyMode> anomaly_;
  DataParallel parallel_;
  std::vector<Tensor> parameters_;
  std::optional<ShadowGuard> shadow_;
  StepProfile profile_;
  CheckpointFolder folder_;
  TrainingState state_;
  RankStreams streams_;
  std::optional<Monitor> monitor_;

  TrainingResult result_;
  MeanSince loss_;             // since the last evaluation
  std::optional<double> due_;  // the learning rate of an evaluation that Ctrl-C left undone
  bool stopped_together_ = false;
  int64_t samples_ = 0;
  std::string shown_;  // of the last evaluation, in the line of progress
  CommunicatorStats before_;
  Clock::time_point begin_ = Clock::now();
  double evaluating_ = 0;  // seconds
};

Loop::Loop(Run& run, Training& training)
    : run_(run),
      t_(training),
      ranks_(run.ranks()),
      parallel_(t_.model, ranks_),
      profile_(run),
      folder_(run.file("checkpoints"), run.options().keep),
      state_{.model = &t_.model,
             .optimizer = &t_.optimizer,
             .schedule = &t_.schedule,
             .loader = &t_.loader,
             .streams = t_.streams,
             .options = run.record()},
      streams_(t_.model, ranks_) {
  if (run.options().anomaly) anomaly_.emplace();
  loupe::train(t_.model);
  if (t_.sync_norm) convert_sync_batch_norm(t_.model, ranks_);
  if (t_.sync_norm && ranks_.size() > 1 && !run.options().logdir.empty())
    fail<ValueError>(
        "train: --logdir runs the model once more on the first rank alone, which --sync-norm does "
        "not allow under mpirun");
  parameters_ = parameters(t_.model);
  if (run.options().shadow > 0) shadow_.emplace();
  if (run.board())
    monitor_.emplace(*run.board(), t_.model,
                     Monitor::Options{.every = run.options().log_every,
                                      .histograms_every = 4 * run.options().log_every});
}

// --- Begin and end ---

void Loop::start() {
  const RunOptions& options = run_.options();
  if (run_.keeps_files() && !options.resume && !folder_.steps().empty())
    fail<ValueError>(
        "train: {} holds checkpoints of an earlier run; go on with --resume, or choose another "
        "--out",
        options.out);
  if (options.resume) resume();
  result_.steps = t_.optimizer.steps();
  run_.begin(result_.steps);
  streams_ = RankStreams(t_.model, ranks_);
  if (due_) evaluate(*due_);
  before_ = ranks_.stats();
}

void Loop::resume() {
  if (run_.leads()) check_options(folder_, run_.record());
  state_.numbers = {{"loss_sum", 0}, {"loss_count", 0}};
  std::vector<std::string> skipped;
  std::optional<int64_t> step;
  if (run_.leads()) step = folder_.resume(state_, &skipped);
  if (ranks_.any(step.has_value())) {
    step = static_cast<int64_t>(ranks_.sum({static_cast<double>(step.value_or(0))})[0]);
    if (ranks_.size() > 1) share_checkpoint(ranks_, state_, folder_.path_of(*step));
  }
  for (const std::string& s : skipped) run_.console.say("passed over: " + s);
  if (step) {
    loss_ = {state_.numbers.at("loss_sum"), state_.numbers.at("loss_count")};
    if (const auto due = state_.numbers.find(kEvaluationDue); due != state_.numbers.end())
      due_ = due->second;
    state_.options = run_.record();
  }
  run_.console.say(step ? fmt::format("resumed at step {}", *step)
                        : "no checkpoint yet: starting at step 0");
  if (run_.board()) run_.board()->restart(step.value_or(0));
}

TrainingResult Loop::finish() {
  result_.exchanged = ranks_.stats() - before_;
  if (samples_ == 0 && !result_.evaluation)  // resumed at the end
    result_.evaluation = evaluation_of(t_, result_.steps, stopped());
  result_.interrupted = result_.steps < t_.steps || !result_.evaluation;
  run_.console.finish();
  streams_.restore();
  parallel_.sync_buffers();
  state_.numbers.clear();
  result_.state_hash = loupe::state_hash(state_);
  result_.seconds = seconds_since(begin_) - evaluating_;
  return result_;
}

void Loop::stop(const std::string& why) {
  run_.console.finish();
  const std::vector<int64_t> kept = folder_.steps();
  fail<NumericError>(
      "train: {}{}", why,
      kept.empty() ? "" : fmt::format("; the last checkpoint is of step {}", kept.back()));
}

// --- A step ---

void Loop::step() {
  profile_.begin_step();
  const std::optional<Batch> batch = t_.loader.next();
  if (!batch) return;  // an epoch ended; the next call starts another
  Step step = gradients(result_.steps + 1, *batch);
  update(step);
  result_.steps = step.number;
  loss_.add(step.loss);
  samples_ += ranks_.size() == 1 ? batch->size() : t_.loader.options().batch_size;
  run_.console.progress(step.number, t_.steps, speed(),
                        fmt::format("loss {:.4f}{}", loss_.mean(), shown_));
  if (run_.board() && (step.number == 1 || step.number % 10 == 0 || step.number == t_.steps))
    write_scalars(step, *batch);
  if (ranks_.size() > 1) stopped_together_ = ranks_.any(interrupted());
  const auto due = [&](int64_t every) { return every > 0 && step.number % every == 0; };
  if (step.number == t_.steps || due(t_.evaluate_every)) evaluate(step.lr);
  else if (stopped() || due(t_.checkpoint_every)) checkpoint({});
}

Loop::Step Loop::gradients(int64_t number, const Batch& batch) {
  Step step{.number = number};
  ranks_.set_step(number);
  streams_.begin_step(number);
  if (monitor_) monitor_->forward(number, [&] { return t_.forward(batch); });
  t_.optimizer.zero_grad();
  const Streams before = streams_of(t_.model);
  try {
    compute(step, batch);
  } catch (const NumericError& e) {  // shadow or anomaly mode
    stop(fmt::format("step {}: {}", number, e.what()));
  }
  if (std::isfinite(step.gradient_norm)) return step;
  const bool in_gradient = std::isfinite(step.loss);
  stop(fmt::format(
      "the {} is {} at step {}: {}. A smaller --lr or --clip may help",
      in_gradient ? "gradient" : "loss", in_gradient ? step.gradient_norm : step.loss, number,
      ranks_.size() == 1 ? cause(t_, batch, before) : "one process with --anomaly finds where"));
}

// Leaves the norm NaN where the loss is not finite: there is nothing to differentiate.
void Loop::compute(Step& step, const Batch& batch) {
  step.logits = t_.forward(batch);
  const MeanLoss mean =
      parallel_.mean_loss(t_.loss(step.logits, batch), static_cast<double>(batch.y.numel()));
  step.loss = mean.value;
  if (!std::isfinite(step.loss)) return;
  mean.share.backward();
  if (monitor_) monitor_->gradients(step.number);
  step.gradient_norm = t_.clip > 0 ? clip_grad_norm_(parameters_, t_.clip) : grad_norm(parameters_);
}

void Loop::update(Step& step) {
  if (shadow_ && step.number == run_.options().shadow) {
    run_.console.finish();
    run_.console.say(shadow_->table());
    shadow_.reset();
  }
  step.lr = t_.optimizer.lr();
  t_.optimizer.step();
  t_.schedule.step();
  if (monitor_) monitor_->update(step.number);
  profile_.end_step(step.number == t_.steps);
}

void Loop::write_scalars(const Step& step, const Batch& batch) {
  NoGrad guard;
  EventWriter& board = *run_.board();
  board.scalar("train/loss", step.loss, step.number);
  board.scalar("train/accuracy", mean(eq(argmax(step.logits, -1), batch.y).to(DType::f64)).item(),
               step.number);
  board.scalar("train/learning_rate", step.lr, step.number);
  board.scalar("train/gradient_norm", step.gradient_norm, step.number);
  board.scalar("train/samples_per_second", speed(), step.number);
  board.flush();
}

double Loop::speed() const {
  return static_cast<double>(samples_) / std::max(seconds_since(begin_) - evaluating_, 1e-9);
}

// --- Evaluations and checkpoints ---

// An evaluation that Ctrl-C breaks off stays due in the checkpoint: the run that resumes makes it.
void Loop::evaluate(double lr) {
  const Clock::time_point from = Clock::now();
  parallel_.sync_buffers();
  result_.evaluation = evaluation_of(t_, result_.steps, stopped());
  evaluating_ += seconds_since(from);
  due_.reset();
  if (!result_.evaluation) {
    due_ = lr;
    return checkpoint({});
  }
  const Evaluation& e = *result_.evaluation;
  tell(e, lr);
  loss_ = {};
  checkpoint(e.larger_is_better ? -e.value : e.value);
}

void Loop::tell(const Evaluation& e, double lr) {
  result_.loss = loss_.mean();
  shown_ = fmt::format("  {} {:.4f}", e.name, e.value);
  const double now = samples_ > 0 ? speed() : NAN;  // this process may just have resumed
  Json line("eval");
  line.set("step", result_.steps)
      .set("loss", result_.loss)
      .set("lr", lr)
      .set("samples_per_second", now)
      .set(e.name, e.value);
  run_.metric(line);
  const std::string rate = samples_ > 0 ? fmt::format("  {:.0f} samples/s", now) : "";
  run_.console.say(fmt::format("step {:>6}  loss {:.4f}  {} {:.4f}  lr {:.2e}{}", result_.steps,
                               result_.loss, e.name, e.value, lr, rate));
  if (!run_.board()) return;
  run_.board()->scalar("eval/" + e.name, e.value, result_.steps);
  for (const auto& [name, number] : e.more)
    run_.board()->scalar("eval/" + name, number, result_.steps);
  run_.board()->flush();
}

void Loop::checkpoint(std::optional<double> metric) {
  for (const Named& n : named_parameters(t_.model))
    if (raw::has_nonfinite(n.tensor))
      stop(fmt::format("{} holds a NaN or an infinity after step {}", n.name, result_.steps));
  if (!run_.keeps_files()) return;
  streams_.restore();
  state_.numbers = {{"loss_sum", loss_.sum}, {"loss_count", loss_.count}};
  if (due_) state_.numbers[kEvaluationDue] = *due_;
  folder_.save(state_, result_.steps, metric);
}

}  // namespace

TrainingResult train(Run& run, Training& t) {
  catch_interrupts();
  Loop loop(run, t);
  loop.start();
  while (loop.goes_on()) loop.step();
  return loop.finish();
}

}  // namespace loupe::cli
