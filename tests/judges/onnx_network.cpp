// ONNX's products, norms and losses.
#include <cmath>

#include "onnx_ops.h"

namespace judges {
namespace {

Tensors gemm(const OnnxCall& c) {
  Tensor a = c.x[0], b = c.x[1];
  if (c.integer("transA", 0)) a = a.t();
  if (c.integer("transB", 0)) b = b.t();
  Tensor y = matmul(a, b) * c.real("alpha", 1);
  if (c.has(2)) y = y + c.x[2] * c.real("beta", 1);
  return {y};
}

// --- Norms ---

Tensors batch_norm_of(const OnnxCall& c) {
  const bool training = c.integer("training_mode", 0) != 0;
  // ONNX's running variance takes the biased one of the batch, as Keras' does.
  BatchNormArgs args{.running_mean = c.x[3].clone(),
                     .running_var = c.x[4].clone(),
                     .training = training,
                     .momentum = 1 - c.real("momentum", 0.9),
                     .eps = c.real("epsilon", 1e-5),
                     .convention = NormConvention::keras3};
  const Tensor y = batch_norm(c.x[0], c.x[1], c.x[2], args);
  return {y, args.running_mean, args.running_var};
}
Tensors instance_norm_of(const OnnxCall& c) {
  return {instance_norm(c.x[0], c.x[1], c.x[2], {.eps = c.real("epsilon", 1e-5)})};
}
Tensors group_norm_of(const OnnxCall& c) {
  if (c.opset < 21) refuse("group norm with a weight for each group, of opset 18");
  return {group_norm(c.x[0], c.integer("num_groups", 1), c.x[1], c.x[2], c.real("epsilon", 1e-5))};
}
// Over samples and positions, each channel by its own statistics.
Tensors mean_variance(const OnnxCall& c) {
  const std::vector<int64_t> axes = c.list("axes");
  if (!axes.empty() && axes != std::vector<int64_t>{0, 2, 3}) refuse("statistics over other axes");
  return {batch_norm(c.x[0], Tensor(), Tensor(), {.training = true, .eps = 0})};
}
Shape normalized_shape(const OnnxCall& c) {
  const int axis = normalize_axis(c.integer("axis", -1), c.x[0].dim(), "layer_norm");
  Shape shape;
  for (int d = axis; d < c.x[0].dim(); ++d) shape.push_back(c.x[0].shape()[d]);
  return shape;
}
Tensors layer_norm_of(const OnnxCall& c) {
  const Shape shape = normalized_shape(c);
  const double eps = c.real("epsilon", 1e-5);
  Dims axes;
  for (int d = c.x[0].dim() - shape.rank(); d < c.x[0].dim(); ++d) axes.push_back(d);
  const Tensor y = layer_norm(c.x[0], shape, c.x[1], c.has(2) ? c.x[2] : Tensor(), eps);
  // What ONNX gives besides: the statistics.
  return {y, mean(c.x[0], axes, true), rsqrt(var(c.x[0], axes, 0, true) + eps)};
}
Tensors rms_norm_of(const OnnxCall& c) {
  return {rms_norm(c.x[0], normalized_shape(c), c.x[1], c.real("epsilon", 1e-5))};
}
template <Tensor (*f)(In, int64_t)> Tensors along(const OnnxCall& c) {
  return {f(c.x[0], c.integer("axis", -1))};
}
Tensors dropout_of(const OnnxCall& c) {
  const bool training = c.has(2) && c.x[2].item() != 0;
  const double ratio = c.has(1) ? c.x[1].item() : c.real("ratio", 0.5);
  if (training && ratio != 0) refuse("dropout of another random stream");
  return {c.x[0].clone(), ones(c.x[0].shape()).to(DType::boolean)};
}

// --- Losses ---

Reduction reduction(const OnnxCall& c) {
  const std::string word = c.word("reduction", "mean");
  return word == "mean" ? Reduction::mean : word == "sum" ? Reduction::sum : Reduction::none;
}
Tensors nll(const OnnxCall& c) {
  NllLossOptions o;
  o.reduction = reduction(c);
  if (c.has(2)) o.weight = c.x[2];
  if (c.given("ignore_index")) o.ignore_index = c.integer("ignore_index", 0);
  return {nll_loss(c.x[0], c.x[1], o)};
}
Tensors softmax_cross_entropy(const OnnxCall& c) {
  CrossEntropyOptions o;
  o.reduction = reduction(c);
  if (c.has(2)) o.weight = c.x[2];
  if (c.given("ignore_index")) o.ignore_index = c.integer("ignore_index", 0);
  return {cross_entropy(c.x[0], c.x[1], o), log_softmax(c.x[0], 1)};
}
Tensors matrix_product(const OnnxCall& c) { return {matmul(c.x[0], c.x[1])}; }

}  // namespace

const Functions& network() {
  static const Functions table{
      {"BatchNormalization", batch_norm_of},
      {"Dropout", dropout_of},
      {"Gemm", gemm},
      {"GroupNormalization", group_norm_of},
      {"InstanceNormalization", instance_norm_of},
      {"LayerNormalization", layer_norm_of},
      {"LogSoftmax", along<log_softmax>},
      {"MatMul", matrix_product},
      {"MeanVarianceNormalization", mean_variance},
      {"NegativeLogLikelihoodLoss", nll},
      {"RMSNormalization", rms_norm_of},
      {"Softmax", along<softmax>},
      {"SoftmaxCrossEntropyLoss", softmax_cross_entropy},
  };
  return table;
}

}  // namespace judges
