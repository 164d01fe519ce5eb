#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>

#include <cmath>

#include "catch.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

const GptConfig kTiny{.vocab = 11, .context = 12, .layers = 2, .heads = 2, .width = 16};

GptConfig tiny(NormKind norm, bool pre_norm = true) {
  GptConfig c = kTiny;
  c.norm = norm;
  c.pre_norm = pre_norm;
  return c;
}

double largest(const Tensor& t) { return max(abs(t)).item(); }

// Loss after `steps` of Adam on one batch.
template <class M>
double overfit(M& m, const Tensor& x, const Tensor& labels, int steps, double lr) {
  train(m);
  Adam optimizer(m, {.lr = lr});
  double last = 0;
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    const Tensor logits = m(x),
                 loss = cross_entropy(logits.flatten(0, logits.dim() - 2), labels.flatten());
    loss.backward();
    optimizer.step();
    last = loss.item();
  }
  return last;
}

void every_parameter_got_a_gradient(Module& m) {
  for (const auto& [name, p] : named_parameters(m)) {
    INFO(name);
    REQUIRE(p.grad().defined());
    REQUIRE(largest(p.grad()) > 0);
  }
}

}  // namespace

TEST_CASE(
    "SmallCnn learns 16 images by heart with every norm, and every parameter gets a gradient") {
  for (const NormKind norm : {NormKind::batch, NormKind::layer, NormKind::group, NormKind::none}) {
    INFO(name(norm));
    Rng rng(5);
    SmallCnn m(rng, {.classes = 4,
                     .image_size = 16,
                     .widths = {8, 8, 16, 16},
                     .hidden = 16,
                     .norm = norm,
                     .dropouts = {0, 0, 0}});
    const Tensor x = uniform(rng, {16, 1, 16, 16}), labels = randint(rng, 0, 4, {16});
    cross_entropy(m(x), labels).backward();
    every_parameter_got_a_gradient(m);
    REQUIRE(overfit(m, x, labels, 100, 5e-3) < 0.1);
  }
}

TEST_CASE(
    "SmallCnn takes the norm away with the biases it makes needless, and drops only in training") {
  Rng rng(5);
  SmallCnn plain(rng, {.norm = NormKind::none}), normed(rng);
  const auto has = [](Module& m, const std::string& name) {
    for (const Named& n : named_parameters(m))
      if (n.name == name) return true;
    return false;
  };
  REQUIRE(has(plain, "conv1.bias"));
  REQUIRE(!has(plain, "norm1.weight"));
  REQUIRE(!has(normed, "conv1.bias"));
  REQUIRE(!has(normed, "fc1.bias"));
  REQUIRE(has(normed, "fc2.bias"));
  REQUIRE(named_streams(normed).size() == 3);
  const Tensor x = uniform(rng, {4, 1, 28, 28});
  REQUIRE(!equal(plain(x), plain(x)));
  eval(plain);
  REQUIRE(equal(plain(x), plain(x)));
}

TEST_CASE("ResNetCifar learns 8 images by heart; depth 32 has 15 blocks") {
  Rng rng(6);
  ResNetCifar m(rng, {.depth = 8, .width = 4, .classes = 4});
  const Tensor x = randn(rng, {8, 3, 16, 16}), labels = randint(rng, 0, 4, {8});
  cross_entropy(m(x), labels).backward();
  every_parameter_got_a_gradient(m);
  REQUIRE(overfit(m, x, labels, 60, 1e-2) < 0.1);
  // He et al., table 6: 0.27 million parameters for 20 layers, 0.46 for 32.
  ResNetCifar deep(rng, {.depth = 32});
  REQUIRE(deep.layer1.size() == 5);
  REQUIRE(std::abs(static_cast<double>(parameter_count(deep)) / 0.46e6 - 1) < 0.02);
}

