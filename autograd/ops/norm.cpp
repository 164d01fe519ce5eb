// Channel norms: batch, group and instance norm. Layer and RMS norm: row_norm.cpp.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/norm.h>
#include <loupe/autograd/ops/norm_parts.h>
#include <loupe/autograd/ops/pool.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/norm.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace loupe {
namespace {

using detail::check_eps;
using detail::check_vector;
using detail::data_or_null;
using detail::dense;
using detail::Formula;
using kernels::NormGradients;
using kernels::NormImage;
using kernels::NormInput;
using kernels::NormMoments;
using kernels::NormShape;
using kernels::NormStats;

enum class After { nothing, relu, relu_max_pool };

// x with `axis` last, in row-major memory: no copy if memory was channels-last.
Tensor to_rows(const Tensor& x, int axis) {
  Dims order;
  for (int i = 0; i < x.dim(); ++i)
    if (i != axis) order.push_back(i);
  order.push_back(axis);
  return raw::row_major(raw::permute(x, order));
}
Tensor from_rows(const Tensor& rows, int axis) {
  Dims order;
  for (int i = 0; i + 1 < rows.dim(); ++i) order.push_back(i);
  order.insert(axis, rows.dim() - 1);
  return raw::permute(rows, order);
}

// A channel norm: what forward, backward and replay share.
struct NormRecord {
  const char* label;
  int axis;
  int64_t groups = 0;  // of an image; 0: statistics over all images, a channel at a time
  double eps, count = 0, extra = 0;
  bool constant = false;  // running statistics
  After after = After::nothing;
  Tensor mask;                                 // bool
  Tensor stats;                                // f64 (3, ...): mean, var, rstd
  Tensor running_mean = {}, running_var = {};  // what constant statistics were read from
  std::shared_ptr<BatchShares> shares = {};    // null: x is the whole batch

  NormShape shape(const Tensor& rows) const {
    const int64_t c = rows.size(-1);
    int64_t positions = 1;
    for (int i = groups ? 1 : 0; i + 1 < rows.dim(); ++i) positions *= rows.shape()[i];
    if (groups) return {rows.size(0), positions, c, groups};
    return {1, positions, c, c,
            mask.defined() ? reinterpret_cast<const uint8_t*>(mask.ptr<bool>()) : nullptr};
  }
  double* stat(int i) const { return stats.ptr<double>() + i * stats.size(1); }
  NormMoments moments() const { return {stat(0), stat(1), stat(2)}; }
  NormStats view() const { return {stat(0), stat(2), constant, count, extra}; }
  NormImage image(const Tensor& rows) const { return {rows.size(1), rows.size(2)}; }
  int64_t scratch(const NormShape& s, const Tensor& rows) const {
    const int64_t least = kernels::norm_scratch(s);
    if (after != After::relu_max_pool) return least;
    return std::max(least, kernels::norm_pool_scratch(s, image(rows)));
  }
  // What the kernels read. gain and offset: dense weight and bias, or undefined.
  template <class T>
  NormInput<T> input(const Tensor& rows, const Tensor& gain, const Tensor& offset) const {
    return {shape(rows), rows.ptr<T>(), data_or_null<T>(gain), data_or_null<T>(offset),
            after == After::relu};
  }

  // Statistics of x, unless they are constant and there already; then rstd.
  void measure(const Tensor& rows) {
    const NormShape s = shape(rows);
    if (!constant) {
      stats = raw::empty({3, s.images * s.groups}, DType::f64);
      const Scratch<double> room(kernels::norm_scratch(s));
      dispatch_floating(rows.dtype(), label, [&]<class T>(Type<T>) {
        const NormInput<T> in{.shape = s, .x = rows.ptr<T>()};
        count = kernels::norm_moments(in, extra, moments(), room.data());
      });
      if (shares) merge_moments();
    }
    for (int64_t i = 0; i < stats.size(1); ++i) stat(2)[i] = 1 / std::sqrt(stat(1)[i] + eps);
  }

