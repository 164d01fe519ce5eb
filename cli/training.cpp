#include <loupe/cli/training.h>

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/threads.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/view/profile.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>

namespace loupe::cli {

using Clock = std::chrono::steady_clock;

namespace {

// The node's cores over its ranks, but not more than the launcher has bound this one to.
int threads_of_rank(const Communicator& ranks) {
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::clamp(cores / ranks.local_size(), 1, thread_limit());
}

}  // namespace

Run::Run(const RunOptions& options, Json record)
    : ranks_({.timeout = options.timeout, .stop = [] { return interrupted(); }}),
      console(options.json, ranks_.rank() > 0),
      options_(options),
      record_(record.text(true) + "\n"),
      start_(Clock::now()) {
  if (options.resume && options.out.empty())
    fail<ValueError>("train: --resume needs --out, the folder of the run to go on with");
  if (options.threads > 0) set_thread_limit(options.threads);
  else if (ranks_.size() > 1) set_thread_limit(threads_of_rank(ranks_));
  if (!options.logdir.empty() && leads()) {
    board_ = std::make_unique<EventWriter>(options.logdir);
    std::string indented = "    ";  // Markdown's sign of text that is shown as it is
    for (const char c : record_) indented += c == '\n' ? "\n    " : std::string(1, c);
    board_->text("options", indented, 0);
  }
  if (!keeps_files()) return;
  std::error_code error;
  std::filesystem::create_directories(options.out + "/checkpoints", error);
  if (error) fail<IoError>("{}: cannot create the folder: {}", options.out, error.message());
}

std::string Run::workers() const {
  const std::string threads = fmt::format("{} threads", thread_limit());
  return ranks_.size() == 1 ? threads : fmt::format("{} ranks of {}", ranks_.size(), threads);
}

void Run::begin(int64_t step) {
  if (!keeps_files()) return;
  const std::string path = file("metrics.jsonl");
  std::string kept;
  if (step > 0 && std::filesystem::exists(path)) {
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
      try {
        if (Json::parse(line, path).get_integer("step") <= step) kept += line + "\n";
      } catch (const IoError&) {  // half a line, or a result: they belong to no step
      }
    }
  }
  write_file(path, kept);
  metrics_.open(path, std::ios::app);
  write_file(file("options.json"), record_);
}

void Run::metric(const Json& e) {
  console.event(e);
  if (!metrics_.is_open()) return;
  metrics_ << e.text() << std::endl;
  if (!metrics_)
    fail<IoError>("{}: cannot be written: {}", file("metrics.jsonl"), std::strerror(errno));
}

double Run::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

Json record_of(const char* command, const TrainOptions& o) {
  Json j;
  j.set("command", command)
      .set("seed", o.seed)
      .set("threads", o.threads)
      .set("epochs", o.epochs.value_or(-1))  // -1: not given
      .set("steps", o.steps.value_or(-1));
  j.set("batch_size", o.batch_size.value())
      .set("lr", o.lr.value())
      .set("optimizer", o.optimizer)
      .set("weight_decay", o.weight_decay.value());
  j.set("schedule", o.schedule).set("clip", o.clip).set("init_from", o.init_from);
  return j;
}

int64_t total_steps(const TrainOptions& o, int64_t steps_of_epoch) {
  int64_t total = o.steps.value_or(INT64_MAX), by_epochs = 0;
  if (!o.epochs) return total;
  if (__builtin_mul_overflow(*o.epochs, steps_of_epoch, &by_epochs))
    fail<ValueError>("train: {} epochs of {} steps are more than can be counted", *o.epochs,
                     steps_of_epoch);
  return std::min(total, by_epochs);
}

