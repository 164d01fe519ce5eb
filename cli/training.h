#pragma once
// What all trainings share: the optimizer and schedule by name, what a command hands to the loop,
// and the loop itself.
#include <loupe/cli/run.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/loader.h>
#include <loupe/layers/state.h>
#include <loupe/optim/schedule.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>

namespace loupe::cli {

/// options.json's members that every training has; the rest is the command's.
Json record_of(const char* command, const TrainOptions& o);

/// Steps of a run: the first of its two limits. ValueError if there are none that fit 64 bits.
int64_t total_steps(const TrainOptions& o, int64_t steps_of_epoch);
std::unique_ptr<Optimizer> make_optimizer(Module& model, const TrainOptions& o);
std::unique_ptr<Schedule> make_schedule(Optimizer& optimizer, const TrainOptions& o,
                                        int64_t total_steps);

struct Evaluation {
  std::string name;  // "test_accuracy", "val_loss"
  double value = 0;
  bool larger_is_better = false;
  std::map<std::string, double> more = {};  // what TensorBoard is told besides
};

struct Training {
  Module& model;
  Optimizer& optimizer;
  Schedule& schedule;
  DataLoader& loader;
  std::function<Tensor(const Batch&)> forward;  // logits (..., classes) of a batch, recorded
  std::function<Tensor(const Tensor& logits, const Batch&)> loss;  // recorded
  std::function<Evaluation(int64_t step)>
      evaluate;                // without recording; the loop sets eval mode and back. May throw
                               // Interrupted
  int64_t steps = 0;           // in all
  int64_t evaluate_every = 0;  // steps; 0: never before the end
  int64_t checkpoint_every = 0;
  double clip = 0;
  std::map<std::string, Rng*> streams = {};  // the command's own: part of a checkpoint
  bool sync_norm = false;                    // BatchNorm over all ranks
};

struct TrainingResult {
  int64_t steps = 0;
  double loss = 0;                       // mean over the last steps
  double seconds = 0;                    // in the loop, without evaluation
  std::optional<Evaluation> evaluation;  // at the end; none where Ctrl-C came before or meanwhile
  bool interrupted = false;
  CommunicatorStats exchanged;  // by this rank, in the loop
  std::string state_hash;       // of model, optimizer, schedule, loader and streams
};

/// Trains until training.steps or Ctrl-C, which keeps a checkpoint and leaves the evaluation to the
/// run that resumes. A loss or gradient that is not finite ends it before the
/// weights are touched: NumericError with the step, and the op, layer and source line where the NaN
/// or Inf first appeared. With an output folder, checkpoints are written as training goes; with
/// resume it starts from the newest whole one, and ValueError without resume if there are any: they
/// are not overwritten.
///
/// Under mpirun every rank calls it, with a loader of its own share; losses, gradients and
/// evaluations are those of all ranks. Any number of ranks resumes a checkpoint. A random stream of
/// the model (of dropout) is another one for each rank and step. CommunicationError where a rank is
/// gone.
TrainingResult train(Run& run, Training& training);

/// Ranks, and with several what the first one exchanged: members of a result.
void say_ranks(Json& result, const Communicator& ranks, const CommunicatorStats& exchanged);

/// The last lines of a training that Ctrl-C ended: where, and how to go on. Its exit code.
int say_interrupted(Run& run, const Training& training, const TrainingResult& result);

/// SHA-256 of names, shapes and values of a model's state: equal hashes mean equal bits.
std::string weights_hash(Module& model);

}  // namespace loupe::cli