  // Mean, variance and count of all shares from those of each, in the order of the processes (Chan,
  // Golub and LeVeque 1979).
  void merge_moments() {
    const int64_t c = stats.size(1), row = 2 * c + 1;
    std::vector<double> own(stat(0), stat(0) + 2 * c);
    own.push_back(count);
    const std::vector<double> all = shares->gather(own);
    const int64_t processes = static_cast<int64_t>(all.size()) / row;
    const auto value = [&](int64_t process, int64_t i) {
      return all[static_cast<size_t>(process * row + i)];
    };
    count = 0;
    std::fill_n(stat(0), 2 * c, 0.0);
    for (int64_t p = 0; p < processes; ++p) {
      const double n = value(p, 2 * c);
      if (n == 0) continue;
      count += n;
      for (int64_t i = 0; i < c; ++i) {
        const double delta = value(p, i) - stat(0)[i];
        stat(0)[i] += delta * n / count;
        // stat(1) is a sum of squares here; delta is 0 for the first share.
        stat(1)[i] += value(p, c + i) * n;
        if (count > n) stat(1)[i] += delta * delta * n * (count - n) / count;
      }
    }
    for (int64_t i = 0; i < c && count > 0; ++i) stat(1)[i] /= count;
  }

  Tensor apply(const Tensor& rows, const Tensor& weight, const Tensor& bias) const {
    Shape out = rows.shape();
    if (after == After::relu_max_pool) {
      out[1] /= 2;
      out[2] /= 2;
    }
    const Tensor y = raw::empty(out, rows.dtype()), gain = dense(weight), offset = dense(bias);
    const Scratch<double> room(scratch(shape(rows), rows));
    dispatch_floating(rows.dtype(), label, [&]<class T>(Type<T>) {
      const NormInput<T> in = input<T>(rows, gain, offset);
      if (after == After::relu_max_pool)
        kernels::norm_relu_pool(in, image(rows), view(), y.ptr<T>(), room.data());
      else kernels::norm_apply(in, view(), y.ptr<T>(), room.data());
    });
    return from_rows(y, axis);
  }

  // Both; of groups, the kernel does both to an image while it is in the cache.
  Tensor measure_and_apply(const Tensor& rows, const Tensor& weight, const Tensor& bias) {
    if (groups == 0) {
      measure(rows);
      return apply(rows, weight, bias);
    }
    const NormShape s = shape(rows);
    stats = raw::empty({3, s.images * s.groups}, DType::f64);
    const Tensor y = raw::empty(rows.shape(), rows.dtype());
    const Tensor gain = dense(weight), offset = dense(bias);
    const Scratch<double> room(kernels::norm_scratch(s));
    dispatch_floating(rows.dtype(), label, [&]<class T>(Type<T>) {
      const NormInput<T> in = input<T>(rows, gain, offset);
      count = kernels::norm_forward(in, eps, moments(), y.ptr<T>(), room.data());
    });
    return from_rows(y, axis);
  }

  // Which gradients are wanted.
  struct Needs {
    bool x, weight, bias;
  };

  Tensors gradients(const Tensor& x, const Tensor& upstream, const Tensor& weight,
                    const Tensor& bias, const Needs& needs) const {
    const Tensor rows = to_rows(x, axis), dy = to_rows(upstream, axis);
    const Tensor gain = dense(weight), offset = dense(bias);
    const NormShape s = shape(rows);
    const Tensor dx = needs.x ? raw::empty(rows.shape(), x.dtype()) : Tensor();
    // Of a share, all processes need these two: what flows through the statistics.
    const bool all = shares && !constant;
    const Tensor dw = needs.weight || all ? raw::empty({s.channels}, x.dtype()) : Tensor();
    const Tensor db = needs.bias || all ? raw::empty({s.channels}, x.dtype()) : Tensor();
    const Scratch<double> room(scratch(s, rows));
    NormStats used = view();
    used.constant = constant || all;
    dispatch_floating(x.dtype(), label, [&]<class T>(Type<T>) {
      const NormInput<T> in = input<T>(rows, gain, offset);
      const NormGradients<T> to{dy.ptr<T>(), data_or_null<T>(dx), data_or_null<T>(dw),
                                data_or_null<T>(db)};
      if (after == After::relu_max_pool)
        kernels::norm_relu_pool_backward(in, image(rows), used, to, room.data());
      else kernels::norm_backward(in, used, to, room.data());
    });
    if (all) flow_through_statistics(rows, gain, dw, db, dx);
    return {needs.x ? from_rows(dx, axis) : dx, dw, db};
  }

