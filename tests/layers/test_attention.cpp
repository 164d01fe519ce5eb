#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/layers/transformer.h>

#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;
using Masks = MultiheadAttention::Masks;

TEST_CASE("activation layers call their ops and stand in a Sequential") {
  Rng rng(1);
  const Tensor x = randn(rng, {3, 4});
  CHECK(equal(ReLU()(x), relu(x)));
  CHECK(equal(LeakyReLU({.negative_slope = 0.3})(x), leaky_relu(x, 0.3)));
  CHECK(equal(GELU()(x), gelu(x)));
  CHECK(equal(GELU({.approximate = Approximate::tanh})(x),
              gelu(x, {.approximate = Approximate::tanh})));
  CHECK(equal(SiLU()(x), silu(x)));
  CHECK(equal(Sigmoid()(x), sigmoid(x)));
  CHECK(equal(Tanh()(x), loupe::tanh(x)));
  CHECK(equal(Softplus({.beta = 2})(x), softplus(x, {.beta = 2})));
  CHECK(equal(ELU({.alpha = 2})(x), elu(x, 2)));
  CHECK(equal(CELU({.alpha = 2})(x), celu(x, 2)));
  CHECK(equal(SELU()(x), selu(x)));
  CHECK(equal(Mish()(x), mish(x)));
  CHECK(equal(Hardswish()(x), hardswish(x)));
  CHECK(equal(Hardsigmoid()(x), hardsigmoid(x)));
  CHECK(equal(Hardtanh({.max_val = 0.5})(x), hardtanh(x, -1, 0.5)));
  CHECK(equal(ReLU6()(x), relu6(x)));
  CHECK(equal(LogSigmoid()(x), log_sigmoid(x)));
  CHECK(equal(GLU()(x), glu(x)));
  CHECK(equal(SwiGLU()(x), swiglu(x, 1)));
  CHECK(equal(GLU({.dim = 0})(x.t()), glu(x).t()));
  CHECK(equal(Softmax({.dim = 0})(x), softmax(x, 0)));
  CHECK(equal(LogSoftmax()(x), log_softmax(x, -1)));
  CHECK(ReLU().type_name() == "ReLU");
  Sequential net{ReLU(), Tanh()};
  CHECK(equal(net(x), loupe::tanh(relu(x))));
}

TEST_CASE("Dropout draws in training only, from a stream of its own that can be saved") {
  Rng rng(2);
  Dropout drop(rng, 0.5), other(rng, 0.5);
  const Tensor x = ones({1000});
  const Rng::State before = rng.state();
  const auto saved = drop.stream.state();
  const Tensor first = drop(x);
  CHECK(rng.state() == before);
  CHECK(!equal(first, drop(x)));
  CHECK(!equal(first, other(x)));
  named_streams(drop).at(0).second->set_state(saved);
  CHECK(equal(first, drop(x)));
  eval(drop);
  CHECK(drop(x).is_same(x));
  CHECK_THROWS_AS(Dropout(rng, -0.1), ValueError);
}

TEST_CASE("Dropout1d and Dropout2d drop whole channels, scale the others, and pass in eval mode") {
  Rng rng(7);
  const auto check = [&](auto layer, const Shape& shape, int64_t length) {
    const Tensor x = ones(shape).requires_grad_(), y = layer(x);
    const Tensor channels = y.detach().reshape({-1, length});
    int64_t dropped = 0;
    for (int64_t c = 0; c < channels.size(0); ++c) {
      const float first = channels.select(0, c).select(0, 0).item<float>();
      CHECK((first == 0.0f || first == 1 / 0.75f));
      CHECK(equal(channels.select(0, c), full({length}, first)));
      dropped += first == 0.0f;
    }
    // 400 channels: mean 100, standard deviation 8.7.
    CHECK(channels.size(0) == 400);
    CHECK((dropped > 65 && dropped < 135));
    y.sum().backward();
    CHECK(equal(x.grad(), y.detach()));
    eval(layer);
    CHECK(layer(x).is_same(x));
  };
  check(Dropout1d(rng, 0.25), {20, 20, 5}, 5);
  check(Dropout1d(rng, 0.25), {400, 3}, 3);
  check(Dropout2d(rng, 0.25), {20, 20, 3, 2}, 6);
  check(Dropout2d(rng, 0.25), {20, 20, 4}, 4);
  const Tensor x = ones({2, 3, 4});
  CHECK(equal(dropout1d(x, rng, 1), zeros({2, 3, 4})));
  CHECK(dropout2d(x, rng, 0).is_same(x));
}

TEST_CASE("Embedding starts from N(0, 1) with a padding row of zeros") {
  Rng rng(3);
  Embedding e(rng, 400, 50, {.padding_idx = -1});
  CHECK(equal(e.weight.detach()[399], zeros({50})));
  CHECK(std::fabs(e.weight.detach().mean().item()) < 0.04);
  CHECK(var(e.weight.detach()).item() == Approx(0.9975).margin(0.05));
  CHECK(e.weight.requires_grad());
  CHECK_THROWS_AS(Embedding(rng, 4, 5, {.padding_idx = 4}), IndexError);
}

