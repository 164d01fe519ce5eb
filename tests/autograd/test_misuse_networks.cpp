// The ops of networks, losses and the machinery around gradients, called wrongly.
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/cpu.h>
#include <loupe/core/threads.h>

#include <cmath>

using namespace loupe;
using misuse::pointed::refuses;  // misuse::refuses where no op is called

namespace {

const double kNan = std::nan("");
const Tensor f23 = zeros({2, 3}), i23 = zeros({2, 3}, DType::i64), d23 = zeros({2, 3}, DType::f64),
             b23 = zeros({2, 3}, DType::boolean), scalar0 = scalar(1), none;
using One = Tensor (*)(In);

}  // namespace

TEST_CASE("misuse: activations, softmax, dropout") {
  const std::vector<std::pair<const char*, One>> floating{
      {"relu", relu},
      {"silu", silu},
      {"sigmoid", sigmoid},
      {"tanh", loupe::tanh},
      {"erf", loupe::erf},
      {"leaky_relu", [](In x) { return leaky_relu(x); }},
      {"gelu", [](In x) { return gelu(x); }},
      {"softplus", [](In x) { return softplus(x); }},
      {"elu", [](In x) { return elu(x); }},
      {"celu", [](In x) { return celu(x); }},
      {"selu", selu},
      {"mish", mish},
      {"hardswish", hardswish},
      {"hardsigmoid", hardsigmoid},
      {"hardtanh", [](In x) { return hardtanh(x); }},
      {"hardtanh", relu6},
      {"log_sigmoid", log_sigmoid},
      {"softmax", [](In x) { return softmax(x); }},
      {"log_softmax", [](In x) { return log_softmax(x); }}};
  misuse::each(floating, [](const char* name, One f) {
    refuses<ValueError>("tensor", [&] { f(none); });
    refuses<DtypeError>(name, [&] { f(i23); });
    refuses<DtypeError>(name, [&] { f(b23); });
  });
  for (const double bad : {0.0, kNan}) {
    refuses<ValueError>("softplus", [&] { softplus(f23, {.beta = bad}); });
    refuses<ValueError>("celu", [&] { celu(f23, bad); });
  }
  refuses<ValueError>("hardtanh", [] { hardtanh(f23, 1, -1); });
  refuses<ValueError>("hardtanh", [] { hardtanh(f23, kNan, 1); });
  const std::vector<std::pair<const char*, One>> gated{{"glu", [](In x) { return glu(x); }},
                                                       {"swiglu", [](In x) { return swiglu(x); }}};
  misuse::each(gated, [](const char* name, One f) {
    refuses<ValueError>("tensor", [&] { f(none); });
    refuses<ShapeError>(name, [&] { f(f23); });
    refuses<ShapeError>(name, [&] { f(scalar0); });
    refuses<DtypeError>(name, [&] { f(zeros({2, 4}, DType::i64)); });
  });
  refuses<IndexError>("glu", [] { glu(f23, 2); });
  for (const int64_t axis : {2, -3}) {
    refuses<IndexError>("softmax", [&] { softmax(f23, axis); });
    refuses<IndexError>("log_softmax", [&] { log_softmax(f23, axis); });
  }
  Rng rng(1);
  for (const double p : {-0.1, 1.1, kNan})
    refuses<ValueError>("dropout", [&] { dropout(f23, rng, p); });
  for (const double p : {-0.1, 1.1, kNan}) {
    refuses<ValueError>("dropout1d", [&] { dropout1d(f23, rng, p); });
    refuses<ValueError>("dropout2d", [&] { dropout2d(zeros({2, 3, 4}), rng, p); });
  }
  refuses<ShapeError>("dropout1d", [&] { dropout1d(scalar0, rng); });
  refuses<ShapeError>("dropout2d", [&] { dropout2d(f23, rng); });
  refuses<DtypeError>("dropout1d", [&] { dropout1d(i23, rng); });
  refuses<ValueError>("tensor", [&] { dropout2d(none, rng); });
  refuses<ValueError>("tensor", [&] { dropout(none, rng); });
  refuses<DtypeError>("dropout", [&] { dropout(i23, rng); });
}

