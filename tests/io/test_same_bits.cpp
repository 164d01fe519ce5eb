// A run is decided by its seed, data and options: weights, buffers, the optimizer's state and every
// random stream after some tens of steps have the same bits at any number of threads, run after
// run, with and without prefetching and TensorBoard.
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/tensorboard.h>
#include <loupe/models/gpt.h>
#include <loupe/models/small_cnn.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>

#include "helpers.h"

using namespace loupe;

namespace {

struct How {
  int threads = 1, prefetch = 0;
  bool board = false, evaluates = false;
  DType dtype = DType::f32;
};

Tensor of_type(const Tensor& x, DType dtype) { return is_floating(x.dtype()) ? x.to(dtype) : x; }

// Trains and hashes everything that decides how the run would go on.
template <class Model, class Loss>
std::string train_hash(Model& model, Rng& rng, std::shared_ptr<const Dataset> data, int steps,
                       const How& how, Loss loss_of) {
  TempDir dir;
  std::optional<EventWriter> board;
  to(model, how.dtype);
  if (how.board) board.emplace(dir / "board");
  AdamW optimizer(no_decay_on_norms_and_biases(model), {.lr = 2e-3});
  OneCycleLR schedule(optimizer, {.max_lr = 2e-3, .total_steps = steps});
  DataLoader loader(std::move(data), rng, {.batch_size = 16, .prefetch = how.prefetch});
  TrainingState state{.model = &model,
                      .optimizer = &optimizer,
                      .schedule = &schedule,
                      .loader = &loader,
                      .streams = {{"main", &rng}},
                      .options = dir.path};
  for (int step = 0; step < steps;) {
    const std::optional<Batch> batch = loader.next();
    if (!batch) continue;
    optimizer.zero_grad();
    const Tensor loss = loss_of(*batch);
    loss.backward();
    if (board) {
      board->scalar("loss", loss.item(), step);
      for (const Named& n : named_parameters(model))
        board->histogram(n.name, n.tensor.grad(), step);
    }
    clip_grad_norm_(parameters(model), 1);
    optimizer.step();
    schedule.step();
    ++step;
    if (how.evaluates && step % 10 == 0) {
      NoGrad guard;
      eval(model);
      loss_of(*batch);
      train(model);
    }
  }
  return state_hash(state);
}

std::string cnn(uint64_t seed, const How& how) {
  const ThreadLimit limit(how.threads);
  Rng rng(seed), pixels(7);
  ImageSet set;
  set.images = uniform(pixels, {80, 1, 28, 28}, 0, 256).to(DType::u8);
  set.labels = randint(pixels, 0, 10, {80});
  set.mean = {0.5}, set.std = {0.3};
  SmallCnn model(rng, {});
  return train_hash(
      model, rng, std::make_shared<const ImageDataset>(set), how.dtype == DType::f64 ? 3 : 20, how,
      [&](const Batch& b) { return cross_entropy(model(of_type(b.x, how.dtype)), b.y); });
}

std::string gpt(uint64_t seed, const How& how) {
  const ThreadLimit limit(how.threads);
  Rng rng(seed), letters(8);
  std::vector<int32_t> text;
  for (int i = 0; i < 2000; ++i) text.push_back(static_cast<int32_t>(letters.integer(0, 30)));
  Gpt model(rng,
            {.vocab = 30, .context = 64, .layers = 2, .heads = 4, .width = 64, .dropout = 0.1});
  return train_hash(
      model, rng, std::make_shared<const TextDataset>(text, TextDataset::Options{.context = 64}),
      30, how, [&](const Batch& b) {
        const Tensor logits = model(b.x);
        return cross_entropy(logits.reshape({-1, logits.size(-1)}), b.y.reshape({-1}));
      });
}

}  // namespace

// Of both models in f32, and in f64, whose products are OpenBLAS'.
TEST_CASE("hashes, for another process", "[.hashes]") {
  std::ofstream out(std::getenv("LOUPE_HASHES"));
  for (const DType dtype : {DType::f32, DType::f64}) {
    const How how{.threads = 2, .dtype = dtype};
    out << cnn(3, how) << "\n" << gpt(3, how) << "\n";
  }
}

TEST_CASE("the pthread and the openmp build of OpenBLAS give the same bits, in f32 and in f64",
          "[heavy]") {
  const std::string folder = "/usr/lib/x86_64-linux-gnu/openblas-";
  const auto is_here = [&](const char* build) {
    return std::filesystem::exists(folder + build + "/libopenblas.so.0");
  };
  if (!is_here("pthread") || !is_here("openmp")) {
    WARN("libopenblas0-pthread and libopenblas0-openmp are not both here");
    return;
  }
  TempDir dir;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (const std::string build : {"pthread", "openmp"}) {
    const std::string line = "LD_LIBRARY_PATH=" + folder + build + " LOUPE_HASHES=" + dir / build +
                             " " + self + " '[.hashes]' >/dev/null";
    REQUIRE(std::system(line.c_str()) == 0);
  }
  const std::string hashes = read_file(dir / "pthread");
  CHECK(hashes.size() == 4 * 65);
  CHECK(hashes == read_file(dir / "openmp"));
}

TEST_CASE(
    "both models end in the same bits at 1, 2, 3 and 8 threads, again, with prefetching, "
    "TensorBoard and evaluation between",
    "[heavy]") {
  using Make = std::string (*)(uint64_t, const How&);
  for (const auto& [name, make] : {std::pair<const char*, Make>{"cnn", cnn}, {"gpt", gpt}}) {
    const std::string first = make(3, {});
    for (const How& how : {How{1, 0}, How{2, 2}, How{3, 1, true}, How{8, 3, false, true}}) {
      CAPTURE(name, how.threads, how.prefetch, how.board, how.evaluates);
      CHECK(make(3, how) == first);
    }
    CHECK(make(4, {}) != first);
  }
}
