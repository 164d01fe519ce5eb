#include <loupe/autograd/ops/views.h>
#include <loupe/layers/norm.h>

namespace loupe {
namespace {

Tensor parameter(const Shape& shape, double value) { return full(shape, value).requires_grad_(); }

void check_rank(const char* layer, const Tensor& x, std::initializer_list<int> ranks,
                const char* expected) {
  for (int r : ranks)
    if (x.dim() == r) return;
  fail<ShapeError>("{}: expected {}, got {}", layer, expected, x.shape());
}

void check_eps(const char* layer, double eps) {
  if (!(eps >= 0)) fail<ValueError>("{}: eps must not be negative, got {}", layer, eps);
}

void check_sizes(const char* layer, const Shape& shape) {
  for (int64_t n : shape)
    if (n < 1) fail<ValueError>("{}: sizes must be at least 1, got {}", layer, shape);
  if (shape.empty()) fail<ValueError>("{}: normalized_shape is empty", layer);
}

}  // namespace

BatchNormState::BatchNormState(const char* layer, int64_t num_features, BatchNormOptions o)
    : options(o), num_features_(num_features) {
  const bool keras = o.convention == NormConvention::keras3;
  if (num_features < 1)
    fail<ValueError>("{}: num_features must be at least 1, got {}", layer, num_features);
  if (!o.eps) options.eps = keras ? 1e-3 : 1e-5;
  if (!o.momentum.given()) options.momentum = keras ? 0.99 : 0.1;
  const Momentum& momentum = options.momentum;
  check_eps(layer, *options.eps);
  if (!momentum.cumulative() && !(momentum.value() >= 0 && momentum.value() <= 1))
    fail<ValueError>("{}: momentum must lie in [0, 1], got {}", layer, momentum.value());
  if (keras && momentum.cumulative())
    fail<ValueError>("{}: the cumulative average (momentum = nullopt) is torch's, not keras3's",
                     layer);
  if (o.affine) weight = parameter({num_features}, 1);
  if (o.affine && o.bias) bias = parameter({num_features}, 0);
  if (!o.track_running_stats) return;
  running_mean = zeros({num_features});
  running_var = ones({num_features});
  num_batches_tracked = zeros({}, DType::i64);
}

BatchNormArgs BatchNormState::args(bool training, const Tensor& mask) const {
  BatchNormArgs a{.running_mean = running_mean,
                  .running_var = running_var,
                  .training = training || !running_mean.defined(),
                  .eps = *options.eps,
                  .axis = options.axis,
                  .mask = mask,
                  .convention = options.convention,
                  .shares = shares};
  const Momentum& momentum = options.momentum;
  if (!momentum.cumulative())
    a.momentum =
        options.convention == NormConvention::keras3 ? 1 - momentum.value() : momentum.value();
  else if (num_batches_tracked.defined())
    a.momentum = 1 / static_cast<double>(*num_batches_tracked.ptr<int64_t>() + 1);
  return a;
}

void BatchNormState::count(bool training) {
  if (!training || !num_batches_tracked.defined()) return;
  ++*num_batches_tracked.ptr<int64_t>();
  num_batches_tracked.storage()->bump_version();
}

std::string BatchNormState::text() const {
  std::string s = fmt::format("{}", num_features_);
  if (options.convention == NormConvention::keras3) s += ", keras3";
  if (!options.affine) s += ", no affine";
  if (!options.track_running_stats) s += ", no running statistics";
  return s;
}

template <int kRank> Tensor BatchNorm<kRank>::forward(In x, const Tensor& mask) {
  if constexpr (kRank == 1) check_rank("BatchNorm1d", x, {2, 3}, "(N, C) or (N, C, L)");
  else check_rank("BatchNorm2d", x, {4}, "(N, C, H, W)");
  Tensor y = batch_norm(x, weight, bias, args(this->is_training(), mask));
  count(this->is_training());
  return y;
}
template <int kRank> Tensor BatchNorm<kRank>::forward(In x, NormThen then) requires(kRank == 2) {
  check_rank("BatchNorm2d", x, {4}, "(N, C, H, W)");
  Tensor y = (then == NormThen::relu ? batch_norm_relu : batch_norm_relu_max_pool)(
      x, weight, bias, args(this->is_training()));
  count(this->is_training());
  return y;
}
template class BatchNorm<1>;
template class BatchNorm<2>;

InstanceNorm2d::InstanceNorm2d(int64_t num_features, Options o)
    : BatchNormState("InstanceNorm2d", num_features,
                     {.eps = o.eps,
                      .momentum = o.momentum,
                      .affine = o.affine,
                      .track_running_stats = o.track_running_stats,
                      .bias = o.bias}) {}

Tensor InstanceNorm2d::forward(In x) {
  check_rank("InstanceNorm2d", x, {3, 4}, "(N, C, H, W) or (C, H, W)");
  SiteScope site(x.here);
  // As in PyTorch, the count of batches stays 0 here.
  BatchNormArgs a{.running_mean = running_mean,
                  .running_var = running_var,
                  .training = is_training() || !running_mean.defined(),
                  .momentum = options.momentum.value(),
                  .eps = *options.eps};
  if (x->dim() == 4) return instance_norm(x, weight, bias, a);
  return instance_norm(x->unsqueeze(0), weight, bias, a).squeeze(0);
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, Options o)
    : options(o), num_groups(groups), num_channels(channels) {
  if (groups < 1 || channels < 1 || channels % groups != 0)
    fail<ValueError>("GroupNorm: {} channels cannot be split into {} groups", channels, groups);
  check_eps("GroupNorm", o.eps);
  if (o.affine) weight = parameter({channels}, 1);
  if (o.affine && o.bias) bias = parameter({channels}, 0);
}

Tensor GroupNorm::forward(In x) const {
  if (x->dim() < 2 || x->size(1) != num_channels)
    fail<ShapeError>("GroupNorm: expected (N, {}, ...), got {}", num_channels, x->shape());
  return group_norm(x, num_groups, weight, bias, options.eps);
}

std::string GroupNorm::describe() const {
  return fmt::format("{} channels, {} groups", num_channels, num_groups);
}

LayerNorm::LayerNorm(const Shape& shape, Options o) : options(o), normalized_shape(shape) {
  check_sizes("LayerNorm", shape);
  check_eps("LayerNorm", o.eps);
  if (!o.axes.empty() && o.axes.rank() != shape.rank())
    fail<ValueError>("LayerNorm: {} axes for a normalized_shape of {}", o.axes.rank(), shape);
  if (o.elementwise_affine) weight = parameter(shape, 1);
  if (o.elementwise_affine && o.bias) bias = parameter(shape, 0);
}

Tensor LayerNorm::forward(In x) const {
  if (options.axes.empty()) return layer_norm(x, normalized_shape, weight, bias, options.eps);
  SiteScope site(x.here);
  const Dims axes = raw::normalize_axes(options.axes, x->dim(), "LayerNorm");
  Dims order;  // the other dimensions, then ours
  for (int i = 0, next = 0; i < x->dim(); ++i) {
    if (next < axes.rank() && axes[next] == i) ++next;
    else order.push_back(i);
  }
  for (int64_t a : axes) order.push_back(a);
  Dims back = order;
  for (int i = 0; i < order.rank(); ++i) back[static_cast<int>(order[i])] = i;
  return layer_norm(x->permute(order), normalized_shape, weight, bias, options.eps).permute(back);
}

std::string LayerNorm::describe() const {
  const std::string shape = to_string(normalized_shape);
  if (!weight.defined()) return shape + ", no affine";
  return bias.defined() ? shape : shape + ", no bias";
}

RMSNorm::RMSNorm(const Shape& shape, Options o) : options(o), normalized_shape(shape) {
  check_sizes("RMSNorm", shape);
  check_eps("RMSNorm", o.eps.value_or(0));
  if (o.elementwise_affine) weight = parameter(shape, 1);
}

Tensor RMSNorm::forward(In x) const { return rms_norm(x, normalized_shape, weight, options.eps); }

std::string RMSNorm::describe() const {
  return to_string(normalized_shape) + (weight.defined() ? "" : ", no affine");
}

}  // namespace loupe
