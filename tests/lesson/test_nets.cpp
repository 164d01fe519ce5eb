// The lesson's own pieces: groups inside a norm are batches to it, padding can be left out, and the
// fluctuation of batch statistics is what it is for independent numbers.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/fluctuation.h>
#include <loupe/lesson/lab.h>
#include <loupe/optim/optimizer.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

namespace {
double largest(const Tensor& t) { return max(abs(t)).item(); }
}  // namespace

TEST_CASE("groups in the norms equal gradients accumulated over small batches", "[nets]") {
  for (const char* net : {"F1", "D4"}) {
    CAPTURE(net);
    Rng a(3), b(3), data(4);
    Classifier grouped(a, net, batch_norm(), 1, 4), small(b, net, batch_norm());
    const Tensor x = randn(data, {16, 1, 28, 28}), y = randint(data, 0, 10, {16});
    cross_entropy(grouped(x), y).backward();
    for (int64_t i = 0; i < 16; i += 4)
      (cross_entropy(small(x.slice(0, i, i + 4)), y.slice(0, i, i + 4)) * 0.25).backward();
    const auto p = parameters(grouped), q = parameters(small);
    REQUIRE(p.size() == q.size());
    for (size_t i = 0; i < p.size(); ++i)
      CHECK(largest(p[i].grad() - q[i].grad()) <= 2e-5 * (largest(q[i].grad()) + 1e-3));
    const auto r = named_buffers(grouped), s = named_buffers(small);
    for (size_t i = 0; i < r.size(); ++i) {
      INFO(r[i].name);
      CHECK(largest(r[i].tensor.to(DType::f64) - s[i].tensor.to(DType::f64)) <= 1e-5);
    }
    // In eval mode there are no groups: the batch is one.
    eval(grouped), eval(small);
    CHECK(largest(grouped(x) - small(x)) <= 1e-4);
  }
}

TEST_CASE("masked BatchNorm does not see padding, plain BatchNorm does", "[nets]") {
  Rng rng(5);
  const Tensor x = randn(rng, {2, 6, 8}), keep = ones({2, 6}, DType::boolean);
  const Tensor longer = cat({x, 9 * ones({2, 4, 8})}, 1),
               kept = cat({keep, zeros({2, 4}, DType::boolean)}, 1);
  for (const Norm& norm : {masked_batch_norm(), batch_norm()}) {
    NormLayer layer(norm, 8, Place::tokens);
    const double change = largest(layer(longer, kept).slice(1, 0, 6) - layer(x, keep));
    if (norm.masked) CHECK(change <= 1e-5);
    else CHECK(change > 0.1);
  }
}

TEST_CASE("the fluctuation of independent numbers", "[nets]") {
  Rng rng(6);
  BatchNorm1d bn(40);
  Record all, kept;
  {
    Fluctuation watch(bn, Fluctuation::Of::all);
    for (int i = 0; i < 200; ++i) bn(3 * randn(rng, {100, 40}) + 7.0);
    watch.write(all, "_x");
    CHECK(bn.has_forward_hooks());
  }
  CHECK_FALSE(bn.has_forward_hooks());
  CHECK(all["values_x"] == 100);
  CHECK(all["fluctuation_mean_x"] == Approx(0.1).epsilon(0.03));  // 1 / sqrt(n)
  CHECK(all["fluctuation_variance_x"] ==
        Approx(std::sqrt(2.0 / 99)).epsilon(0.03));  // of a chi-squared
  {
    Fluctuation watch(bn, Fluctuation::Of::all);
    watch.keep = cat({ones({25}, DType::boolean), zeros({75}, DType::boolean)}, 0);
    for (int i = 0; i < 200; ++i) bn(randn(rng, {100, 40}));
    watch.write(kept, "");
  }
  CHECK(kept["values"] == 25);
  CHECK(kept["fluctuation_mean"] == Approx(0.2).epsilon(0.03));
  Fluctuation none(bn, Fluctuation::Of::convolutions);
  Record empty;
  none.write(empty, "");
  CHECK(empty.metrics.empty());
}

TEST_CASE("the generous rival: for each seed the best run that lives", "[nets]") {
  const auto run = [](double loss, bool dead) {
    Record r;
    r.metrics["valid_loss"] = loss;
    r.dead = dead;
    return r;
  };
  const Measured a{"a", kNone, {run(1, false), run(0.1, true), run(NAN, true)}};
  const Measured b{"b", kNone, {run(2, false), run(5, false), run(NAN, true)}};
  const Sample best{.arms = {&a, &b}, .metric = "valid_loss", .pick = Sample::Pick::best_valid};
  const std::vector<Outcome> picked = best.outcomes(3);
  REQUIRE(picked.size() == 3);
  CHECK(picked[0].value == 1);
  CHECK(picked[1].value == 5);
  CHECK(picked[2].dead);
}

TEST_CASE("branches that start at 0 leave the skip alone, with and without Fixup", "[nets]") {
  for (const Branches branches : {Branches::skip_init, Branches::fixup}) {
    Rng rng(21);
    TransformerOptions o{.layers = 3, .branches = branches};
    Transformer net(rng, o, no_norm());
    const Tensor x = randn(rng, {2, 5, 32});
    CHECK(largest(net.from_embeddings(x, Tensor()) - net.head(x)) <= 1e-6);
    // Fixup: the first weights are smaller by 1/sqrt(branches), the last are 0.
    Rng again(21);
    o.branches = Branches::plain;
    Transformer plain(again, o, no_norm());
    const double factor = branches == Branches::fixup ? 1 / std::sqrt(6.0) : 1;
    CHECK(largest(net.blocks[2].fc1.weight - factor * plain.blocks[2].fc1.weight) <= 1e-6);
    CHECK((largest(net.blocks[2].fc2.weight) == 0) == (branches == Branches::fixup));
  }
}

