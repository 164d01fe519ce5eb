#include <loupe/autograd/ops.h>
#include <loupe/layers/small_batch.h>

namespace loupe {
namespace {

void check_rank(const std::string& layer, const Tensor& x, int rank, int64_t channels) {
  const bool fits = rank == 1 ? x.dim() == 2 || x.dim() == 3 : x.dim() == 4;
  if (!fits || x.size(1) != channels)
    fail<ShapeError>("{}: expected {}, got {}", layer,
                     rank == 1 ? fmt::format("(N, {0}) or (N, {0}, L)", channels)
                               : fmt::format("(N, {}, H, W)", channels),
                     x.shape());
}

const BatchRenormOptions& checked(const char* layer, int64_t num_features,
                                  const BatchRenormOptions& o) {
  if (num_features < 1)
    fail<ValueError>("{}: num_features must be at least 1, got {}", layer, num_features);
  if (!(o.eps >= 0)) fail<ValueError>("{}: eps must not be negative, got {}", layer, o.eps);
  if (!(o.momentum >= 0 && o.momentum <= 1))
    fail<ValueError>("{}: momentum must lie in [0, 1], got {}", layer, o.momentum);
  if (!(o.r_max >= 1 && o.d_max >= 0))
    fail<ValueError>("{}: r_max must be at least 1 and d_max at least 0, got {} and {}", layer,
                     o.r_max, o.d_max);
  return o;
}

// How far a batch's statistics are from the running ones, as factor and shift.
struct Correction {
  Tensor r, d;
};

}  // namespace

template <int kRank>
GhostBatchNorm<kRank>::GhostBatchNorm(int64_t num_features, Options o)
    : BatchNormState(kRank == 1 ? "GhostBatchNorm1d" : "GhostBatchNorm2d", num_features,
                     o.batch_norm),
      virtual_batch_size(o.virtual_batch_size) {
  if (virtual_batch_size < 1)
    fail<ValueError>("{}: virtual_batch_size must be at least 1, got {}", type_name(),
                     virtual_batch_size);
  if (o.batch_norm.axis != 1)
    fail<ValueError>("{}: the channels are dimension 1, got axis {}", type_name(),
                     o.batch_norm.axis);
}

// Before any piece has moved the running averages.
template <int kRank> void GhostBatchNorm<kRank>::check_last_piece(const Tensor& x) const {
  Shape last = x.shape();
  last[0] = (x.size(0) - 1) % virtual_batch_size + 1;
  if (options.convention == NormConvention::torch && last.numel() == x.size(1))
    fail<ValueError>(
        "{}: expected more than 1 value per channel when training, got a last piece of shape {}",
        type_name(), last);
}

template <int kRank> Tensor GhostBatchNorm<kRank>::forward(In x) {
  SiteScope site(x.here);
  const bool ranks = kRank == 1 ? x->dim() == 2 || x->dim() == 3 : x->dim() == 4;
  if (!ranks)
    fail<ShapeError>("{}: expected {}, got {}", type_name(),
                     kRank == 1 ? "(N, C) or (N, C, L)" : "(N, C, H, W)", x->shape());
  const bool training = this->is_training();
  const auto normalized = [&](const Tensor& piece) {
    Tensor y = batch_norm(piece, weight, bias, args(training));
    count(training);
    return y;
  };
  if (!training || x->size(0) <= virtual_batch_size) return normalized(x);
  check_last_piece(x);
  std::vector<Tensor> pieces = split(x, virtual_batch_size);
  for (Tensor& piece : pieces) piece = normalized(piece);
  return cat(pieces);
}

template <int kRank> std::string GhostBatchNorm<kRank>::describe() const {
  return fmt::format("{}, pieces of {}", text(), virtual_batch_size);
}

template class GhostBatchNorm<1>;
template class GhostBatchNorm<2>;

template <int kRank>
BatchRenorm<kRank>::BatchRenorm(int64_t num_features, Options o)
    : options(checked(kRank == 1 ? "BatchRenorm1d" : "BatchRenorm2d", num_features, o)),
      running_mean(zeros({num_features})),
      running_std(ones({num_features})) {
  if (!o.affine) return;
  weight = ones({num_features}).requires_grad_();
  bias = zeros({num_features}).requires_grad_();
}

namespace {

// Of the batch, and the running averages moved on by it.
Correction correction(const Tensor& x, const BatchRenormOptions& o, const Tensor& running_mean,
                      const Tensor& running_std) {
  NoGrad guard;
  Dims axes{0};
  for (int i = 2; i < x.dim(); ++i) axes.push_back(i);
  const Tensor mean = loupe::mean(x.detach(), axes);
  const Tensor std = sqrt(var(x.detach(), axes, 0) + o.eps);
  Correction c{clamp(std / running_std, 1 / o.r_max, o.r_max),
               clamp((mean - running_mean) / running_std, -o.d_max, o.d_max)};
  running_mean.add_(o.momentum * (mean - running_mean));
  running_std.add_(o.momentum * (std - running_std));
  return c;
}

}  // namespace

template <int kRank> Tensor BatchRenorm<kRank>::forward(In x) {
  SiteScope site(x.here);
  check_rank(type_name(), x, kRank, running_mean.size(0));
  if (!this->is_training())
    return batch_norm(x, weight, bias,
                      {.running_mean = running_mean,
                       .running_var = square(running_std),
                       .training = false,
                       .eps = 0});
  if (x->numel() <= x->size(1))
    fail<ValueError>("{}: needs more than one value a channel in training, got {}", type_name(),
                     x->shape());
  const Correction c = correction(x, options, running_mean, running_std);
  const BatchNormArgs of_batch{.training = true, .eps = options.eps};
  if (!weight.defined()) return batch_norm(x, c.r, c.d, of_batch);
  return batch_norm(x, weight * c.r, weight * c.d + bias, of_batch);
}

template <int kRank> std::string BatchRenorm<kRank>::describe() const {
  return fmt::format("{}, r_max {}, d_max {}", running_mean.size(0), options.r_max, options.d_max);
}

template class BatchRenorm<1>;
template class BatchRenorm<2>;

}  // namespace loupe