  // Of a share: dx -= gamma rstd (sum dy + xhat sum dy xhat) / n, with the sums of all processes.
  // dw and db are this one's.
  void flow_through_statistics(const Tensor& rows, const Tensor& gain, const Tensor& dw,
                               const Tensor& db, const Tensor& dx) const {
    const int64_t c = rows.size(-1);
    const size_t row = static_cast<size_t>(2 * c);
    std::vector<double> sums(row);
    for (int64_t i = 0; i < c; ++i) {
      sums[static_cast<size_t>(i)] = element(dw, i);
      sums[static_cast<size_t>(c + i)] = element(db, i);
    }
    const std::vector<double> every = shares->gather(sums);
    std::fill(sums.begin(), sums.end(), 0.0);
    for (size_t i = 0; i < every.size(); ++i) sums[i % row] += every[i];
    if (!dx.defined() || dx.numel() == 0) return;
    dispatch_floating(rows.dtype(), label, [&]<class T>(Type<T>) {
      // dx += (x - center) slope + offset, where center is the mean rounded to T.
      std::vector<T> center(static_cast<size_t>(c)), slope(center), offset(center);
      for (size_t i = 0; i < center.size(); ++i) {
        const int64_t at = static_cast<int64_t>(i);
        const double scale = stat(2)[at] * (gain.defined() ? element(gain, at) : 1) / count;
        const double exact_slope = -scale * stat(2)[at] * sums[i];
        center[i] = static_cast<T>(stat(0)[at]);
        slope[i] = static_cast<T>(exact_slope);
        const double rest = double(center[i]) - stat(0)[at];
        offset[i] = static_cast<T>(rest * exact_slope - scale * sums[i + center.size()]);
      }
      add_lines(rows.ptr<T>(), dx.ptr<T>(), rows.numel() / c, center, slope, offset);
    });
  }
  template <class T>
  static void add_lines(const T* x, T* dx, int64_t n, const std::vector<T>& center,
                        const std::vector<T>& slope, const std::vector<T>& offset) {
    const int64_t c = static_cast<int64_t>(center.size());
    const T *const m = center.data(), *const a = slope.data(), *const b = offset.data();
    const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 15) / c);  // rows of a piece
    parallel_ranges(n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* const in = x + r * c;
        T* const out = dx + r * c;
#pragma omp simd
        for (int64_t i = 0; i < c; ++i) out[i] += (in[i] - m[i]) * a[i] + b[i];
      }
    });
  }
  static double element(const Tensor& t, int64_t i) {
    return t.dtype() == DType::f64 ? t.ptr<double>()[i] : double(t.ptr<float>()[i]);
  }

  // dy at the norm's own output: through relu and pooling, as an op of dy. They are linear once the
  // signs and the places of the maxima are fixed.
  Tensor before_after(const Tensor& x, const Tensor& dy, const Tensor& weight,
                      const Tensor& bias) const {
    if (after == After::nothing) return dy;
    NormRecord alone = *this;
    alone.after = After::nothing;
    const Tensor z = alone.apply(to_rows(x, axis), weight, bias).requires_grad_();
    const Tensor live = relu(z);
    const Tensor y = after == After::relu ? live : max_pool2d(live, 2);
    return grad({y}, {z}, {.create_graph = true}, {dy})[0];
  }

  Tensors gradients_by_ops(const Tensor& x, const Tensor& upstream, const Tensor& weight,
                           const Tensor& bias) const {
    const Tensor dy = before_after(x, upstream, weight, bias);
    Shape along(std::vector<int64_t>(static_cast<size_t>(x.dim()), 1));
    along[axis] = -1;
    Dims others;
    for (int i = 0; i < x.dim(); ++i)
      if (i != axis) others.push_back(i);
    const Tensor g = weight.defined() ? dy * weight.reshape(along) : dy;
    Formula::Result r;
    if (constant) {
      auto stat_of = [&](int i) {
        return raw::to(raw::select(stats, 0, i), x.dtype()).reshape(along);
      };
      r = {g * stat_of(2), (x - stat_of(0)) * stat_of(2)};
    } else if (groups) {
      const Shape grouped{x.size(0), groups, x.numel() / std::max<int64_t>(x.size(0) * groups, 1)};
      r = Formula{{2}, eps, count}(x.reshape(grouped), g.reshape(grouped));
      r = {r.dx.reshape(x.shape()), r.xhat.reshape(x.shape())};
    } else {
      const Tensor weights =
          mask.defined() ? raw::unsqueeze(raw::to(mask, x.dtype()), axis) : Tensor();
      r = Formula{others, eps, count, extra, true, weights, shares.get()}(x, g);
    }
    return {r.dx, (dy * r.xhat).sum(others), dy.sum(others)};
  }
};

Tensor finish(const NormRecord& norm, Tensor y, In x, In weight, In bias);