TEST_CASE("MultiheadAttention: names, initialisation, other widths of keys and values") {
  Rng rng(4);
  MultiheadAttention m(rng, 64, 4);
  std::string names;
  for (const auto& [name, t] : state_dict(m)) names += name + " ";
  CHECK(names == "in_proj_weight in_proj_bias out_proj.weight out_proj.bias ");
  const double bound = std::sqrt(6.0 / (3 * 64 + 64));
  CHECK(max(abs(m.in_proj_weight.detach())).item() <= bound);
  CHECK(max(abs(m.in_proj_weight.detach())).item() > 0.99 * bound);
  CHECK(equal(m.in_proj_bias.detach(), zeros({192})));
  CHECK(equal(m.out_proj.bias.detach(), zeros({64})));

  MultiheadAttention wide(rng, 8, 2, {.dropout = 0, .bias = true, .kdim = 5, .vdim = 3});
  names.clear();
  for (const auto& [name, t] : state_dict(wide)) names += name + " ";
  CHECK(names ==
        "q_proj_weight k_proj_weight v_proj_weight in_proj_bias out_proj.weight out_proj.bias ");
  to(wide, DType::f64);
  const Tensor q = randn(rng, {2, 3, 8}, DType::f64), k = randn(rng, {2, 4, 5}, DType::f64),
               v = randn(rng, {2, 4, 3}, DType::f64);
  CHECK(gradcheck([&](const Tensors& x) { return wide(x[0], x[1], x[2]); }, {q, k, v}));
  CHECK(allclose(wide(q[0], k[0], v[0]), wide(q, k, v)[0], 1e-12, 1e-12));
  CHECK(allclose(wide.with_weights(q[0], k[0], v[0]).weights, wide.with_weights(q, k, v).weights[0],
                 1e-12, 1e-12));
}

TEST_CASE(
    "MultiheadAttention: masks say ignore, whatever their type; a key that is ignored does not "
    "matter") {
  Rng rng(5);
  MultiheadAttention m(rng, 8, 2);
  to(m, DType::f64);
  const Tensor x = randn(rng, {2, 4, 8}, DType::f64);
  const Tensor padding = gt(tensor({0, 0, 0, 1, 0, 1, 1, 1}, Shape{2, 4}), 0.5),
               later = gt(triu(ones({4, 4}), 1), 0.5);
  const auto added = [](const Tensor& mask) {
    return masked_fill(zeros(mask.shape(), DType::f64), mask, -INFINITY);
  };
  const Tensor y = m(x, Masks{.key_padding_mask = padding, .attn_mask = later});
  CHECK(allclose(y, m(x, Masks{.key_padding_mask = added(padding), .attn_mask = later}), 1e-12,
                 1e-12));
  CHECK(allclose(y, m(x, Masks{.key_padding_mask = padding, .attn_mask = added(later)}), 1e-12,
                 1e-12));
  CHECK(allclose(y, m(x, Masks{.key_padding_mask = padding, .is_causal = true}), 1e-12, 1e-12));
  CHECK(allclose(y, m(x, Masks{.key_padding_mask = padding, .attn_mask = later.expand({4, 4, 4})}),
                 1e-12, 1e-12));
  CHECK(allclose(
      y, m.with_weights(x, x, x, Masks{.key_padding_mask = padding, .attn_mask = later}).output,
      1e-12, 1e-12));
  const Tensor changed = where(padding.unsqueeze(-1), x + 100.0, x);
  const auto kept = logical_not(padding).unsqueeze(-1).to(DType::f64);
  CHECK(allclose(m(x, Masks{.key_padding_mask = padding}) * kept,
                 m(changed, Masks{.key_padding_mask = padding}) * kept, 1e-12, 1e-12));
  // A sequence that is all padding: out_proj's bias, and finite gradients.
  const Tensor all = gt(ones({2, 4}), 0.5), leaf = x.clone().requires_grad_();
  const Tensor none = m(leaf, Masks{.key_padding_mask = all});
  CHECK(allclose(none, m.out_proj.bias.expand({2, 4, 8}), 1e-12, 1e-12));
  none.sum().backward();
  CHECK(equal(leaf.grad(), zeros_like(x)));
}

