// LOUPE_CPU=reference: the same bits on every x86-64 machine, from any compiler. The hashes below
// were made on one machine; whoever runs this test holds another against it.
#include <loupe/autograd/ops.h>
#include <loupe/core/cpu.h>
#include <loupe/core/threads.h>
#include <loupe/io/file.h>
#include <loupe/layers/state.h>
#include <loupe/models/gpt.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>
#include <loupe/optim/schedule.h>

#include "catch.h"
#include "core/kernel_tests.h"

using namespace loupe;

namespace {

std::string hash_of(Module& m) {
  Sha256 hash;
  for (const auto& [name, t] : state_dict(m)) {
    const Tensor dense = t.detach().contiguous();
    hash.update(name);
    hash.update(dense.storage()->data(), dense.storage()->bytes());
  }
  return hash.hex();
}

// Some steps with everything a training uses: dropout, clipping, a schedule, weight decay.
template <class M> std::string trained(M& m, const Tensor& x, const Tensor& labels) {
  train(m);
  AdamW optimizer(m, {.lr = 0.01});
  OneCycleLR schedule(optimizer, {.max_lr = 0.01, .total_steps = 4});
  for (int i = 0; i < 4; ++i) {
    const Tensor logits = m(x);
    const Tensor loss = cross_entropy(logits.flatten(0, logits.dim() - 2), labels.flatten(),
                                      {.label_smoothing = 0.1});
    optimizer.zero_grad();
    loss.backward();
    clip_grad_norm_(parameters(m), 0.5);
    optimizer.step();
    schedule.step();
  }
  return hash_of(m);
}

std::string cnn() {
  Rng rng(1);
  SmallCnn m(rng, {.classes = 4, .image_size = 12, .widths = {16, 16, 16, 16}, .hidden = 16});
  const Tensor x = uniform(rng, {8, 1, 12, 12}), labels = randint(rng, 0, 4, {8});
  return trained(m, x, labels);
}

std::string gpt() {
  Rng rng(2);
  Gpt m(rng, {.vocab = 11, .context = 24, .layers = 2, .heads = 2, .width = 32, .dropout = 0.1});
  const Tensor x = randint(rng, 0, 11, {3, 24}), labels = randint(rng, 0, 11, {3, 24});
  return trained(m, x, labels);
}

}  // namespace

TEST_CASE("reference: the same bits on every machine, at any thread limit") {
  const LevelGuard guard;
  set_cpu_level(CpuLevel::reference);
  for (int threads : {1, 2, 3, 8}) {
    const ThreadLimit limit(threads);
    CAPTURE(threads);
    CHECK(cnn() == "c14fe44a75b65719f1eb6ea71bb2a8821425965ae0c2ab51839b4b36a6172904");
    CHECK(gpt() == "e223a5b08fd55b19eb1caebfe44731e5ca5da9b4232573048aceeba26c53fa89");
  }
}

TEST_CASE("reference: another level rounds differently") {
  const LevelGuard guard;
  set_cpu_level(CpuLevel::reference);
  const std::string plain = cnn();
  set_cpu_level(best_cpu_level());
  CHECK(cnn() != plain);
}