std::unique_ptr<Optimizer> make_optimizer(Module& model, const TrainOptions& o) {
  auto groups = no_decay_on_norms_and_biases(model);
  const double lr = o.lr.value(), weight_decay = o.weight_decay.value();
  if (o.optimizer == "sgd")
    return std::make_unique<SGD>(
        std::move(groups), SGD::Options{.lr = lr, .momentum = 0.9, .weight_decay = weight_decay});
  if (o.optimizer == "adam")
    return std::make_unique<Adam>(std::move(groups),
                                  Adam::Options{.lr = lr, .weight_decay = weight_decay});
  if (o.optimizer == "adamw")
    return std::make_unique<AdamW>(std::move(groups),
                                   AdamW::Options{.lr = lr, .weight_decay = weight_decay});
  if (o.optimizer == "rmsprop")
    return std::make_unique<RMSprop>(std::move(groups),
                                     RMSprop::Options{.lr = lr, .weight_decay = weight_decay});
  fail<ValueError>("optimizer: \"{}\" is none of sgd, adam, adamw, rmsprop", o.optimizer);
}

std::unique_ptr<Schedule> make_schedule(Optimizer& optimizer, const TrainOptions& o,
                                        int64_t total) {
  if (o.schedule == "constant") return std::make_unique<ConstantLR>(optimizer);
  if (o.schedule == "cosine")
    return std::make_unique<WarmupCosine>(optimizer, std::min<int64_t>(100, total / 10), total,
                                          0.0);
  if (o.schedule == "one-cycle")
    return std::make_unique<OneCycleLR>(
        optimizer, OneCycleLR::Options{.max_lr = o.lr.value(), .total_steps = total});
  fail<ValueError>("schedule: \"{}\" is none of constant, cosine, one-cycle", o.schedule);
}

