// Layer norm and RMS norm: over the last dimensions. Channel norms: norm.cpp.
#include <loupe/autograd/ops/norm.h>
#include <loupe/autograd/ops/norm_parts.h>
#include <loupe/core/kernels/norm/norm.h>

#include <limits>

namespace loupe {
namespace {

using detail::check_eps;
using detail::check_vector;
using detail::data_or_null;
using detail::dense;
using detail::Formula;

// Layer norm (mean defined) and RMS norm.
struct RowNormNode final : Node {
  SavedTensor x{this, "x"}, weight{this, "weight"};
  const char* label = "";
  double eps = 0;
  int axes = 1;
  Tensor mean, rstd;  // (rows)
  const char* name() const override { return label; }
  Attributes attributes() const override { return {{"axes", axes}, {"eps", eps}}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor in = x.get(), w = weight.get();
    const bool need_b = input_count() > 2 && needs(2);
    Tensors out(input_count());
    if (grad_enabled()) {
      Dims last;
      for (int i = in.dim() - axes; i < in.dim(); ++i) last.push_back(i);
      const auto n = static_cast<double>(last_sizes(in).numel());
      const Formula::Result r =
          Formula{last, eps, n, 0, mean.defined()}(in, w.defined() ? dy[0] * w : dy[0]);
      if (needs(0)) out[0] = r.dx;
      if (needs(1)) out[1] = dy[0] * r.xhat;
      if (need_b) out[2] = dy[0];
      return out;
    }
    const Tensor rows = raw::row_major(in), g = raw::row_major(dy[0]), gain = dense(w);
    const Tensor dx = raw::empty(in.shape(), in.dtype());
    const Shape shape = last_sizes(in);
    if (needs(1)) out[1] = raw::empty(shape, in.dtype());
    if (need_b) out[2] = raw::empty(shape, in.dtype());
    const Scratch<double> room(kernels::row_norm_scratch(rstd.numel(), shape.numel()));
    dispatch_floating(in.dtype(), label, [&]<class T>(Type<T>) {
      kernels::row_norm_backward<T>(
          {rstd.numel(), shape.numel(), rows.ptr<T>(), data_or_null<T>(gain)},
          {data_or_null<T>(mean), rstd.ptr<T>()},
          {g.ptr<T>(), dx.ptr<T>(), data_or_null<T>(out[1]), need_b ? out[2].ptr<T>() : nullptr},
          room.data());
    });
    if (needs(0)) out[0] = dx;
    return out;
  }
  Tensors replay(const Tensors& in) const override {
    const Shape shape = last_sizes(in[0]);
    return {mean.defined() ? layer_norm(in[0], shape, in[1], in[2], eps)
                           : rms_norm(in[0], shape, in[1], eps)};
  }

 private:
  // Those that are normalized together.
  Shape last_sizes(const Tensor& t) const {
    Shape sizes;
    for (int i = t.dim() - axes; i < t.dim(); ++i) sizes.push_back(t.shape()[i]);
    return sizes;
  }
};

Tensor row_norm(const char* op, bool centre, In x, const Shape& shape, In weight, In bias,
                double eps) {
  bool fits = !shape.empty() && shape.rank() <= x->dim();
  for (int i = 0; fits && i < shape.rank(); ++i)
    fits = shape[i] == x->shape()[x->dim() - shape.rank() + i];
  if (!fits)
    fail<ShapeError>("{}: the input's last dimensions must be {}, got an input of shape {}", op,
                     shape, x->shape());
  check_eps(op, eps);
  check_vector(op, "weight", weight, shape, x);
  check_vector(op, "bias", bias, shape, x);
  int64_t count = 1;
  for (int i = 0; i + shape.rank() < x->dim(); ++i) count *= x->shape()[i];
  const Tensor rows = raw::row_major(x), rstd = raw::empty({count}, x->dtype());
  const Tensor mean = centre ? raw::empty({count}, x->dtype()) : Tensor();
  const Tensor gain = dense(weight), offset = dense(bias);
  Tensor y = raw::empty(x->shape(), x->dtype());
  dispatch_floating(x->dtype(), op, [&]<class T>(Type<T>) {
    kernels::row_norm<T>(
        {count, shape.numel(), rows.ptr<T>(), data_or_null<T>(gain), data_or_null<T>(offset)}, eps,
        y.ptr<T>(), {data_or_null<T>(mean), rstd.ptr<T>()});
  });
  const auto n =
      centre ? record<RowNormNode>({x, weight, bias}, y) : record<RowNormNode>({x, weight}, y);
  if (!n) return y;
  n->x.input(x);
  if (weight->defined()) n->weight.input(weight);
  n->label = op;
  n->eps = eps;
  n->axes = shape.rank();
  n->mean = mean;
  n->rstd = rstd;
  return y;
}

}  // namespace

Tensor layer_norm(In x, const Shape& shape, In weight, In bias, double eps) {
  return row_norm("layer_norm", true, x, shape, weight, bias, eps);
}

Tensor rms_norm(In x, const Shape& shape, In weight, std::optional<double> eps) {
  const double tiny = x->dtype() == DType::f64 ? std::numeric_limits<double>::epsilon()
                                               : double(std::numeric_limits<float>::epsilon());
  return row_norm("rms_norm", false, x, shape, weight, Tensor(), eps.value_or(tiny));
}

}  // namespace loupe