TEST_CASE("misuse: products with a bias, embedding, attention") {
  refuses<ValueError>("tensor", [] { addmm(zeros({2}), none, zeros({3, 2})); });
  refuses<ShapeError>("addmm", [] { addmm(zeros({2}), f23, zeros({2, 3})); });
  refuses<ShapeError>("addmm", [] { addmm(zeros({3}), f23, zeros({3, 2})); });
  refuses<ShapeError>("addmm", [] { addmm(zeros({2}), f23, zeros({3})); });
  refuses<DtypeError>("addmm", [] { addmm(zeros({2}), d23, zeros({3, 2})); });
  refuses<DtypeError>("addmm", [] { addmm(zeros({2}, DType::f64), f23, zeros({3, 2})); });
  refuses<DtypeError>("addmm", [] {
    addmm(zeros({2}, DType::i64), i23, zeros({3, 2}, DType::i64));
  });

  const Tensor index = zeros({2}, DType::i64);
  refuses<ValueError>("tensor", [] { embedding(none, f23); });
  refuses<ValueError>("tensor", [&] { embedding(index, none); });
  refuses<DtypeError>("embedding", [] { embedding(f23, f23); });
  refuses<DtypeError>("embedding", [&] { embedding(index, i23); });
  refuses<ShapeError>("embedding", [&] { embedding(index, zeros({3})); });
  refuses<IndexError>("embedding", [] { embedding(from_data<int64_t>({0, 2}), f23); });
  refuses<IndexError>("embedding", [] { embedding(from_data<int64_t>({-1}), f23); });
  refuses<IndexError>("embedding", [&] { embedding(index, zeros({0, 3})); });
  for (const int64_t row : {2, -3})
    refuses<IndexError>("embedding", [&] { embedding(index, f23, {.padding_idx = row}); });

  const char* sdpa = "scaled_dot_product_attention";
  const Tensor q = zeros({2, 3, 4}), k = zeros({2, 5, 4}), v = zeros({2, 5, 6});
  Rng rng(1);
  const auto both = [&]<class E>(const E&, auto call) {
    refuses<E>(sdpa, [&] { call([](auto&&... a) { scaled_dot_product_attention(a...); }); });
    refuses<E>("attention_with_weights",
               [&] { call([](auto&&... a) { attention_with_weights(a...); }); });
  };
  both(ShapeError(""), [&](auto f) { f(q, zeros({2, 5, 3}), v); });
  both(ShapeError(""), [&](auto f) { f(q, k, zeros({2, 4, 6})); });
  both(ShapeError(""), [&](auto f) { f(q, zeros({3, 5, 4}), zeros({3, 5, 6})); });
  both(ShapeError(""), [&](auto f) { f(zeros({4}), k, v); });
  both(DtypeError(""), [&](auto f) { f(q, k, zeros({2, 5, 6}, DType::f64)); });
  both(DtypeError(""), [&](auto f) {
    f(zeros({2, 3, 4}, DType::i64), zeros({2, 5, 4}, DType::i64), zeros({2, 5, 6}, DType::i64));
  });
  both(DtypeError(""), [&](auto f) {
    f(q, k, v, AttentionOptions{.attn_mask = zeros({3, 5}, DType::i64)});
  });
  both(ShapeError(""), [&](auto f) { f(q, k, v, AttentionOptions{.attn_mask = zeros({3, 4})}); });
  both(ValueError(""), [&](auto f) { f(q, k, v, AttentionOptions{.dropout_p = 0.1}); });
  both(ValueError(""),
       [&](auto f) { f(q, k, v, AttentionOptions{.dropout_p = 1.5, .rng = &rng}); });
  refuses<ValueError>("tensor", [&] { scaled_dot_product_attention(none, k, v); });
  refuses<ValueError>("tensor", [&] { attention_with_weights(q, none, v); });
  refuses<ValueError>("tensor", [] { self_attention(none, 1); });
  refuses<ShapeError>("self_attention", [] { self_attention(zeros({2, 3, 12}), 3); });
  refuses<ShapeError>("self_attention", [] { self_attention(zeros({2, 3, 12}), 0); });
  refuses<ShapeError>("self_attention", [] { self_attention(zeros({2, 3, 12}), -4); });
  refuses<ShapeError>("self_attention", [] { self_attention(f23, 1); });
  refuses<DtypeError>("self_attention", [] { self_attention(zeros({2, 3, 12}, DType::i64), 2); });
}