namespace {

constexpr const char* kEvaluationDue = "evaluation_due";  // a number of checkpoints

// Nothing if Ctrl-C came before or meanwhile.
std::optional<Evaluation> evaluate(Training& t, int64_t step, bool stopped) {
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

// The random streams of a model that several ranks train. Each rank and each step has a stream of its
// own, which follows from the one that the model began with: that one stays in the checkpoint, whatever
// the number of ranks. One process just goes on drawing.
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

}  // namespace

TrainingResult train(Run& run, Training& t) {
  TrainingResult result;
  std::optional<AnomalyMode> anomaly;
  if (run.options().anomaly) anomaly.emplace();
  catch_interrupts();
  loupe::train(t.model);
  Communicator& ranks = run.ranks();
  DataParallel parallel(t.model, ranks);
  if (t.sync_norm) convert_sync_batch_norm(t.model, ranks);
  if (t.sync_norm && ranks.size() > 1 && !run.options().logdir.empty())
    fail<ValueError>(
        "train: --logdir runs the model once more on the first rank alone, which --sync-norm does "
        "not "
        "allow under mpirun");
  const auto parameters = loupe::parameters(t.model);
  double loss_sum = 0, loss_count = 0, evaluating = 0;
  int64_t samples = 0, shown_steps = 0;
  const Clock::time_point begin = Clock::now();
  std::string shown;
  std::optional<ShadowGuard> shadow;
  if (run.options().shadow > 0) shadow.emplace();
  StepProfile profile(run);
  CheckpointFolder folder(run.file("checkpoints"), run.options().keep);
  TrainingState state{.model = &t.model,
                      .optimizer = &t.optimizer,
                      .schedule = &t.schedule,
                      .loader = &t.loader,
                      .streams = t.streams,
                      .options = run.record()};
  RankStreams streams(t.model, ranks);
  std::optional<Monitor> monitor;
  if (run.board())
    monitor.emplace(*run.board(), t.model,
                    Monitor::Options{.every = run.options().log_every,
                                     .histograms_every = 4 * run.options().log_every});
  const auto stop = [&](const std::string& why) {
    run.console.finish();
    const std::vector<int64_t> kept = folder.steps();
    fail<NumericError>(
        "train: {}{}", why,
        kept.empty() ? "" : fmt::format("; the last checkpoint is of step {}", kept.back()));
  };
  // Ctrl-C: one rank's holds for all, who ask each other at the end of each step.
  bool stopped_together = false;
  const auto stopped = [&] { return ranks.size() == 1 ? interrupted() : stopped_together; };
  // The learning rate of an evaluation that Ctrl-C left to the run that resumes.
  std::optional<double> due_lr;
  const auto checkpoint = [&](std::optional<double> metric) {
    for (const Named& n : named_parameters(t.model))
      if (raw::has_nonfinite(n.tensor))
        stop(fmt::format("{} holds a NaN or an infinity after step {}", n.name, result.steps));
    if (!run.keeps_files()) return;
    streams.restore();
    state.numbers = {{"loss_sum", loss_sum}, {"loss_count", loss_count}};
    if (due_lr) state.numbers[kEvaluationDue] = *due_lr;
    folder.save(state, result.steps, metric);
  };
  const auto report_evaluation = [&](double lr, double speed) {
    const Clock::time_point from = Clock::now();
    parallel.sync_buffers();
    result.evaluation = evaluate(t, result.steps, stopped());
    evaluating += std::chrono::duration<double>(Clock::now() - from).count();
    due_lr.reset();
    if (!result.evaluation) {
      due_lr = lr;
      return checkpoint({});
    }
    const Evaluation& e = *result.evaluation;
    result.loss = loss_sum / loss_count;
    shown = fmt::format("  {} {:.4f}", e.name, e.value);
    Json line("eval");
    line.set("step", result.steps)
        .set("loss", result.loss)
        .set("lr", lr)
        .set("samples_per_second", speed)
        .set(e.name, e.value);
    run.metric(line);
    const std::string rate = std::isfinite(speed) ? fmt::format("  {:.0f} samples/s", speed) : "";
    run.console.say(fmt::format("step {:>6}  loss {:.4f}  {} {:.4f}  lr {:.2e}{}", result.steps,
                                result.loss, e.name, e.value, lr, rate));
    if (run.board()) {
      run.board()->scalar("eval/" + e.name, e.value, result.steps);
      for (const auto& [name, number] : e.more)
        run.board()->scalar("eval/" + name, number, result.steps);
      run.board()->flush();
    }
    loss_sum = loss_count = 0;
    checkpoint(e.larger_is_better ? -e.value : e.value);
  };
  if (run.keeps_files() && !run.options().resume && !folder.steps().empty())
    fail<ValueError>(
        "train: {} holds checkpoints of an earlier run; go on with --resume, or choose another "
        "--out",
        run.options().out);
  if (run.options().resume) {
    if (run.leads()) check_options(folder, run.record());
    state.numbers = {{"loss_sum", 0}, {"loss_count", 0}};
    std::vector<std::string> skipped;
    std::optional<int64_t> step;
    if (run.leads()) step = folder.resume(state, &skipped);
    if (ranks.any(step.has_value())) {
      step = static_cast<int64_t>(ranks.sum({static_cast<double>(step.value_or(0))})[0]);
      if (ranks.size() > 1) share_checkpoint(ranks, state, folder.path_of(*step));
    }
    for (const std::string& s : skipped) run.console.say("passed over: " + s);
    if (step) {
      loss_sum = state.numbers.at("loss_sum");
      loss_count = state.numbers.at("loss_count");
      if (const auto due = state.numbers.find(kEvaluationDue); due != state.numbers.end())
        due_lr = due->second;
      state.options = run.record();
    }
    run.console.say(step ? fmt::format("resumed at step {}", *step)
                         : "no checkpoint yet: starting at step 0");
    if (run.board()) run.board()->restart(step.value_or(0));
  }
  run.begin(t.optimizer.steps());
  result.steps = t.optimizer.steps();
  streams = RankStreams(t.model, ranks);
  if (due_lr) report_evaluation(*due_lr, NAN);
  const CommunicatorStats before = ranks.stats();
  while (result.steps < t.steps && !stopped()) {
    profile.begin_step();
    std::optional<Batch> batch = t.loader.next();
    if (!batch) continue;  // an epoch ended; the next call starts another
    const int64_t step = result.steps + 1;
    ranks.set_step(step);
    streams.begin_step(step);
    if (monitor) monitor->forward(step, [&] { return t.forward(*batch); });
    t.optimizer.zero_grad();
    const Streams of_step = streams_of(t.model);
    Tensor logits;
    double value = NAN, norm = NAN;
    try {
      logits = t.forward(*batch);
      const MeanLoss mean =
          parallel.mean_loss(t.loss(logits, *batch), static_cast<double>(batch->y.numel()));
      value = mean.value;
      if (std::isfinite(value)) {
        mean.share.backward();
        if (monitor) monitor->gradients(step);
        norm = t.clip > 0 ? clip_grad_norm_(parameters, t.clip) : grad_norm(parameters);
      }
    } catch (const NumericError& e) {  // shadow or anomaly mode
      stop(fmt::format("step {}: {}", step, e.what()));
    }
    if (!std::isfinite(norm))
      stop(fmt::format("the {} is {} at step {}: {}. A smaller --lr or --clip may help",
                       std::isfinite(value) ? "gradient" : "loss",
                       std::isfinite(value) ? norm : value, step,
                       ranks.size() == 1 ? cause(t, *batch, of_step)
                                         : "one process with --anomaly finds where"));
    if (run.options().shadow > 0 && step == run.options().shadow) {
      run.console.finish();
      run.console.say(shadow->table());
      shadow.reset();
    }
    const bool logs = run.board() && (step == 1 || step % 10 == 0 || step == t.steps);
    const double lr = t.optimizer.lr();
    t.optimizer.step();
    t.schedule.step();
    if (monitor) monitor->update(step);
    profile.end_step(step == t.steps);
    result.steps = step;
    loss_sum += value;
    ++loss_count;
    samples += ranks.size() == 1 ? batch->size() : t.loader.options().batch_size;
    const Clock::time_point now = Clock::now();
    const double speed =
        static_cast<double>(samples) /
        std::max(std::chrono::duration<double>(now - begin).count() - evaluating, 1e-9);
    ++shown_steps;
    run.console.progress(result.steps, t.steps, speed,
                         fmt::format("loss {:.4f}{}", loss_sum / loss_count, shown));
    if (logs) {
      NoGrad guard;
      run.board()->scalar("train/loss", value, step);
      run.board()->scalar("train/accuracy",
                          mean(eq(argmax(logits, -1), batch->y).to(DType::f64)).item(), step);
      run.board()->scalar("train/learning_rate", lr, step);
      run.board()->scalar("train/gradient_norm", norm, step);
      run.board()->scalar("train/samples_per_second", speed, step);
      run.board()->flush();
    }
    if (ranks.size() > 1) stopped_together = ranks.any(interrupted());
    if (result.steps == t.steps || (t.evaluate_every > 0 && result.steps % t.evaluate_every == 0)) {
      report_evaluation(lr, speed);
    } else if (stopped() || (t.checkpoint_every > 0 && result.steps % t.checkpoint_every == 0)) {
      checkpoint({});
    }
  }
  result.exchanged = ranks.stats() - before;
  if (shown_steps == 0 && !result.evaluation)  // resumed at the end
    result.evaluation = evaluate(t, result.steps, stopped());
  result.interrupted = result.steps < t.steps || !result.evaluation;
  run.console.finish();
  streams.restore();
  parallel.sync_buffers();
  state.numbers.clear();
  result.state_hash = loupe::state_hash(state);
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count() - evaluating;
  return result;
}

void say_ranks(Json& result, const Communicator& ranks, const CommunicatorStats& exchanged) {
  result.set("ranks", ranks.size());
  if (ranks.size() == 1) return;
  result.set("collectives", exchanged.collectives)
      .set("bytes_sent", exchanged.bytes_sent)
      .set("exchange_seconds", exchanged.busy_seconds)
      .set("waited_seconds", exchanged.waited_seconds);
}

int say_interrupted(Run& run, const Training& training, const TrainingResult& result) {
  const std::string next = run.keeps_files() ? "go on with the same command and --resume"
                                             : "nothing was kept: a run with --out can be resumed";
  run.console.say(
      fmt::format("interrupted at step {} of {}; {}", result.steps, training.steps, next));
  return interrupt_code();
}

std::string weights_hash(Module& model) {
  Sha256 hash;
  for (const Named& n : state_dict(model)) {
    hash.update(n.name + to_string(n.tensor.shape()));
    const Tensor dense = raw::row_major(n.tensor);
    dispatch(dense.dtype(), [&]<class T>(Type<T>) {
      hash.update(dense.ptr<T>(), static_cast<size_t>(dense.numel()) * sizeof(T));
    });
  }
  return hash.hex();
}

}  // namespace loupe::cli
