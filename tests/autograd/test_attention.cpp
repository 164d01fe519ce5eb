#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>

#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

Tensor draw(Rng& rng, const Shape& shape) { return randn(rng, shape, DType::f64); }

Tensor boolean(std::initializer_list<double> values, const Shape& shape) {
  return gt(tensor(values, shape), 0.5);
}

}  // namespace

TEST_CASE("attention: derivatives of all inputs under every option") {
  Rng rng(1);
  const Tensor q = draw(rng, {2, 2, 3, 4}), k = draw(rng, {2, 2, 5, 4}),
               v = draw(rng, {2, 2, 5, 3});
  const Tensor add = draw(rng, {3, 5}),
               keep = boolean({1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}, {3, 5});
  const Rng::State state = rng.state();
  const auto check = [&](const AttentionOptions& o) {
    const auto f = [&](const Tensors& t) {
      Rng same;
      same.set_state(state);
      AttentionOptions with = o;
      with.rng = &same;
      return scaled_dot_product_attention(t[0], t[1], t[2], with);
    };
    CHECK(gradcheck(f, {q, k, v}));
    CHECK(gradgradcheck(f, {q, k, v}, {.tolerance = 1e-5}));
    // The kernel's result is that of the ops written out.
    Rng same;
    same.set_state(state);
    AttentionOptions with = o;
    with.rng = &same;
    CHECK(allclose(f({q, k, v}), attention_with_weights(q, k, v, with).output, 1e-12, 1e-12));
  };
  check({});
  check({.is_causal = true});
  check({.attn_mask = keep});
  check({.attn_mask = add});
  check({.attn_mask = keep, .is_causal = true, .scale = 0.3});
  check({.dropout_p = 0.3});
  check({.attn_mask = add, .is_causal = true, .dropout_p = 0.5});
}

TEST_CASE("attention: a learned additive mask gets its gradient") {
  Rng rng(2);
  const Tensor q = draw(rng, {2, 1, 3, 4}), k = draw(rng, {2, 1, 4, 4}),
               v = draw(rng, {2, 1, 4, 2}), bias = draw(rng, {1, 3, 4});
  const auto f = [](const Tensors& t) {
    return scaled_dot_product_attention(t[0], t[1], t[2], {.attn_mask = t[3]});
  };
  CHECK(gradcheck(f, {q, k, v, bias}));
  CHECK(allclose(f({q, k, v, bias}), f({q, k, v, bias.clone().requires_grad_()}), 1e-12, 1e-12));
  const Tensor x = draw(rng, {2, 3, 12}), packed_bias = draw(rng, {2, 3, 3});
  CHECK(gradcheck([](const Tensors& t) { return self_attention(t[0], 2, {.attn_mask = t[1]}); },
                  {x, packed_bias}));
}

TEST_CASE("attention: ranks, broadcasting and memory orders") {
  Rng rng(3);
  const auto f = [](const Tensors& t) {
    return scaled_dot_product_attention(t[0], t[1], t[2], {.is_causal = true});
  };
  CHECK(gradcheck(f, {draw(rng, {3, 4}), draw(rng, {3, 4}), draw(rng, {3, 2})}));
  CHECK(gradcheck(f, {draw(rng, {2, 3, 4}), draw(rng, {2, 3, 4}), draw(rng, {2, 3, 2})}));
  CHECK(gradcheck(
      f, {draw(rng, {2, 2, 1, 3, 4}), draw(rng, {2, 2, 1, 3, 4}), draw(rng, {2, 2, 1, 3, 2})}));
  CHECK(gradcheck(f, {draw(rng, {2, 2, 3, 4}), draw(rng, {2, 1, 3, 4}), draw(rng, {1, 1, 3, 2})}));
  CHECK(gradcheck(f, {draw(rng, {2, 3, 2, 4}).transpose(1, 2), draw(rng, {2, 2, 4, 3}).t(),
                      draw(rng, {3, 2}).expand({2, 2, 3, 2})}));
  const Tensor q = draw(rng, {2, 2, 70, 8}), k = draw(rng, {2, 2, 70, 8}),
               v = draw(rng, {2, 2, 70, 8});
  const Tensor merged = scaled_dot_product_attention(
      q.reshape({2, 1, 2, 70, 8}), k.reshape({2, 1, 2, 70, 8}), v.reshape({2, 1, 2, 70, 8}));
  CHECK(
      allclose(merged.reshape({2, 2, 70, 8}), scaled_dot_product_attention(q, k, v), 1e-12, 1e-12));
  for (const Shape& s : {Shape{0, 2, 3, 4}, Shape{1, 2, 0, 4}, Shape{1, 1, 1, 1}}) {
    const Tensor x = zeros(s);
    CHECK(scaled_dot_product_attention(x, x, x).shape() == s);
  }
}