TEST_CASE("Gpt learns a sequence by heart with every norm, before and after the sums") {
  for (const NormKind norm : {NormKind::layer, NormKind::batch, NormKind::rms, NormKind::none})
    for (const bool pre_norm : {true, false}) {
      INFO(name(norm) << (pre_norm ? " pre" : " post"));
      Rng rng(7);
      Gpt m(rng, tiny(norm, pre_norm));
      const Tensor ids = randint(rng, 0, 11, {2, 13});
      const Tensor x = ids.slice(1, 0, 12).contiguous(), next = ids.slice(1, 1, 13).contiguous();
      cross_entropy(m(x).flatten(0, 1), next.flatten()).backward();
      for (const auto& [name, p] : named_parameters(m)) REQUIRE(p.grad().defined());
      REQUIRE(overfit(m, x, next, 150, 1e-2) < 0.2);
    }
}

TEST_CASE("Gpt with norms behind the branches, and of queries and keys") {
  for (const NormKind norm : {NormKind::layer, NormKind::batch, NormKind::rms}) {
    GptConfig c = tiny(norm);
    c.peri_norm = c.qk_norm = true;
    c.init_std = 0.3, c.norm_eps = 1e-9;
    INFO(name(norm));
    Rng rng(7);
    Gpt m(rng, c);
    REQUIRE(static_cast<double>(parameter_count(m)) == parameter_count(c));
    const StateDict names = named_parameters(m);
    for (const char* part : {"attn.q_norm", "attn.k_norm", "post_ln_1", "post_ln_2"})
      REQUIRE(std::ranges::count(names, fmt::format("transformer.h.1.{}.weight", part),
                                 &Named::name) == 1);
    const Tensor ids = randint(rng, 0, 11, {2, 12}), next = randint(rng, 0, 11, {2, 12});
    cross_entropy(m(ids).flatten(0, 1), next.flatten()).backward();
    for (const auto& [name, p] : names) REQUIRE(p.grad().defined());
    NoGrad guard;
    eval(m);
    KvCache cache = m.new_cache(2);
    const Tensor whole = m(ids),
                 parts =
                     cat(Tensors{m(ids.slice(1, 0, 5), &cache), m(ids.slice(1, 5, 12), &cache)}, 1);
    REQUIRE(largest(parts - whole) <= 1e-5 * largest(whole));
    // A branch's size, and queries' and keys', are the norms' alone.
    if (norm == NormKind::batch) continue;  // running statistics know the old size
    for (GptBlock& b : m.transformer.h) {
      b.mlp.c_proj.weight.mul_(50), b.mlp.c_proj.bias.mul_(50);
      b.attn.c_attn.weight.slice(1, 0, 32).mul_(50), b.attn.c_attn.bias.slice(0, 0, 32).mul_(50);
    }
    REQUIRE(largest(m(ids) - whole) <= 0.02 * largest(whole));  // but for epsilon
  }
}

TEST_CASE("the KV cache changes no logits: any parts, any norm, f32 and f64") {
  for (const NormKind norm : {NormKind::layer, NormKind::batch, NormKind::rms, NormKind::none})
    for (const bool pre_norm : {true, false})
      for (const DType dtype : {DType::f32, DType::f64}) {
        INFO(name(norm) << (pre_norm ? " pre " : " post ") << name(dtype));
        Rng rng(8);
        Gpt m(rng, tiny(norm, pre_norm));
        to(m, dtype);
        const Tensor ids = randint(rng, 0, 11, {3, 12});
        {
          NoGrad guard;
          m(ids);  // running statistics that are not those of a fresh start
          eval(m);
          const Tensor whole = m(ids);
          for (const std::vector<int64_t>& parts :
               {std::vector<int64_t>{12}, {1, 1, 1, 9}, {5, 1, 6}}) {
            KvCache cache = m.new_cache(3);
            Tensors got;
            int64_t at = 0;
            for (const int64_t n : parts) {
              got.push_back(m(ids.slice(1, at, at + n), &cache));
              at += n;
            }
            REQUIRE(cache.length == 12);
            REQUIRE(largest(cat(got, 1) - whole) <=
                    (dtype == DType::f32 ? 1e-5 : 1e-13) * largest(whole));
          }
        }
      }
}