TEST_CASE("where a Transformer's norms stand", "[nets]") {
  const auto block = [](NormAt at, bool qk = false) {
    Rng rng(22);
    return TransformerBlock(rng, {.norm_at = at, .qk_norm = qk}, layer_norm());
  };
  Rng rng(23);
  const Tensor x = randn(rng, {2, 5, 32});
  NoGrad guard;
  // post: what leaves the block is normalised. peri: a branch's size is the norm's.
  TransformerBlock post = block(NormAt::post), peri = block(NormAt::peri), pre = block(NormAt::pre);
  CHECK(largest(mean(post(x, Tensor()), {2})) <= 1e-5);
  CHECK(largest(mean(pre(x, Tensor()), {2})) > 0.01);
  for (TransformerBlock* b : {&peri, &pre}) {
    const Tensor before = (*b)(x, Tensor());
    for (const Linear* l : {&b->proj, &b->fc2}) l->weight.mul_(10), l->bias.mul_(10);
    const double change = largest((*b)(x, Tensor()) - before);
    if (b == &peri) CHECK(change <= 1e-2);
    else CHECK(change > 1);
  }
  // QK-norm: the size of queries and keys does not matter, and their logits stay small.
  TransformerBlock with = block(NormAt::pre, true), without = block(NormAt::pre);
  for (TransformerBlock* b : {&with, &without}) {
    const Tensor before = b->attend(x, Tensor());
    b->qkv.weight.slice(0, 0, 64).mul_(30), b->qkv.bias.slice(0, 0, 64).mul_(30);
    b->watch_logits = true;
    const double change = largest(b->attend(x, Tensor()) - before);
    if (b == &with) CHECK(change <= 1e-3);
    else CHECK(change > 0.1);
  }
  CHECK(with.largest_logit <= std::sqrt(8.0) + 1e-4);  // of unit features, eight a head
  CHECK(without.largest_logit > 100);
}

TEST_CASE("another norm before the feed-forward part; a modern block; standardised weights",
          "[nets]") {
  Rng rng(24);
  TransformerOptions o;
  o.feed_norm = batch_norm();
  TransformerBlock block(rng, o, layer_norm());
  CHECK(block.norm1.get()->type_name() == "LayerNorm");
  CHECK(block.norm2.get()->type_name() == "BatchNorm1d");
  const Tensor x = randn(rng, {4, 1, 28, 28});
  Classifier modern(rng, "X2", position_norm());
  CHECK(modern.blocks.size() == 2);
  CHECK(modern(x).shape() == Shape{4, 10});
  // LayerNorm of each position: another image changes nothing.
  CHECK(largest(modern(x).slice(0, 0, 1) - modern(x.slice(0, 0, 1))) <= 1e-5);
  Classifier standard(rng, "F1", standardized_group_norm());
  CHECK(standard.convs.size() == 0);
  REQUIRE(standard.standardized.size() == 3);
  const Tensor before = standard(x);
  no_grad([&] { standard.standardized[1].weight.mul_(5); });
  CHECK(largest(standard(x) - before) <= 1e-3);
}

TEST_CASE("a part of the text, no warm-up and the new options are part of a run's identity",
          "[nets]") {
  TransformerSpec plain;
  plain.task = "bits";
  TransformerSpec other = plain;
  other.of_text = 0.1, other.warm_up = false, other.net.qk_norm = true;
  other.net.norm_at = NormAt::peri, other.net.branches = Branches::fixup;
  const Config a = plain.config(), b = other.config();
  for (const char* key : {"of text", "qk norm", "norm at", "branches"}) {
    CHECK_FALSE(a.contains(key));
    CHECK(b.contains(key));
  }
  CHECK(a.at("schedule") != b.at("schedule"));
}

TEST_CASE("a text must be long enough for its twentieths", "[nets]") {
  const std::string path = "/tmp/loupe_short_text_" + std::to_string(::getpid());
  std::FILE* f = std::fopen(path.c_str(), "w");
  for (int i = 0; i < 1000; ++i) std::fputs("abc ", f);
  std::fclose(f);
  CHECK_THROWS_WITH(Data::load("", {path}, 64, 64), Catch::Matchers::Contains("4000 characters"));
  std::remove(path.c_str());
}

namespace {

void write_idx(const std::filesystem::path& path, const std::vector<int>& sizes) {
  std::ofstream out(path, std::ios::binary);
  int64_t bytes = 1;
  for (int size : sizes) bytes *= size;
  out << '\0' << '\0' << '\x08' << static_cast<char>(sizes.size());
  for (int size : sizes)
    for (int shift : {24, 16, 8, 0}) out << static_cast<char>(size >> shift & 255);
  for (int64_t i = 0; i < bytes; ++i) out << static_cast<char>(i % 10);
}

}  // namespace

TEST_CASE("images of one's own are called by their folder", "[nets]") {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("loupe_own_images_{}", ::getpid());
  std::filesystem::create_directories(folder);
  write_idx(folder / "train-images-idx3-ubyte", {1100, 28, 28});
  write_idx(folder / "train-labels-idx1-ubyte", {1100});
  write_idx(folder / "t10k-images-idx3-ubyte", {20, 28, 28});
  write_idx(folder / "t10k-labels-idx1-ubyte", {20});
  const auto data = Data::load(folder.string(), {}, 64, 20);
  CHECK(data->images_title == "the images of " + folder.string());
  CHECK(Data{}.images_title == "Fashion-MNIST");
  std::filesystem::remove_all(folder);
}
