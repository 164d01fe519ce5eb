#include <loupe/autograd/ops.h>

#include "torch_case.h"

using namespace loupe;
using fixture::Call;
using fixture::Fixture;

namespace {

const Fixture& file() {
  static const Fixture f("functions.safetensors");
  return f;
}

// Each function over its case, in f64 and f32.
void check(const std::string& name, const std::function<Tensor(const Tensors&)>& f,
           double bound32 = fixture::kBound32) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    INFO(name << " in " << loupe::name(dtype));
    const std::string group = name.substr(0, name.find('_')) + " " + loupe::name(dtype);
    fixture::check_pass(file(), group, name, dtype,
                        dtype == DType::f64 ? fixture::kBound64 : bound32,
                        [&](const Tensors& xs) { return Tensors{f(xs)}; });
  }
}

}  // namespace

TEST_CASE("activations equal PyTorch's, far out as well") {
  const std::map<std::string, Tensor (*)(In)> cases = {
      {"relu", [](In x) { return relu(x); }},
      {"leaky_relu", [](In x) { return leaky_relu(x); }},
      {"leaky_relu_02", [](In x) { return leaky_relu(x, 0.2); }},
      {"gelu", [](In x) { return gelu(x); }},
      {"gelu_tanh", [](In x) { return gelu(x, {.approximate = Approximate::tanh}); }},
      {"silu", [](In x) { return silu(x); }},
      {"sigmoid", [](In x) { return sigmoid(x); }},
      {"tanh", [](In x) { return tanh(x); }},
      {"softplus", [](In x) { return softplus(x); }},
      {"softmax", [](In x) { return softmax(x); }},
      {"softmax_axis0", [](In x) { return softmax(x, 0); }},
      {"log_softmax", [](In x) { return log_softmax(x); }},
      {"log_softmax_axis1", [](In x) { return log_softmax(x, 1); }},
  };
  for (const auto& [name, f] : cases) check(name, [f = f](const Tensors& xs) { return f(xs[0]); });
}

TEST_CASE(
    "scaled_dot_product_attention equals PyTorch's: causal, boolean and additive masks, a row that "
    "may see nothing") {
  const auto sdpa = [](AttentionOptions options = {}) {
    return [options](const Tensors& xs) mutable {
      if (xs.size() > 3) options.attn_mask = xs[3];
      return scaled_dot_product_attention(xs[0], xs[1], xs[2], options);
    };
  };
  check("sdpa", sdpa());
  check("sdpa_scale", sdpa({.scale = 0.7}));
  for (const char* name : {"sdpa_causal", "sdpa_causal_wide", "sdpa_causal_tall"})
    check(name, sdpa({.is_causal = true}));
  for (const char* name : {"sdpa_bool", "sdpa_bool_batch", "sdpa_dead_row", "sdpa_additive"})
    check(name, sdpa());
}

TEST_CASE("losses equal PyTorch's under every reduction") {
  const Tensor class_weight = file().get("class_weight"), pos_weight = file().get("pos_weight");
  for (const auto& way : std::map<std::string, Reduction>{
           {"_mean", Reduction::mean}, {"_sum", Reduction::sum}, {"_none", Reduction::none}}) {
    const std::string& word = way.first;
    const Reduction reduction = way.second;
    const auto entropy = [&](const std::string& name, CrossEntropyOptions options,
                             bool weighted = false) {
      options.reduction = reduction;
      check("cross_entropy" + name + word, [&, options](const Tensors& xs) mutable {
        if (weighted) options.weight = raw::to(class_weight, xs[0].dtype());
        return cross_entropy(xs[0], xs[1], options);
      });
    };
    entropy("", {});
    entropy("_ignore", {});
    entropy("_ignore2", {.ignore_index = 2});
    entropy("_smooth", {.label_smoothing = 0.1});
    entropy("_smooth_ignore", {.label_smoothing = 0.1});
    entropy("_weight", {}, true);
    entropy("_all", {.label_smoothing = 0.2}, true);
    check("mse" + word, [&](const Tensors& xs) { return mse_loss(xs[0], xs[1], {reduction}); });
    check("l1" + word, [&](const Tensors& xs) { return l1_loss(xs[0], xs[1], {reduction}); });
    check("huber" + word,
          [&](const Tensors& xs) { return huber_loss(xs[0], xs[1], {.reduction = reduction}); });
    check("huber_delta" + word, [&](const Tensors& xs) {
      return huber_loss(xs[0], xs[1], {.delta = 0.5, .reduction = reduction});
    });
    check("bce_logits" + word, [&](const Tensors& xs) {
      return binary_cross_entropy_with_logits(xs[0], xs[1], {.reduction = reduction});
    });
    check("bce_logits_pos" + word, [&](const Tensors& xs) {
      return binary_cross_entropy_with_logits(
          xs[0], xs[1], {.pos_weight = raw::to(pos_weight, xs[0].dtype()), .reduction = reduction});
    });
  }
  check("cross_entropy_3d", [](const Tensors& xs) { return cross_entropy(xs[0], xs[1]); });
}