TEST_CASE(
    "generation: greedy is repeatable, top_k 1 is greedy, a temperature spreads, and it goes on "
    "past the context") {
  Rng rng(9);
  Gpt m(rng, kTiny);
  for (const Tensor& p : parameters(m)) no_grad([&] { p.mul_(8); });  // logits that differ
  const std::vector<int64_t> prompt{1, 2, 3};
  Rng a(1), b(2);
  const auto greedy = m.generate(prompt, a, {.length = 30, .temperature = 0});
  REQUIRE(greedy.size() == 33);
  REQUIRE(std::vector<int64_t>(greedy.begin(), greedy.begin() + 3) == prompt);
  REQUIRE(greedy == m.generate(prompt, b, {.length = 30, .temperature = 0}));
  REQUIRE(greedy == m.generate(prompt, b, {.length = 30, .temperature = 1, .top_k = 1}));
  Rng c(3), d(3), e(4);
  const auto drawn = m.generate(prompt, c, {.length = 30, .temperature = 5});
  REQUIRE(drawn == m.generate(prompt, d, {.length = 30, .temperature = 5}));
  REQUIRE(drawn != m.generate(prompt, e, {.length = 30, .temperature = 5}));
  for (const int64_t token : drawn) REQUIRE((token >= 0 && token < 11));
  REQUIRE(m.is_training());
  Module& frozen = *named_modules(m).back().second;
  frozen.set_training(false);
  m.generate(prompt, a, {.length = 1});
  REQUIRE(m.is_training());
  REQUIRE(!frozen.is_training());
  REQUIRE_THROWS_AS(m.generate({}, a), ValueError);
  REQUIRE_THROWS_AS(m.generate({1}, a, {.temperature = -1}), ValueError);
}

TEST_CASE("sampling follows the softmax of logits over temperature, among the k likeliest") {
  Rng rng(10);
  Gpt m(rng, kTiny);
  for (const Tensor& p : parameters(m)) no_grad([&] { p.mul_(4); });
  eval(m);
  const Tensor logits = no_grad([&] { return m(from_data<int64_t>({4}).unsqueeze(0)); }).flatten();
  const TopK best = topk(logits, 3);
  const auto p = softmax(best.values / 0.5).to_vector<double>();
  const auto which = best.indices.to_vector<int64_t>();
  std::vector<int> seen(11);
  constexpr int kDraws = 500;
  for (int i = 0; i < kDraws; ++i)
    ++seen[static_cast<size_t>(
        m.generate({4}, rng, {.length = 1, .temperature = 0.5, .top_k = 3})[1])];
  int inside = 0;
  for (size_t i = 0; i < 3; ++i) {
    const double n = seen[static_cast<size_t>(which[i])],
                 sd = std::sqrt(kDraws * p[i] * (1 - p[i]));
    REQUIRE(std::abs(n - kDraws * p[i]) < 4 * sd + 1);
    inside += seen[static_cast<size_t>(which[i])];
  }
  REQUIRE(inside == kDraws);
}

TEST_CASE("the head is tied to the embedding, stays so through conversion, and counts once") {
  Rng rng(11);
  Gpt tied(rng, kTiny);
  GptConfig c = kTiny;
  c.tied = false;
  Gpt untied(rng, c);
  REQUIRE(parameter_count(untied) == parameter_count(tied) + 11 * 16);
  REQUIRE(state_dict(tied).size() == state_dict(untied).size());
  to(tied, DType::f64);
  REQUIRE(tied.lm_head.weight.is_same(tied.transformer.wte.weight));
  // Scaled residual projections: 0.02 / sqrt(2 layers).
  Gpt wide(rng, {.vocab = 7, .layers = 2, .heads = 2, .width = 128});
  const auto spread = [](const Tensor& w) { return std::sqrt(square(w).mean().item()); };
  REQUIRE(std::abs(spread(wide.transformer.h[0].attn.c_attn.weight) - 0.02) < 1e-3);
  REQUIRE(std::abs(spread(wide.transformer.h[1].mlp.c_proj.weight) - 0.01) < 5e-4);
}