struct ChannelNormNode final : Node {
  SavedTensor x{this, "x"}, weight{this, "weight"}, bias{this, "bias"};
  SavedTensor mask{this, "mask"};  // the norm's: a write to it since is found
  NormRecord norm;
  const char* name() const override { return norm.label; }
  Attributes attributes() const override {
    return {{"axis", norm.axis},
            {"groups", norm.groups},
            {"eps", norm.eps},
            {"constant", norm.constant},
            {"mask", norm.mask},
            {"running_mean", norm.running_mean},
            {"running_var", norm.running_var}};
  }
  Tensors backward(const Tensors& dy) override {
    mask.get();
    if (!grad_enabled())
      return norm.gradients(x.get(), dy[0], weight.get(), bias.get(),
                            {needs(0), needs(1), needs(2)});
    Tensors all = norm.gradients_by_ops(x.get(), dy[0], weight.get(), bias.get());
    for (size_t i = 0; i < all.size(); ++i)
      if (!needs(i)) all[i] = Tensor();
    return all;
  }
  Tensors replay(const Tensors& in) const override {
    if (norm.shares) return {};  // the others would have to replay it at the same moment
    NormRecord again = norm;
    return {finish(again, again.measure_and_apply(to_rows(in[0], norm.axis), in[1], in[2]), in[0],
                   in[1], in[2])};
  }
};

void check_channels(const char* op, const Tensor& x, int axis, const Tensor& weight,
                    const Tensor& bias, const BatchNormArgs& a) {
  const Shape c{x.shape()[axis]};
  check_eps(op, a.eps);
  check_vector(op, "weight", weight, c, x);
  check_vector(op, "bias", bias, c, x);
  check_vector(op, "running_mean", a.running_mean, c, x, false);
  check_vector(op, "running_var", a.running_var, c, x, false);
  if (a.running_mean.defined() != a.running_var.defined())
    fail<ValueError>("{}: give both running_mean and running_var, or neither", op);
  if (!a.training && !a.running_mean.defined())
    fail<ValueError>("{}: without training it needs running_mean and running_var", op);
}

// (channels) of a running buffer = (1 - momentum) running + momentum * value(channel).
template <class F> void update_running(const Tensor& buffer, double momentum, const F& value) {
  dispatch_floating(buffer.dtype(), "batch_norm", [&]<class T>(Type<T>) {
    T* p = buffer.ptr<T>();
    for (int64_t c = 0, step = buffer.strides()[0]; c < buffer.size(0); ++c)
      p[c * step] = static_cast<T>((1 - momentum) * double(p[c * step]) + momentum * value(c));
  });
  buffer.storage()->bump_version();
}

// Records that `norm` made y.
Tensor finish(const NormRecord& norm, Tensor y, In x, In weight, In bias) {
  if (auto n = record<ChannelNormNode>({x, weight, bias}, y)) {
    n->x.input(x);
    if (weight->defined()) n->weight.input(weight);
    if (bias->defined() && norm.after != After::nothing) n->bias.input(bias);
    if (norm.mask.defined()) n->mask.input(norm.mask);
    n->norm = norm;
  }
  return y;
}

void load_running(NormRecord& norm, const BatchNormArgs& a) {
  norm.constant = true;
  norm.running_mean = a.running_mean;
  norm.running_var = a.running_var;
  norm.stats = raw::empty({3, a.running_mean.size(0)}, DType::f64);
  raw::copy(a.running_mean, raw::select(norm.stats, 0, 0));
  raw::copy(a.running_var, raw::select(norm.stats, 0, 1));
}

