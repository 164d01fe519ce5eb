// Several threads at once, each with its own graph: what each computes is what it computes alone.
// Under ThreadSanitizer this is also the proof that the library shares nothing unguarded.
#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/threads.h>

#include <atomic>
#include <functional>
#include <thread>

using namespace loupe;

namespace {

// Builds, differentiates and drops graphs of many kinds; returns all values and gradients.
std::vector<double> work(uint64_t seed, int rounds) {
  Rng rng(seed);
  std::vector<double> out;
  const auto keep = [&](const Tensor& t) {
    for (const double v : t.to_vector<double>()) out.push_back(v);
  };
  const Tensor image_weight = randn(rng, {4, 3, 3, 3}).requires_grad_(),
               w = randn(rng, {24, 16}).requires_grad_(), b = zeros({24}).requires_grad_(),
               gain = ones({4}).requires_grad_(), shift = zeros({4}).requires_grad_(),
               mean = zeros({4}), var = ones({4});
  const Tensor leaves[] = {image_weight, w, b, gain, shift};
  for (int round = 0; round < rounds; ++round) {
    PathScope path("thread" + std::to_string(seed));
    const Tensor x = randn(rng, {2, 3, 8, 8});
    Tensor h = batch_norm_relu(conv2d(x, image_weight, Tensor(), {.padding = 1}), gain, shift,
                               {.running_mean = mean, .running_var = var});
    h = dropout(max_pool2d(h, 2), rng, 0.2).reshape({8, 16});
    const Tensor qkv = linear(h, w, b).unsqueeze(0);
    const Tensor y =
        layer_norm(self_attention(qkv, 2, {.is_causal = true}), {8}, Tensor(), Tensor());
    const Tensor loss = cross_entropy(y[0], randint(rng, 0, 8, {8}));
    const Tensor second = grad({loss}, {w}, {.create_graph = false, .retain_graph = true})[0];
    loss.backward();
    keep(loss);
    keep(second);
    for (const Tensor& leaf : leaves) {
      keep(leaf.grad());
      no_grad([&] { leaf.add_(leaf.grad(), -0.01); });
      leaf.zero_grad();
    }
    if (round % 4 == 3) {
      try {
        matmul(h, h);
      } catch (const ShapeError& e) {  // Catch's own macros are for one thread
        out.push_back(static_cast<double>(std::string(e.what()).size()));
      }
      ShadowGuard shadow;
      (linear(h.detach(), w, b) * 2.0).sum().backward();
      w.zero_grad(), b.zero_grad();
    }
  }
  keep(mean);
  keep(var);
  return out;
}

// f(0), ..., f(n - 1), each on a thread of its own, started together.
void at_once(int n, const std::function<void(int)>& f) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < n) std::this_thread::yield();
      f(i);
    });
  for (auto& t : threads) t.join();
}

}  // namespace

TEST_CASE("threads that build and run graphs at once, each its own, get what each gets alone",
          "[threads]") {
  constexpr int kThreads = 4, kRounds = 8;
  const int64_t before = memory_stats().live_storages;
  for (const int limit : {1, 2}) {  // without the pool, and all wanting it
    std::vector<std::vector<double>> alone, together(kThreads);
    for (int i = 0; i < kThreads; ++i) alone.push_back(work(static_cast<uint64_t>(i), kRounds));
    at_once(kThreads, [&](int i) {
      set_thread_limit(limit);
      together[static_cast<size_t>(i)] = work(static_cast<uint64_t>(i), kRounds);
    });
    for (size_t i = 0; i < kThreads; ++i) CHECK(together[i] == alone[i]);
  }
  CHECK(memory_stats().live_storages == before);
}

TEST_CASE("a graph built on one thread can be run and dropped on another", "[threads]") {
  Rng rng(1);
  const Tensor w = randn(rng, {5, 5}).requires_grad_();
  std::vector<Tensor> losses(3);
  at_once(3, [&](int i) {
    Rng own(static_cast<uint64_t>(i));
    losses[static_cast<size_t>(i)] =
        square(matmul(randn(own, {2, 5}), w)).sum();  // reads w, which nobody writes
  });
  std::vector<double> want;
  for (int i = 0; i < 3; ++i) {
    Rng own(static_cast<uint64_t>(i));
    w.zero_grad();
    square(matmul(randn(own, {2, 5}), w)).sum().backward();
    for (const double g : w.grad().to_vector<double>()) want.push_back(g);
  }
  std::vector<double> got;
  for (Tensor& loss : losses) {
    w.zero_grad();
    std::thread([&] {
      loss.backward();
      loss = Tensor();
    }).join();
    for (const double g : w.grad().to_vector<double>()) got.push_back(g);
  }
  CHECK(got == want);
}
