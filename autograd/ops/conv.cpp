#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/conv.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/kernels/matmul/gemm.h>

namespace loupe {
namespace {

using kernels::ConvShape;

// A convolution is linear in x and in w, and so are its two gradients: three ops, each the
// derivative of the others.
Tensor convolve(In x, In w, In bias, const ConvShape& s, const char* label);
Tensor input_gradient(In dy, In w, const ConvShape& s, const char* label = "conv2d_input_gradient");
Tensor weight_gradient(In x, In dy, const ConvShape& s);

struct ConvNode final : Node {
  SavedTensor x{this, "x"}, w{this, "w"};
  ConvShape s;
  const char* label = "conv2d";
  const char* name() const override { return label; }
  Attributes attributes() const override {
    return {{"stride", Dims{s.sh, s.sw}},
            {"padding", Dims{s.ph, s.pw}},
            {"dilation", Dims{s.dh, s.dw}},
            {"groups", s.groups}};
  }
  Tensors replay(const Tensors& in) const override {
    return {convolve(in[0], in[1], in[2], s, label)};
  }
  Tensors backward(const Tensors& dy) override {
    Tensor dx, dw, db;
    const Tensor g =
        grad_enabled() ? dy[0] : raw::channels_last(dy[0]);  // copied once for all three
    if (needs(0)) dx = input_gradient(g, w.get(), s);
    if (needs(1)) dw = weight_gradient(x.get(), g, s);
    if (needs(2) && grad_enabled()) db = g.sum({0, 2, 3});
    else if (needs(2))
      dispatch_floating(g.dtype(), label, [&]<class T>(Type<T>) {
        db = raw::empty({s.o}, g.dtype());
        kernels::column_sums(s.n * s.oh() * s.ow(), s.o, g.ptr<T>(), s.o, db.ptr<T>());
      });
    return {dx, dw, db};
  }
};

struct InputGradientNode final : Node {
  SavedTensor dy{this, "dy"}, w{this, "w"};
  ConvShape s;
  const char* label = "conv2d_input_gradient";
  const char* name() const override { return label; }
  Attributes attributes() const override {
    return {{"stride", Dims{s.sh, s.sw}},
            {"padding", Dims{s.ph, s.pw}},
            {"dilation", Dims{s.dh, s.dw}},
            {"groups", s.groups},
            {"output", Dims{s.h, s.w}}};
  }
  Tensors replay(const Tensors& in) const override {
    return {input_gradient(in[0], in[1], s, label)};
  }
  Tensors backward(const Tensors& g) override {
    return {needs(0) ? convolve(g[0], w.get(), Tensor(), s, "conv2d") : Tensor(),
            needs(1) ? weight_gradient(g[0], dy.get(), s) : Tensor()};
  }
};

struct WeightGradientNode final : Node {
  SavedTensor x{this, "x"}, dy{this, "dy"};
  ConvShape s;
  const char* name() const override { return "conv2d_weight_gradient"; }
  Tensors replay(const Tensors& in) const override { return {weight_gradient(in[0], in[1], s)}; }
  Tensors backward(const Tensors& g) override {
    return {needs(0) ? input_gradient(dy.get(), g[0], s) : Tensor(),
            needs(1) ? convolve(x.get(), g[0], Tensor(), s, "conv2d") : Tensor()};
  }
};

Tensor convolve(In x, In w, In bias, const ConvShape& s, const char* label) {
  Tensor y = raw::empty_channels_last({s.n, s.o, s.oh(), s.ow()}, x->dtype());
  dispatch_floating(x->dtype(), label, [&]<class T>(Type<T>) {
    const Tensor in = raw::channels_last(x), weight = raw::row_major(w);
    const Tensor b = bias.t.defined() ? raw::row_major(bias) : Tensor();
    kernels::conv_forward<T>({.shape = s,
                              .x = in.ptr<T>(),
                              .w = weight.ptr<T>(),
                              .bias = b.defined() ? b.ptr<T>() : nullptr,
                              .y = y.ptr<T>()});
  });
  if (auto n = record<ConvNode>({x, w, bias}, y)) {
    if (n->needs(1)) n->x.input(x);
    if (n->needs(0)) n->w.input(w);
    n->s = s;
    n->label = label;
  }
  return y;
}

Tensor input_gradient(In dy, In w, const ConvShape& s, const char* label) {
  Tensor dx = raw::empty_channels_last({s.n, s.c, s.h, s.w}, dy->dtype());
  dispatch_floating(dy->dtype(), label, [&]<class T>(Type<T>) {
    const Tensor g = raw::channels_last(dy), weight = raw::row_major(w);
    kernels::conv_input_gradient<T>({s, g.ptr<T>(), weight.ptr<T>(), dx.ptr<T>()});
  });
  if (auto n = record<InputGradientNode>({dy, w}, dx)) {
    if (n->needs(1)) n->dy.input(dy);
    if (n->needs(0)) n->w.input(w);
    n->s = s;
    n->label = label;
  }
  return dx;
}

Tensor weight_gradient(In x, In dy, const ConvShape& s) {
  Tensor dw = raw::empty({s.o, s.c / s.groups, s.kh, s.kw}, dy->dtype());
  dispatch_floating(dy->dtype(), "conv2d", [&]<class T>(Type<T>) {
    const Tensor in = raw::channels_last(x), g = raw::channels_last(dy);
    kernels::conv_weight_gradient<T>({s, in.ptr<T>(), g.ptr<T>(), dw.ptr<T>()});
  });
  if (auto n = record<WeightGradientNode>({x, dy}, dw)) {
    if (n->needs(1)) n->x.input(x);
    if (n->needs(0)) n->dy.input(dy);
    n->s = s;
  }
  return dw;
}

void check_size(const char* op, const char* what, Size2 v, int64_t least) {
  if (v.h < least || v.w < least)
    fail<ValueError>("{}: {} must be at least {}, got ({}, {})", op, what, least, v.h, v.w);
}

// A convolution's arguments with its padding as numbers. `same` may ask for one row or column more
// at the end: those are added to x.
struct Padded {
  Tensor x;
  Conv2dArgs args;
};
Padded padded(const char* op, const Tensor& x, const Tensor& w, Conv2dArgs a) {
  if (!a.padding.same) return {x, a};
  if (a.stride != Size2(1))
    fail<ValueError>("{}: padding kSame needs stride 1, got ({}, {})", op, a.stride.h, a.stride.w);
  check_size(op, "dilation", a.dilation, 1);
  const int64_t rows = a.dilation.h * (w.size(2) - 1), columns = a.dilation.w * (w.size(3) - 1);
  a.padding = {rows / 2, columns / 2};
  if (rows % 2 == 0 && columns % 2 == 0) return {x, a};
  return {pad(x, {0, columns % 2, 0, rows % 2}), a};
}

// Everything a caller can get wrong. x and w have rank 4 here.
ConvShape checked(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Conv2dArgs& a) {
  check_size(op, "stride", a.stride, 1);
  check_size(op, "padding", Size2(a.padding.h, a.padding.w), 0);
  check_size(op, "dilation", a.dilation, 1);
  if (a.groups < 1) fail<ValueError>("{}: groups must be at least 1, got {}", op, a.groups);
  for (const Tensor* t : {&w, &bias})
    if (t->defined() && t->dtype() != x.dtype())
      fail<DtypeError>("{}: the input is {}, the {} {}; convert one with to(...)", op, x.dtype(),
                       t == &w ? "weight" : "bias", t->dtype());
  const ConvShape s{x.size(0),   x.size(1),    x.size(2),    x.size(3),  w.size(0),
                    w.size(2),   w.size(3),    a.stride.h,   a.stride.w, a.padding.h,
                    a.padding.w, a.dilation.h, a.dilation.w, a.groups};
  if (s.c % s.groups != 0 || s.o % s.groups != 0)
    fail<ShapeError>("{}: {} input and {} output channels cannot be divided into {} groups", op,
                     s.c, s.o, s.groups);
  if (w.size(1) != s.c / s.groups)
    fail<ShapeError>(
        "{}: a weight of shape {} with groups={} takes {} input channels, the input has {}", op,
        w.shape(), s.groups, w.size(1) * s.groups, s.c);
  if (s.kh < 1 || s.kw < 1)
    fail<ShapeError>("{}: the kernel of a weight of shape {} is empty", op, w.shape());
  if (bias.defined() && bias.shape() != Shape{s.o})
    fail<ShapeError>("{}: expected a bias of shape ({},), got {}", op, s.o, bias.shape());
  if (s.h + 2 * s.ph < s.dh * (s.kh - 1) + 1 || s.w + 2 * s.pw < s.dw * (s.kw - 1) + 1)
    fail<ShapeError>("{}: the kernel spans {} x {}, more than the padded input of {} x {}", op,
                     s.dh * (s.kh - 1) + 1, s.dw * (s.kw - 1) + 1, s.h + 2 * s.ph, s.w + 2 * s.pw);
  return s;
}

// x without a batch dimension gets one for f, and the result loses it.
template <class F> Tensor with_batch(In x, int rank, const F& f) {
  if (x->dim() != rank - 1) return f(x);
  return f(x->unsqueeze(0)).squeeze(0);
}

// x and w have rank 4 here. A transposed convolution is the input gradient of the convolution that
// would give x; its result is that convolution's input.
Tensor transposed(const char* op, const Tensor& input, const Tensor& w, const Tensor& bias,
                  const ConvTranspose2dArgs& a) {
  check_size(op, "stride", a.stride, 1);
  check_size(op, "padding", a.padding, 0);
  check_size(op, "output_padding", a.output_padding, 0);
  check_size(op, "dilation", a.dilation, 1);
  if (a.groups < 1) fail<ValueError>("{}: groups must be at least 1, got {}", op, a.groups);
  if ((a.output_padding.h >= a.stride.h && a.output_padding.h >= a.dilation.h) ||
      (a.output_padding.w >= a.stride.w && a.output_padding.w >= a.dilation.w))
    fail<ValueError>(
        "{}: output_padding ({}, {}) must be smaller than the stride ({}, {}) or the dilation ({}, "
        "{})",
        op, a.output_padding.h, a.output_padding.w, a.stride.h, a.stride.w, a.dilation.h,
        a.dilation.w);
  for (const Tensor* t : {&w, &bias})
    if (t->defined() && t->dtype() != input.dtype())
      fail<DtypeError>("{}: the input is {}, the {} {}; convert one with to(...)", op,
                       input.dtype(), t == &w ? "weight" : "bias", t->dtype());
  if (input.size(1) != w.size(0) || w.size(0) % a.groups != 0)
    fail<ShapeError>("{}: a weight of shape {} with groups={} takes {} input channels, got {}", op,
                     w.shape(), a.groups, w.size(0), input.shape());
  if (w.size(2) < 1 || w.size(3) < 1)
    fail<ShapeError>("{}: the kernel of a weight of shape {} is empty", op, w.shape());
  const int64_t channels = w.size(1) * a.groups;
  if (bias.defined() && bias.shape() != Shape{channels})
    fail<ShapeError>("{}: expected a bias of shape ({},), got {}", op, channels, bias.shape());
  // Output padding beyond a stride: x continues with zeros instead.
  const Size2 more{a.output_padding.h / a.stride.h, a.output_padding.w / a.stride.w};
  const Tensor x = more == Size2(0) ? input : pad(input, {0, more.w, 0, more.h});
  const auto size = [](int64_t n, int64_t stride, int64_t padding, int64_t dilation, int64_t kernel,
                       int64_t extra) {
    return (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra % stride + 1;
  };
  const int64_t rows =
      size(x.size(2), a.stride.h, a.padding.h, a.dilation.h, w.size(2), a.output_padding.h);
  const int64_t columns =
      size(x.size(3), a.stride.w, a.padding.w, a.dilation.w, w.size(3), a.output_padding.w);
  if (rows < 1 || columns < 1 || x.size(2) < 1 || x.size(3) < 1)
    fail<ShapeError>("{}: an input of {} and a padding of ({}, {}) leave nothing: {} x {}", op,
                     input.shape(), a.padding.h, a.padding.w, rows, columns);
  const ConvShape s{x.size(0),   channels,     rows,         columns,    w.size(0),
                    w.size(2),   w.size(3),    a.stride.h,   a.stride.w, a.padding.h,
                    a.padding.w, a.dilation.h, a.dilation.w, a.groups};
  const Tensor y = input_gradient(x, w, s, op);
  return bias.defined() ? y + bias.reshape({channels, 1, 1}) : y;
}

}  // namespace

Tensor conv1d(In x, In weight, In bias, Conv1dArgs args) {
  if (x->dim() != 3 && x->dim() != 2)
    fail<ShapeError>("conv1d: expected an input of shape (N, C, L) or (C, L), got {}", x->shape());
  if (weight->dim() != 3)
    fail<ShapeError>("conv1d: expected a weight of shape (out, in/groups, kernel), got {}",
                     weight->shape());
  SiteScope site(x.here);
  const Tensor kernel = weight->unsqueeze(2);
  ConvPadding padding{0, args.padding.w};
  padding.same = args.padding.same;
  return with_batch(x, 3, [&](const Tensor& batch) {
    const Padded p = padded("conv1d", batch.unsqueeze(2), kernel,
                            {.stride = {1, args.stride},
                             .padding = padding,
                             .dilation = {1, args.dilation},
                             .groups = args.groups});
    const ConvShape s = checked("conv1d", p.x, kernel, bias, p.args);
    return convolve(p.x, kernel, bias, s, "conv1d").squeeze(2);
  });
}

Tensor conv2d(In x, In weight, In bias, Conv2dArgs args) {
  if (x->dim() != 4 && x->dim() != 3)
    fail<ShapeError>("conv2d: expected an input of shape (N, C, H, W) or (C, H, W), got {}",
                     x->shape());
  if (weight->dim() != 4)
    fail<ShapeError>("conv2d: expected a weight of shape (out, in/groups, rows, columns), got {}",
                     weight->shape());
  SiteScope site(x.here);
  return with_batch(x, 4, [&](const Tensor& batch) {
    const Padded p = padded("conv2d", batch, weight, args);
    return convolve(p.x, weight, bias, checked("conv2d", p.x, weight, bias, p.args), "conv2d");
  });
}

Tensor conv_transpose1d(In x, In weight, In bias, ConvTranspose1dArgs args) {
  const char* op = "conv_transpose1d";
  if (x->dim() != 3 && x->dim() != 2)
    fail<ShapeError>("{}: expected an input of shape (N, C, L) or (C, L), got {}", op, x->shape());
  if (weight->dim() != 3)
    fail<ShapeError>("{}: expected a weight of shape (in, out/groups, kernel), got {}", op,
                     weight->shape());
  SiteScope site(x.here);
  return with_batch(x, 3, [&](const Tensor& batch) {
    return transposed(op, batch.unsqueeze(2), weight->unsqueeze(2), bias,
                      {.stride = {1, args.stride},
                       .padding = {0, args.padding},
                       .output_padding = {0, args.output_padding},
                       .groups = args.groups,
                       .dilation = {1, args.dilation}})
        .squeeze(2);
  });
}

Tensor conv_transpose2d(In x, In weight, In bias, ConvTranspose2dArgs args) {
  const char* op = "conv_transpose2d";
  if (x->dim() != 4 && x->dim() != 3)
    fail<ShapeError>("{}: expected an input of shape (N, C, H, W) or (C, H, W), got {}", op,
                     x->shape());
  if (weight->dim() != 4)
    fail<ShapeError>("{}: expected a weight of shape (in, out/groups, rows, columns), got {}", op,
                     weight->shape());
  SiteScope site(x.here);
  return with_batch(x, 4,
                    [&](const Tensor& batch) { return transposed(op, batch, weight, bias, args); });
}

}  // namespace loupe
