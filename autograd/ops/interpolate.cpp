#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/interpolate.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/pool/interpolate.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

const char* const kOp = "interpolate";

struct Resampling {
  kernels::InterpolateShape shape;
  Interpolation mode = Interpolation::nearest;
  bool align_corners = false;

  Shape input() const { return {shape.n, shape.c, shape.h, shape.w}; }
  Shape output() const {
    return {shape.n, shape.c, static_cast<int64_t>(shape.rows.size()),
            static_cast<int64_t>(shape.columns.size())};
  }
};
using Plan = std::shared_ptr<const Resampling>;

// The op and its transpose: each is the other's derivative.
Tensor resampled(In x, const Plan& p);
Tensor spread(In dy, const Plan& p);

// What each output position takes of the input's: (out, in).
Tensor mixing_matrix(const std::vector<kernels::Mix>& list, int64_t in, DType dtype) {
  const int64_t out = static_cast<int64_t>(list.size());
  std::vector<double> rows(static_cast<size_t>(out * in));
  for (int64_t i = 0; i < out; ++i) {
    const kernels::Mix& mix = list[static_cast<size_t>(i)];
    rows[static_cast<size_t>(i * in + mix.first)] += mix.first_weight;
    rows[static_cast<size_t>(i * in + mix.second)] += mix.second_weight;
  }
  return raw::to(from_data(rows, Shape{out, in}), dtype);
}

struct InterpolateNode final : Node {
  Plan p;
  const char* name() const override { return kOp; }
  Attributes attributes() const override {
    const char* const names[] = {"nearest", "nearest_exact", "linear"};
    return {{"mode", std::string(names[static_cast<int>(p->mode)])},
            {"align_corners", p->align_corners},
            {"rows", mixing_matrix(p->shape.rows, p->shape.h, output_dtype(0))},
            {"columns", mixing_matrix(p->shape.columns, p->shape.w, output_dtype(0))}};
  }
  Tensors replay(const Tensors& x) const override { return {resampled(x[0], p)}; }
  Tensors backward(const Tensors& dy) override { return {spread(dy[0], p)}; }
};

struct SpreadNode final : Node {
  Plan p;
  const char* name() const override { return "interpolate_backward"; }
  Tensors replay(const Tensors& dy) const override { return {spread(dy[0], p)}; }
  Tensors backward(const Tensors& g) override { return {resampled(g[0], p)}; }
};

Tensor resampled(In x, const Plan& p) {
  const Tensor in = raw::channels_last(x);
  Tensor y = raw::empty_channels_last(p->output(), x->dtype());
  dispatch_floating(x->dtype(), kOp, [&]<class T>(Type<T>) {
    kernels::interpolate(p->shape, in.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<InterpolateNode>({x}, y)) n->p = p;
  return y;
}

Tensor spread(In dy, const Plan& p) {
  const Tensor g = raw::channels_last(dy);
  Tensor dx = raw::empty_channels_last(p->input(), dy->dtype());
  dispatch_floating(dy->dtype(), kOp, [&]<class T>(Type<T>) {
    kernels::interpolate_backward(p->shape, g.ptr<T>(), dx.ptr<T>());
  });
  if (auto n = record<SpreadNode>({dy}, dx)) n->p = p;
  return dx;
}

// The step in the input that one step in the output is; given_scale is 0 if the size was given.
template <class T> T step_of(int64_t in, int64_t out, double given_scale, bool align_corners) {
  if (align_corners) return out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
  if (given_scale > 0) return static_cast<T>(1.0 / given_scale);
  return static_cast<T>(in) / static_cast<T>(out);
}

// Where each output position comes from. T is the type in which PyTorch computes positions: float
// for nearest, the image's own for linear.
template <class T>
std::vector<kernels::Mix> table(int64_t in, int64_t out, double given_scale,
                                const InterpolateArgs& a) {
  const T scale = step_of<T>(in, out, given_scale, a.align_corners);
  std::vector<kernels::Mix> list;
  for (int64_t i = 0; i < out; ++i) {
    const T at = static_cast<T>(i);
    if (a.mode != Interpolation::linear) {
      const T from = a.mode == Interpolation::nearest ? at * scale : (at + T(0.5)) * scale;
      const int64_t first = std::min(static_cast<int64_t>(std::floor(from)), in - 1);
      list.push_back({first, first, 1, 0});
      continue;
    }
    const T from = a.align_corners ? at * scale : std::max((at + T(0.5)) * scale - T(0.5), T(0));
    const int64_t first = std::min(static_cast<int64_t>(from), in - 1);
    const T share = std::min(std::max(from - static_cast<T>(first), T(0)), T(1));
    const int64_t second = std::min(first + 1, in - 1);
    if (second == first) list.push_back({first, first, 1, 0});
    else
      list.push_back(
          {first, second, static_cast<double>(T(1) - share), static_cast<double>(share)});
  }
  return list;
}

int64_t scaled(int64_t in, double factor) {
  const double size = std::floor(static_cast<double>(in) * factor);
  return size < 0x1p40 ? static_cast<int64_t>(size) : int64_t{1} << 40;
}

}  // namespace

Tensor interpolate(In x, const InterpolateArgs& a) {
  if (x->dim() != 3 && x->dim() != 4)
    fail<ShapeError>("{}: expected (N, C, H, W) or (N, C, L), got {}", kOp, x->shape());
  if (!is_floating(x->dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", kOp, x->dtype());
  if (a.size.has_value() == a.scale_factor.has_value())
    fail<ValueError>("{}: give either a size or a scale_factor", kOp);
  if (a.scale_factor && !(*a.scale_factor > 0 && std::isfinite(*a.scale_factor)))
    fail<ValueError>("{}: scale_factor {} must be a number above 0", kOp, *a.scale_factor);
  if (a.align_corners && a.mode != Interpolation::linear)
    fail<ValueError>("{}: align_corners is for linear interpolation", kOp);
  SiteScope site(x.here);
  const bool line = x->dim() == 3;
  const Tensor image = line ? x->unsqueeze(2) : x.t;
  const int64_t h = image.size(2), w = image.size(3);
  if (h < 1 || w < 1) fail<ShapeError>("{}: the input has no positions: {}", kOp, x->shape());
  const double factor = a.scale_factor.value_or(0);
  const Size2 out = a.size ? *a.size : Size2(scaled(h, factor), scaled(w, factor));
  const int64_t rows = line ? 1 : out.h;
  if (rows < 1 || out.w < 1)
    fail<ValueError>("{}: the result of {} would be {} x {}", kOp, x->shape(), rows, out.w);
  auto p = std::make_shared<Resampling>();
  p->mode = a.mode;
  p->align_corners = a.align_corners;
  const auto along = [&](int64_t from, int64_t to) {
    const bool wide = a.mode == Interpolation::linear && x->dtype() == DType::f64;
    return wide ? table<double>(from, to, factor, a) : table<float>(from, to, factor, a);
  };
  p->shape = {image.size(0), h, w, image.size(1), {}, along(w, out.w)};
  if (line) p->shape.rows.push_back({});
  else p->shape.rows = along(h, out.h);
  const Tensor y = resampled(image, p);
  return line ? y.squeeze(2) : y;
}

}  // namespace loupe