TEST_CASE("MultiheadAttention: batch_first = false takes and gives the length first") {
  const auto turned = [](const Tensor& x) { return x.transpose(0, 1).contiguous(); };
  const auto max_difference = [](const Tensor& a, const Tensor& b) {
    return max(abs(a - b)).item();
  };
  for (const bool wide : {false, true}) {
    CAPTURE(wide);
    Rng rng(3), same(3), data(4);
    MultiheadAttention::Options options{.dropout = 0, .bias = true, .kdim = {}, .vdim = {}};
    if (wide) options.kdim = 5;
    MultiheadAttention batch(rng, 8, 2, options);
    options.batch_first = false;
    MultiheadAttention length(same, 8, 2, options);
    // Batch 3, lengths 4 and 6: nothing fits by chance. A padded key and a causal mask of floats.
    const Tensor q = randn(data, {3, 4, 8}), v = randn(data, {3, 6, 8});
    const Tensor k = randn(data, {3, 6, wide ? 5 : 8});
    const Tensor padding = zeros({3, 6}, DType::boolean);
    padding.slice(1, 5, 6).fill_(1);
    const Masks masks{.key_padding_mask = padding};
    const AttentionResult want = batch.with_weights(q, k, v, masks);
    const AttentionResult got = length.with_weights(turned(q), turned(k), turned(v), masks);
    CHECK(got.output.shape() == Shape{4, 3, 8});
    CHECK(got.weights.shape() == Shape{3, 4, 6});
    CHECK(max_difference(got.output.transpose(0, 1), want.output) < 1e-6);
    CHECK(max_difference(got.weights, want.weights) < 1e-6);
    CHECK(max_difference(length(turned(q), turned(k), turned(v), masks).transpose(0, 1),
                         batch(q, k, v, masks)) < 1e-6);
    CHECK_THROWS_WITH(length(turned(q), turned(k), v), Contains("differ in batch or length"));
    CHECK(length.flops({4, 3, 8}, {4, 3, 8}) == batch.flops({3, 4, 8}, {3, 4, 8}));
    if (wide) continue;
    const Tensor x = turned(v).requires_grad_(), y = Tensor(v).requires_grad_();
    const Tensor out = length(x, masks), other = batch(y, masks);
    CHECK(max_difference(out.transpose(0, 1), other) < 1e-6);
    const Tensor up = randn(data, {3, 6, 8});
    (out.transpose(0, 1) * up).sum().backward();
    (other * up).sum().backward();
    CHECK(max_difference(x.grad().transpose(0, 1), y.grad()) < 1e-5);
  }
}

TEST_CASE("MultiheadAttention: dropout in training only") {
  Rng rng(6);
  MultiheadAttention m(rng, 8, 2, {.dropout = 0.5, .bias = true, .kdim = {}, .vdim = {}});
  const Tensor x = randn(rng, {2, 6, 8});
  CHECK(!equal(m(x), m(x)));
  eval(m);
  CHECK(equal(m(x), m(x)));
}

TEST_CASE("MultiheadAttention says what does not fit") {
  Rng rng(7);
  MultiheadAttention m(rng, 8, 2);
  const Tensor x = zeros({2, 4, 8});
  CHECK_THROWS_WITH(MultiheadAttention(rng, 8, 3),
                    Contains("embed_dim 8 is not a multiple of num_heads 3"));
  CHECK_THROWS_AS(
      MultiheadAttention(rng, 8, 2, {.dropout = 2, .bias = true, .kdim = {}, .vdim = {}}),
      ValueError);
  CHECK_THROWS_WITH(m(zeros({2, 4, 7})), Contains("query must be (batch, length, 8)"));
  CHECK_THROWS_AS(m(x, zeros({3, 4, 8}), zeros({3, 4, 8})), ShapeError);
  CHECK_THROWS_AS(m(x, zeros({2, 4, 8}), zeros({2, 5, 8})), ShapeError);
  CHECK_THROWS_AS(m(x, zeros({4, 8}), zeros({4, 8})), ShapeError);
  CHECK_THROWS_AS(m(x, Masks{.key_padding_mask = gt(zeros({2, 5}), 0.5)}), ShapeError);
  CHECK_THROWS_AS(m(x, Masks{.attn_mask = gt(zeros({2, 4}), 0.5)}), ShapeError);
  CHECK_THROWS_AS(m(x, Masks{.attn_mask = zeros({4, 4}, DType::i64)}), DtypeError);
}

TEST_CASE(
    "Transformer layers: every parameter learns, dropout in training only, wrong widths throw") {
  Rng rng(8);
  TransformerDecoderLayer m(rng, 8, 2, {.dim_feedforward = 16});
  const Tensor x = randn(rng, {2, 5, 8}), memory = randn(rng, {2, 3, 8});
  CHECK(!equal(m(x, memory), m(x, memory)));
  (m(x, memory, Masks{.is_causal = true}) * randn(rng, {2, 5, 8})).sum().backward();
  for (const auto& [name, p] : named_parameters(m)) {
    INFO(name);
    CHECK(p.grad().defined());
    CHECK(max(abs(p.grad())).item() > 0);
  }
  CHECK(named_streams(m).size() == 6);  // four dropouts and two attentions
  eval(m);
  CHECK(equal(m(x, memory), m(x, memory)));
  CHECK_THROWS_AS(m(x, zeros({2, 3, 7})), ShapeError);
  TransformerEncoderLayer encoder(rng, 8, 2, {.dim_feedforward = 16, .bias = false});
  CHECK(named_parameters(encoder).size() == 6);
  CHECK_THROWS_AS(encoder(zeros({2, 5, 6})), ShapeError);
  CHECK_THROWS_AS(TransformerEncoderLayer(rng, 9, 2), ValueError);
}