TEST_CASE("misuse: norms") {
  const Tensor c3 = zeros({3}), image = zeros({2, 3, 4, 4});
  const BatchNormArgs args;
  using Norm = Tensor (*)(In, In, In, const BatchNormArgs&);
  const std::vector<std::pair<const char*, Norm>> norms{
      {"batch_norm", batch_norm},
      {"batch_norm_relu", batch_norm_relu},
      {"batch_norm_relu_max_pool", batch_norm_relu_max_pool},
      {"instance_norm", instance_norm}};
  misuse::each(norms, [&](const char* name, Norm f) {
    refuses<ValueError>("tensor", [&] { f(none, none, none, args); });
    refuses<ShapeError>(name, [&] { f(c3, none, none, args); });
    refuses<ShapeError>(name, [&] { f(image, zeros({4}), none, args); });
    refuses<ShapeError>(name, [&] { f(image, c3, zeros({4}), args); });
    refuses<ShapeError>(
        name, [&] { f(image, c3, c3, {.running_mean = zeros({4}), .running_var = zeros({4})}); });
    refuses<DtypeError>(name, [&] { f(image, zeros({3}, DType::f64), none, args); });
    refuses<DtypeError>(name, [&] { f(zeros({2, 3, 4, 4}, DType::i64), none, none, args); });
    refuses<ValueError>(name, [&] { f(image, c3, c3, {.training = false}); });
    refuses<ValueError>(name, [&] { f(image, c3, c3, {.running_mean = zeros({3})}); });
    refuses<ValueError>(name, [&] { f(image, c3, c3, {.eps = -1}); });
  });
  refuses<ValueError>("batch_norm", [&] { batch_norm(zeros({1, 3}), none, none, args); });
  refuses<IndexError>("batch_norm", [&] { batch_norm(f23, none, none, {.axis = 2}); });
  refuses<DtypeError>("batch_norm", [&] { batch_norm(f23, none, none, {.mask = zeros({2})}); });
  refuses<ShapeError>("batch_norm",
                      [&] { batch_norm(f23, none, none, {.mask = zeros({3}, DType::boolean)}); });
  refuses<ValueError>("instance_norm", [&] {
    instance_norm(zeros({2, 3, 1, 1}), none, none, args);
  });
  refuses<ShapeError>("batch_norm_relu_max_pool", [&] {
    batch_norm_relu_max_pool(zeros({2, 3, 1, 4}), c3, c3, args);
  });

  refuses<ValueError>("tensor", [] { group_norm(none, 1, none, none); });
  for (const int64_t groups : {0, -1, 2})
    refuses<ValueError>("group_norm", [&] { group_norm(image, groups, none, none); });
  refuses<ShapeError>("group_norm", [&] { group_norm(c3, 1, none, none); });
  refuses<ShapeError>("group_norm", [&] { group_norm(image, 3, zeros({4}), none); });
  refuses<DtypeError>("group_norm", [&] { group_norm(image, 3, zeros({3}, DType::f64), none); });
  refuses<DtypeError>("group_norm", [&] { group_norm(i23, 1, none, none); });
  refuses<ValueError>("group_norm", [&] { group_norm(image, 3, none, none, -1); });
  refuses<ValueError>("tensor", [] { layer_norm(none, {3}, none, none); });
  refuses<ShapeError>("layer_norm", [] { layer_norm(f23, {2}, none, none); });
  refuses<ShapeError>("layer_norm", [] { layer_norm(f23, {1, 2, 3}, none, none); });
  refuses<ShapeError>("layer_norm", [] { layer_norm(f23, {3}, zeros({2}), none); });
  refuses<DtypeError>("layer_norm", [] { layer_norm(f23, {3}, zeros({3}, DType::f64), none); });
  refuses<DtypeError>("layer_norm", [] { layer_norm(i23, {3}, none, none); });
  refuses<ValueError>("layer_norm", [] { layer_norm(f23, {3}, none, none, kNan); });
  refuses<ValueError>("tensor", [] { rms_norm(none, {3}, none); });
  refuses<ShapeError>("rms_norm", [] { rms_norm(f23, {2}, none); });
  refuses<DtypeError>("rms_norm", [] { rms_norm(f23, {3}, zeros({3}, DType::f64)); });
  refuses<DtypeError>("rms_norm", [] { rms_norm(i23, {3}, none); });
  refuses<ValueError>("rms_norm", [] { rms_norm(f23, {3}, none, -1); });
}