Tensor batch_norm_then(const char* op, After after, In x, In weight, In bias,
                       const BatchNormArgs& a) {
  if (x->dim() < 2) fail<ShapeError>("{}: expected (N, C) or (N, C, ...), got {}", op, x->shape());
  const int axis = normalize_axis(a.axis, x->dim(), op);
  check_channels(op, x, axis, weight, bias, a);
  if (after == After::relu_max_pool &&
      (x->dim() != 4 || axis != 1 || x->size(2) < 2 || x->size(3) < 2))
    fail<ShapeError>("{}: expected (N, C, H, W) with H and W of 2 or more, got {}", op, x->shape());
  NormRecord norm{.label = op, .axis = axis, .eps = a.eps, .after = after, .mask = {}, .stats = {}};
  if (a.mask.defined() && a.training) {
    Shape positions = x->shape();
    positions.erase(axis);
    if (a.mask.dtype() != DType::boolean)
      fail<DtypeError>("{}: the mask must be bool, got {}", op, a.mask.dtype());
    if (a.mask.shape() != positions)
      fail<ShapeError>("{}: the mask must have the input's shape without the channels, {}, got {}",
                       op, positions, a.mask.shape());
    norm.mask = raw::row_major(a.mask);
    if (a.convention == NormConvention::keras3) norm.extra = 1e-7;
  }
  if (a.training && a.shares) {
    if (norm.mask.defined())
      fail<ValueError>("{}: a mask and shares of a batch exclude each other", op);
    norm.shares = a.shares;
  }
  const Tensor rows = to_rows(x, axis);
  if (!a.training) load_running(norm, a);
  norm.measure(rows);
  if (a.training) {
    const double n = norm.count;
    const bool torch = a.convention == NormConvention::torch;
    if (torch && (n == 1 || (n == 0 && norm.mask.defined() && rows.numel() > 0)))
      fail<ValueError>(
          "{}: expected more than 1 value per channel when training, got {} {}an input of shape {}",
          op, n, norm.shares ? "in all shares together, here " : "of ", x->shape());
    if (a.running_mean.defined() && n > 0) {
      const double unbiased = torch ? n / (n - 1) : 1;
      update_running(a.running_mean, a.momentum, [&](int64_t c) { return norm.stat(0)[c]; });
      update_running(a.running_var, a.momentum,
                     [&](int64_t c) { return norm.stat(1)[c] * unbiased; });
    }
  }
  return finish(norm, norm.apply(rows, weight, bias), x, weight, bias);
}

void check_image(const char* op, const Tensor& x) {
  if (x.dim() < 2) fail<ShapeError>("{}: expected (N, C) or (N, C, ...), got {}", op, x.shape());
}

}  // namespace

Tensor batch_norm(In x, In weight, In bias, const BatchNormArgs& a) {
  return batch_norm_then("batch_norm", After::nothing, x, weight, bias, a);
}
Tensor batch_norm_relu(In x, In weight, In bias, const BatchNormArgs& a) {
  return batch_norm_then("batch_norm_relu", After::relu, x, weight, bias, a);
}
Tensor batch_norm_relu_max_pool(In x, In weight, In bias, const BatchNormArgs& a) {
  return batch_norm_then("batch_norm_relu_max_pool", After::relu_max_pool, x, weight, bias, a);
}

Tensor group_norm(In x, int64_t groups, In weight, In bias, double eps) {
  check_image("group_norm", x);
  if (groups < 1 || x->size(1) % groups != 0)
    fail<ValueError>("group_norm: {} channels cannot be split into {} groups", x->size(1), groups);
  check_channels("group_norm", x, 1, weight, bias, {.eps = eps});
  if (x->numel() == groups)
    fail<ValueError>(
        "group_norm: expected more than 1 value per group, got an input of shape {} and {} groups",
        x->shape(), groups);
  NormRecord norm{
      .label = "group_norm", .axis = 1, .groups = groups, .eps = eps, .mask = {}, .stats = {}};
  return finish(norm, norm.measure_and_apply(to_rows(x, 1), weight, bias), x, weight, bias);
}

Tensor instance_norm(In x, In weight, In bias, const BatchNormArgs& a) {
  check_image("instance_norm", x);
  if (a.axis != 1 || a.mask.defined() || a.convention != NormConvention::torch || a.shares)
    fail<ValueError>("instance_norm: axis, mask, convention and shares must be the defaults");
  check_channels("instance_norm", x, 1, weight, bias, a);
  const int64_t images = x->size(0), channels = x->size(1);
  const int64_t positions = x->numel() / std::max<int64_t>(images * channels, 1);
  if (a.training && positions == 1)
    fail<ValueError>(
        "instance_norm: expected more than 1 position when training, got an input of shape {}",
        x->shape());
  NormRecord norm{.label = "instance_norm",
                  .axis = 1,
                  .groups = a.training ? channels : 0,
                  .eps = a.eps,
                  .mask = {},
                  .stats = {}};
  if (!a.training) load_running(norm, a);
  Tensor y = norm.measure_and_apply(to_rows(x, 1), weight, bias);
  if (a.training && a.running_mean.defined() && x->numel() > 0) {
    const auto n = static_cast<double>(positions);
    auto average = [&](int i, double factor) {
      return [=, &norm](int64_t c) {
        double sum = 0;
        for (int64_t image = 0; image < images; ++image) sum += norm.stat(i)[image * channels + c];
        return sum / static_cast<double>(images) * factor;
      };
    };
    update_running(a.running_mean, a.momentum, average(0, 1));
    update_running(a.running_var, a.momentum, average(1, n / (n - 1)));
  }
  return finish(norm, std::move(y), x, weight, bias);
}

}  // namespace loupe
