#pragma once
// What a model does while it trains, for TensorBoard: any training loop calls three functions
// around its step.
//
//   EventWriter board("runs/a");
//   Monitor monitor(board, model, {.every = 50});
//   for (int64_t step = 1; step <= steps; ++step) {
//     const Batch batch = ...;
//     monitor.forward(step, [&] { return model(batch.x); });  // one more pass, on the step's batch
//     const Tensor loss = cross_entropy(model(batch.x), batch.y);
//     optimizer.zero_grad();
//     loss.backward();
//     monitor.gradients(step);                                // before clipping
//     optimizer.step();
//     monitor.update(step);
//     if (monitor.watches(step)) board.scalar("train/loss", loss.item(), step);
//   }
//
// The training is the same to the bit with and without it.
#include <loupe/io/tensorboard.h>
#include <loupe/layers/state.h>

#include <functional>

namespace loupe {

/// A layer is a module without children; LAYER is its name in the model ("model" for a model that
/// is one layer), so that TensorBoard shows one chart a layer under each of
///   activation_mean, activation_std
///                      over all elements of its output
///   dead_units         of a layer before a ReLU, GELU or SiLU: the share of units (channels,
///                      features) whose activation stays within 1e-6 of 0 through the whole batch,
///                      so that they pass no signal and no gradient
///   gradient_norm      of all its parameters together
///   update_ratio       |new - old| / |old| of all its parameters together
///   gamma_mean, gamma_std, beta_mean, beta_std
///                      of a norm's weight and bias
///   running_mean_gap   of a BatchNorm: root mean square over channels of
///                      (batch mean - running mean) / sqrt(running var + eps)
///   running_var_gap    the same of ln((batch var + eps) / (running var + eps)), with the unbiased
///                      variance of the batch
/// and the histograms activations/LAYER, gradients/PARAMETER and weights/PARAMETER. The graph is
/// written once.
class Monitor {
 public:
  struct Options {
    int64_t every = 50;  // steps between scalars; the first step is watched too
    // Histograms are drawn at the first step and where both numbers divide the step; 0: none.
    int64_t histograms_every = 200;
  };
  /// The model stays where it is and outlives the monitor, as does the board. ValueError for
  /// negative numbers or every = 0.
  Monitor(EventWriter& board, Module& model, Options options);
  Monitor(EventWriter& board, Module& model) : Monitor(board, model, Options{}) {}

  /// Whether the three functions below do something at this step, counted from 1.
  bool watches(int64_t step) const { return step == 1 || step % options_.every == 0; }
  bool draws_histograms(int64_t step) const {
    return options_.histograms_every > 0 && (step == 1 || step % options_.histograms_every == 0) &&
           watches(step);
  }

  /// Runs the model once more, in the mode it is in, on the batch the step is about to train on,
  /// with hooks on every layer; buffers and random streams are then put back. `run` returns the
  /// output, whose recorded graph is drawn and searched for activations: call it with grad mode on.
  /// Statistics of a BatchNorm's batch do not see its mask.
  void forward(int64_t step, const std::function<Tensor()>& run);
  /// Between backward() and the optimizer's step.
  void gradients(int64_t step);
  /// After the optimizer's step. Hands everything to the system.
  void update(int64_t step);

 private:
  void layer_output(int64_t step, Module& m, const std::string& layer, const Tensor& y);
  void running_gap(int64_t step, const Module& bn, const std::string& layer, const Tensor& x,
                   const Tensor& running_mean, const Tensor& running_var);
  void dead_units(int64_t step, const Tensor& output,
                  const std::map<const GradMeta*, Module*>& made_by);

  EventWriter& board_;
  Module& model_;
  Options options_;
  StateDict before_;  // the parameters before the optimizer's step
  bool drawn_ = false;
};

}  // namespace loupe