TEST_CASE("misuse: losses") {
  const Tensor labels = zeros({2}, DType::i64);
  const auto classes = [&](const char* name, auto f) {
    refuses<ValueError>("tensor", [&] { f(none, labels, Tensor()); });
    refuses<ValueError>("tensor", [&] { f(f23, none, Tensor()); });
    refuses<IndexError>(name, [&] { f(f23, from_data<int64_t>({0, 3}), Tensor()); });
    refuses<IndexError>(name, [&] { f(f23, from_data<int64_t>({0, -1}), Tensor()); });
    refuses<DtypeError>(name, [&] { f(f23, zeros({2}), Tensor()); });
    refuses<DtypeError>(name, [&] { f(i23, labels, Tensor()); });
    refuses<ShapeError>(name, [&] { f(f23, zeros({3}, DType::i64), Tensor()); });
    refuses<ShapeError>(name, [&] { f(scalar0, labels, Tensor()); });
    refuses<ShapeError>(name, [&] { f(f23, labels, zeros({2})); });
    refuses<DtypeError>(name, [&] { f(f23, labels, zeros({3}, DType::f64)); });
    refuses<GradError>(name, [&] { f(f23, labels, zeros({3}).requires_grad_()); });
    refuses<IndexError>(name, [&] { f(zeros({2, 0}), labels, Tensor()); });
  };
  classes("cross_entropy", [](In x, In y, const Tensor& w) { cross_entropy(x, y, {.weight = w}); });
  classes("nll_loss", [](In x, In y, const Tensor& w) { nll_loss(x, y, {.weight = w}); });
  for (const double s : {-0.1, 1.5, kNan})
    refuses<ValueError>("cross_entropy",
                        [&] { cross_entropy(f23, labels, {.label_smoothing = s}); });
  refuses<DtypeError>("cross_entropy", [] { cross_entropy(f23, d23); });
  refuses<ValueError>("cross_entropy", [] { cross_entropy(f23, f23, {.ignore_index = 0}); });
  refuses<ShapeError>("cross_entropy", [] { cross_entropy(f23, f23, {.weight = zeros({2})}); });
  const auto pairs = [&](const char* name, auto f) {
    refuses<ValueError>("tensor", [&] { f(none, f23); });
    refuses<ValueError>("tensor", [&] { f(f23, none); });
    refuses<ShapeError>(name, [&] { f(f23, zeros({3})); });  // no broadcasting
    refuses<DtypeError>(name, [&] { f(f23, d23); });
    refuses<DtypeError>(name, [&] { f(i23, i23); });
  };
  pairs("mse_loss", [](In x, In y) { mse_loss(x, y); });
  pairs("l1_loss", [](In x, In y) { l1_loss(x, y); });
  pairs("smooth_l1_loss", [](In x, In y) { smooth_l1_loss(x, y); });
  pairs("huber_loss", [](In x, In y) { huber_loss(x, y); });
  pairs("binary_cross_entropy", [](In x, In y) { binary_cross_entropy(x, y); });
  pairs("kl_div", [](In x, In y) { kl_div(x, y); });
  for (const double bad : {-0.5, 1.5}) {
    const Tensor outside = full({2, 3}, bad);
    refuses<ValueError>("binary_cross_entropy", [&] { binary_cross_entropy(outside, f23); });
    refuses<ValueError>("binary_cross_entropy", [&] {
      binary_cross_entropy(zeros({2, 3}), outside);
    });
  }
  refuses<ShapeError>("binary_cross_entropy", [] {
    binary_cross_entropy(zeros({2, 3}), zeros({2, 3}), {.weight = zeros({5, 2, 3})});
  });
  refuses<ValueError>("mse_loss", [] { mse_loss(f23, f23, {Reduction::batchmean}); });
  pairs("binary_cross_entropy_with_logits",
        [](In x, In y) { binary_cross_entropy_with_logits(x, y); });
  for (const double bad : {-1.0, kNan}) {
    refuses<ValueError>("smooth_l1_loss", [&] { smooth_l1_loss(f23, f23, {.beta = bad}); });
    refuses<ValueError>("huber_loss", [&] { huber_loss(f23, f23, {.delta = bad}); });
  }
  refuses<ValueError>("huber_loss", [&] { huber_loss(f23, f23, {.delta = 0}); });
  refuses<ShapeError>("binary_cross_entropy_with_logits", [] {
    binary_cross_entropy_with_logits(f23, f23, {.weight = zeros({5, 2, 3})});
  });
  refuses<ShapeError>("binary_cross_entropy_with_logits", [] {
    binary_cross_entropy_with_logits(f23, f23, {.pos_weight = zeros({5, 2, 3})});
  });
}

