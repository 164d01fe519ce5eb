#include <loupe/cli/training.h>

#include <loupe/core/raw.h>

#include <algorithm>

namespace loupe::cli {

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
