// A training that is stopped and goes on as if nothing had happened, and its charts for
// TensorBoard.
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <filesystem>

using namespace loupe;

namespace {

// Everything that decides how the training goes on.
struct Training {
  Rng rng{7};   // the initial weights
  Rng data{8};  // the examples
  Sequential net{Linear(rng, 2, 32), BatchNorm1d(32), ReLU(), Dropout(rng, 0.1),
                 Linear(rng, 32, 2)};
  AdamW optimizer{net, {.lr = 1e-2}};
  LinearLR schedule{optimizer, 1.0, 0.1, 200};

  TrainingState state() {
    return {.model = &net,
            .optimizer = &optimizer,
            .schedule = &schedule,
            .streams = {{"data", &data}}};
  }
  // Points of the plane, and whether they lie in the unit circle.
  double step() {
    const Tensor x = randn(data, {64, 2});
    const Tensor label = lt(square(x).sum({1}), 1).to(DType::i64);
    const Tensor loss = cross_entropy(net(x), label);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    schedule.step();
    return loss.item();
  }
};

}  // namespace

int main() {
  const std::string folder = (std::filesystem::temp_directory_path() / "loupe_resume").string();
  std::filesystem::remove_all(folder);

  // 200 steps in one go, with a chart: tensorboard --logdir FOLDER
  Training whole;
  EventWriter board(folder + "/board");
  for (int i = 1; i <= 200; ++i) {
    const double loss = whole.step();
    if (i % 10 == 0) board.scalar("train/loss", loss, i);
  }

  // 120 steps, and the power fails.
  {
    Training first;
    CheckpointFolder checkpoints(folder + "/checkpoints");
    for (int i = 1; i <= 120; ++i) {
      first.step();
      TrainingState state = first.state();
      if (i % 50 == 0) checkpoints.save(state, i);
    }
  }

  // Another process: the newest whole checkpoint, and on.
  Training second;
  TrainingState state = second.state();
  CheckpointFolder checkpoints(folder + "/checkpoints");
  const int64_t from = checkpoints.resume(state).value_or(0);
  double loss = 0;
  for (int64_t i = from + 1; i <= 200; ++i) loss = second.step();
  const bool same = state_hash(second.state()) == state_hash(whole.state());
  fmt::print("resumed after step {}, ended with loss {:.4f}\n", from, loss);
  fmt::print("weights, running statistics, Adam's moments and random streams: {}\n",
             same ? "the same to the last bit as in one go" : "different");
  std::filesystem::remove_all(folder);
  return same && from == 100 ? 0 : 1;
}