TEST_CASE(
    "misuse: adaptive pooling of lines, gradient checks, shadow mode, threads, instruction sets") {
  refuses<ValueError>("tensor", [] { adaptive_avg_pool1d(none, 1); });
  refuses<ShapeError>("adaptive_avg_pool1d", [] { adaptive_avg_pool1d(zeros({3}), 1); });
  refuses<ValueError>("adaptive_avg_pool1d", [] { adaptive_avg_pool1d(zeros({1, 2, 3}), 0); });
  refuses<DtypeError>("adaptive_avg_pool1d", [] {
    adaptive_avg_pool1d(zeros({1, 2, 3}, DType::i64), 1);
  });

  const auto same = [](const Tensors& x) { return x[0] * x[0]; };
  misuse::refuses<DtypeError>("gradgradcheck", [&] { gradgradcheck(same, {f23}); });
  misuse::refuses<ValueError>("gradcheck", [&] { gradcheck(same, {}); });
  misuse::refuses<ValueError>("gradcheck", [&] { gradcheck(same, {i23}); });
  misuse::refuses<ValueError>("tensor", [&] { gradcheck(same, {none}); });
  misuse::refuses<GradError>(
      "gradcheck", [] { gradcheck([](const Tensors& x) { return x[0].detach(); }, {d23}); });
  misuse::refuses<ValueError>("gradcheck",
                              [] { gradcheck([](const Tensors&) { return Tensors(); }, {d23}); });
  for (const double bad : {0.0, -1.0, kNan}) {
    misuse::refuses<ValueError>("gradcheck", [&] { gradcheck(same, {d23}, {.tolerance = bad}); });
    misuse::refuses<ValueError>("gradcheck", [&] { gradcheck(same, {d23}, {.step = bad}); });
    misuse::refuses<ValueError>("ShadowGuard", [&] { ShadowGuard guard(bad); });
  }
  misuse::refuses<ValueError>("set_thread_limit", [] { ThreadLimit limit(0); });
  misuse::refuses<ValueError>("set_thread_limit", [] { set_thread_limit(-1); });
  misuse::refuses<ValueError>("parallel_ranges",
                              [] { parallel_ranges(5, 0, [](int64_t, int64_t) {}); });
  if (best_cpu_level() < CpuLevel::v4)
    misuse::refuses<ValueError>("set_cpu_level", [] { set_cpu_level(CpuLevel::v4); });
}

TEST_CASE("misuse: recurrence") {
  const Tensor x = zeros({5, 2, 12}), h = zeros({2, 3}), w = zeros({12, 3});
  const auto lstm = [&](const Tensor& gates, const Tensor& h0, const Tensor& c0,
                        const Tensor& weight, const Tensor& bias = {},
                        const RecurrenceArgs& args = {}) {
    recurrence(RecurrentCell::lstm, gates, h0, c0, weight, bias, args);
  };
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(zeros({2, 12}), h, h, w); });
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(zeros({5, 2, 10}), h, h, w); });
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(x, zeros({2, 4}), h, w); });
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(x, h, zeros({3, 3}), w); });
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(x, h, h, zeros({12, 4})); });
  misuse::refuses<ShapeError>("recurrence", [&] { lstm(x, h, h, w, zeros({3})); });
  misuse::refuses<ValueError>("recurrence", [&] { lstm(x, h, none, w); });
  misuse::refuses<ValueError>("recurrence", [&] {
    recurrence(RecurrentCell::gru, x, zeros({2, 4}), zeros({2, 4}), zeros({12, 4}));
  });
  misuse::refuses<DtypeError>("recurrence", [&] { lstm(x, h.to(DType::f64), h, w); });
  misuse::refuses<DtypeError>("recurrence", [&] { lstm(x.to(DType::i64), h, h, w); });
  misuse::refuses<DtypeError>("recurrence",
                              [&] { lstm(x, h, h, w, none, {.lengths = zeros({2})}); });
  misuse::refuses<ShapeError>("recurrence",
                              [&] { lstm(x, h, h, w, none, {.lengths = zeros({3}, DType::i64)}); });
  for (const int64_t bad : {-1, 6})
    misuse::refuses<IndexError>("recurrence", [&] {
      lstm(x, h, h, w, none, {.lengths = full({2}, static_cast<double>(bad), DType::i64)});
    });
}
