#include <loupe/autograd/ops.h>
#include <loupe/view/profile.h>

#include <algorithm>
#include <string_view>

namespace loupe {
namespace {

double numel(const Shape& s) { return static_cast<double>(s.numel()); }
double last(const Shape& s) { return static_cast<double>(s[s.rank() - 1]); }

// Elements of one of a weight's slices: the weight of a convolution is (out, in / groups,
// kernel...).
double numel_of_one(const Shape& weight) {
  return numel(weight) / static_cast<double>(std::max<int64_t>(1, weight[0]));
}

// Multiplications and additions of one output element, where the op is a product; 0 where it is
// not.
double terms_of_one_output(std::string_view op, const std::vector<Shape>& inputs) {
  if (op == "matmul" || op == "linear" || op == "addmm") return last(inputs[0]);
  if (op == "conv1d" || op == "conv2d") return numel_of_one(inputs[1]);
  return 0;
}

bool is_causal(const Node& node) {
  for (const auto& [name, value] : node.attributes())
    if (std::string_view(name) == "causal") return std::get<bool>(value);
  return false;
}

}  // namespace

double op_flops(const Node& node, const std::vector<Shape>& inputs) {
  const std::string_view op = node.name();
  const double out = node.output_count() > 0 ? numel(node.output_shape(0)) : 0;
  if (const double terms = terms_of_one_output(op, inputs); terms > 0) return 2 * out * terms;
  if (op == "conv1d_input_gradient" || op == "conv2d_input_gradient" || op == "conv_transpose1d" ||
      op == "conv_transpose2d")
    return 2 * numel(inputs[0]) * numel_of_one(inputs[1]);
  if (op == "scaled_dot_product_attention" || op == "self_attention") {
    // Scores and sums of values: two products, of which a causal one needs half.
    const bool packed = op == "self_attention";
    const Shape& keys = inputs[packed ? 0 : 1];
    const double queries = packed ? out : numel(inputs[0]);
    return 4 * queries * static_cast<double>(keys[keys.rank() - 2]) * (is_causal(node) ? 0.5 : 1);
  }
  if (op == "recurrence")  // each step multiplies the state by the weights of all gates
    return 2 * numel(inputs[0]) * last(node.output_shape(0));
  return out;
}

double measure_peak() {
  constexpr int64_t n = 1024;
  constexpr int kRounds = 5;
  const NoGrad guard;
  const detail::WatchPause unheard;
  Rng rng(1);
  const Tensor a = randn(rng, {n, n}), b = randn(rng, {n, n});
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double begin = clock_seconds();
    const Tensor c = matmul(a, b);
    const double speed = 2.0 * n * n * n / (clock_seconds() - begin) * 1e-9;
    best = std::max(best, speed);
  }
  return best;
}

}  // namespace loupe