TEST_CASE(
    "attention: self_attention is splitting, attending and joining; f32 with gradients as f64") {
  Rng rng(4);
  for (int64_t time : {5, 64, 200}) {
    const Tensor x = draw(rng, {2, time, 3 * 32}), up = draw(rng, {2, time, 32});
    const auto apart = [&](const Tensor& t) {
      const auto parts = t.reshape({2, time, 3, 4, 8}).permute({2, 0, 3, 1, 4});
      return scaled_dot_product_attention(parts[0], parts[1], parts[2], {.is_causal = true})
          .transpose(1, 2)
          .reshape({2, time, 32});
    };
    const Tensor a = x.clone().requires_grad_(), b = x.clone().requires_grad_(),
                 c = x.to(DType::f32).requires_grad_();
    const Tensor ya = self_attention(a, 4, {.is_causal = true}), yb = apart(b),
                 yc = self_attention(c, 4, {.is_causal = true});
    ya.backward(up);
    yb.backward(up);
    yc.backward(up.to(DType::f32));
    CHECK(allclose(ya, yb, 1e-12, 1e-12));
    CHECK(allclose(a.grad(), b.grad(), 1e-12, 1e-12));
    CHECK(allclose(yc.to(DType::f64), ya, 2e-5, 2e-6));
    CHECK(allclose(c.grad().to(DType::f64), a.grad(), 2e-5, 5e-6));
  }
  const auto f = [](const Tensors& t) { return self_attention(t[0], 2, {.is_causal = true}); };
  const Tensor small = draw(rng, {2, 3, 12});
  CHECK(gradcheck(f, {small}));
  CHECK(gradgradcheck(f, {small}, {.tolerance = 1e-5}));
}

TEST_CASE("attention: a masked row gives zeros and passes nothing on, in every path") {
  Rng rng(5);
  const Tensor keep = boolean({1, 1, 0, 0, 1, 0}, {3, 2});
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor q = randn(rng, {1, 3, 4}, dtype).requires_grad_(),
                 k = randn(rng, {1, 2, 4}, dtype).requires_grad_();
    const Tensor v = randn(rng, {1, 2, 4}, dtype).requires_grad_(),
                 up = randn(rng, {1, 3, 4}, dtype);
    for (bool written_out : {false, true}) {
      const AttentionOptions o{.attn_mask = keep};
      const Tensor y = written_out ? attention_with_weights(q, k, v, o).output
                                   : scaled_dot_product_attention(q, k, v, o);
      CHECK(equal(y[0][1], zeros({4}, dtype)));
      const Tensors d = grad({y}, {q, k, v}, {}, {up});
      CHECK(equal(d[0][0][1], zeros({4}, dtype)));
      for (const Tensor& t : d)
        for (double e : t.to_vector<double>()) CHECK(std::isfinite(e));
    }
  }
}

TEST_CASE("attention says what does not fit") {
  const Tensor q = zeros({2, 3, 4}), k = zeros({2, 5, 4}), v = zeros({2, 5, 6});
  Rng rng;
  CHECK_THROWS_WITH(scaled_dot_product_attention(q, zeros({2, 5, 3}), v),
                    Contains("q (2, 3, 4) and k (2, 5, 3) differ in their last dimension"));
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, zeros({2, 4, 6})), ShapeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, zeros({3, 5, 6})), ShapeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(zeros({4}), k, v), ShapeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, zeros({2, 5, 6}, DType::f64)), DtypeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, {.attn_mask = zeros({3, 5}, DType::i64)}),
                  DtypeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, {.attn_mask = zeros({3, 4})}), ShapeError);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, {.attn_mask = zeros({7, 2, 3, 5})}),
                  ShapeError);
  CHECK_THROWS_WITH(scaled_dot_product_attention(q, k, v, {.dropout_p = 0.1}),
                    Contains("give an Rng"));
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, {.dropout_p = -1, .rng = &rng}),
                  ValueError);
  CHECK_THROWS_AS(self_attention(zeros({2, 3, 12}), 3), ShapeError);
  CHECK_THROWS_AS(self_attention(zeros({2, 3, 13}), 1), ShapeError);
}

TEST_CASE("attention, losses, softmax, activations, dropout and embedding pass shadow mode") {
  Rng rng(6);
  const Tensor x = randn(rng, {2, 20, 48}).requires_grad_(),
               table = randn(rng, {7, 48}).requires_grad_();
  const Tensor index = randint(rng, 0, 7, {2, 20}), target = randint(rng, 0, 16, {40}),
               keep = gt(randn(rng, {20, 20}), -1.0);
  ShadowGuard shadow;
  Tensor h = self_attention(dropout(x + embedding(index, table), rng, 0.1), 2,
                            {.attn_mask = keep, .is_causal = true, .dropout_p = 0.2, .rng = &rng});
  h = scaled_dot_product_attention(gelu(h), silu(h), softmax(h),
                                   {.attn_mask = randn(rng, {20, 20})});
  cross_entropy(elu(h).reshape({40, 16}), target,
                {.weight = uniform(rng, {16}, 0.5, 2), .label_smoothing = 0.1})
      .backward();
  for (const ShadowRow& r : shadow.rows()) {
    INFO(r.op);
    CHECK(r.checks > 0);
    CHECK(r.forward < 1e-5);
    CHECK(r.backward < 1e-5);
  }
}