TEST_CASE(
    "a GPT-2 checkpoint loads with old buffers, without the prefix and without the tied head") {
  Rng rng(14);
  Gpt from(rng, kTiny), to_bare(rng, kTiny), to_full(rng, kTiny);
  StateDict full = state_dict(from), bare;
  for (const auto& [name, t] : full)
    if (name != "lm_head.weight")
      bare.push_back({name.substr(std::string("transformer.").size()), t});
  bare.push_back({"h.0.attn.bias", ones({1, 1, 12, 12}, DType::boolean)});
  bare.push_back({"h.1.attn.masked_bias", scalar(-1e4)});
  load_gpt2(to_bare, bare);
  load_gpt2(to_full, full);
  const Tensor ids = randint(rng, 0, 11, {1, 12});
  REQUIRE(equal(from(ids), to_bare(ids)));
  REQUIRE(equal(from(ids), to_full(ids)));
  bare.erase(bare.begin());
  REQUIRE_THROWS_WITH(load_gpt2(to_bare, bare), Contains("transformer.wte.weight"));
}

TEST_CASE("summary lists every layer with shapes, parameters and FLOPs") {
  Rng rng(12);
  SmallCnn cnn(rng);
  const std::string text = summary(cnn, zeros({1, 1, 28, 28}));
  REQUIRE_THAT(text, Contains("conv4") && Contains("(1, 128, 7, 7)") && Contains("BatchNorm1d") &&
                         Contains("147,456"));
  // 3x3 convolutions at 28, 14, 14 and 7 positions a side.
  REQUIRE_THAT(text, Contains("452k") && Contains("7.23M") && Contains("14.5M") &&
                         Contains("278,890 parameters"));
  Gpt gpt(rng);
  REQUIRE_THAT(summary(gpt, zeros({1, 64}, DType::i64)),
               Contains("transformer.h.3.mlp.c_fc") && Contains("128 -> 512") &&
                   Contains("(1, 64, 65)") && Contains("809,856 parameters, 110M FLOPs"));
  ResNetCifar resnet(rng, {.depth = 8});
  REQUIRE_THAT(summary(resnet, zeros({1, 3, 32, 32})),
               Contains("layer2.0.downsample.0") && Contains("(1, 64, 8, 8)"));
}

TEST_CASE("misuse of a model is a sentence") {
  Rng rng(13);
  REQUIRE_THROWS_AS(SmallCnn(rng, {.image_size = 7}), ValueError);
  REQUIRE_THROWS_AS(SmallCnn(rng, {.norm = NormKind::rms}), ValueError);
  REQUIRE_THROWS_AS(ResNetCifar(rng, {.depth = 21}), ValueError);
  REQUIRE_THROWS_WITH(Gpt(rng, {.heads = 3, .width = 16}), Contains("3 heads"));
  REQUIRE_THROWS_WITH(norm_kind("weight"), Contains("batch, layer"));
  REQUIRE(norm_kind("rms") == NormKind::rms);
  SmallCnn cnn(rng);
  REQUIRE_THROWS_WITH(cnn(zeros({2, 3, 28, 28})),
                      Contains("SmallCnn") && Contains("(2, 3, 28, 28)"));
  Gpt gpt(rng, kTiny);
  REQUIRE_THROWS_WITH(gpt(zeros({1, 13}, DType::i64)), Contains("13"));
  REQUIRE_THROWS_AS(gpt(zeros({13}, DType::i64)), ShapeError);
  REQUIRE_THROWS_AS(gpt(full({1, 3}, 11, DType::i64)), IndexError);
  KvCache cache = gpt.new_cache(1);
  no_grad([&] { gpt(zeros({1, 10}, DType::i64), &cache); });
  REQUIRE_THROWS_WITH(no_grad([&] {
                        return gpt(zeros({1, 3}, DType::i64), &cache);
                      }),
                      Contains("13"));
}

TEST_CASE("past its context a Gpt goes on from the younger half") {
  Rng rng(9);
  Gpt m(rng, kTiny);  // context 12
  for (const Tensor& p : parameters(m)) no_grad([&] { p.mul_(8); });
  const std::vector<int64_t> prompt{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1};
  const auto text = m.generate(prompt, rng, {.length = 2, .temperature = 0});
  eval(m);
  const std::vector<int64_t> young(text.begin() + 7, text.begin() + 13);
  const Tensor logits = no_grad([&] { return m(from_data(young).unsqueeze(0)); });
  CHECK(text[13] == argmax(logits[0].select(0, -1)).item<int64_t>());
}
