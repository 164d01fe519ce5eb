#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/conv.h>
#include <loupe/core/kernels/conv.h>
#include <loupe/core/kernels/matmul.h>

namespace loupe {
namespace {

using kernels::ConvShape;

// A convolution is linear in x and in w, and so are its two gradients: three ops, each the
// derivative of the others.
Tensor convolve(In x, In w, In bias, const ConvShape& s, const char* label);
Tensor input_gradient(In dy, In w, const ConvShape& s);
Tensor weight_gradient(In x, In dy, const ConvShape& s);

struct ConvNode final : Node {
  SavedTensor x{this}, w{this};
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
        kernels::column_sums(s.n * s.oh() * s.ow(), s.o, g.ptr<T>(), s.o, db.ptr<T>(), false);
      });
    return {dx, dw, db};
  }
};

struct InputGradientNode final : Node {
  SavedTensor dy{this}, w{this};
  ConvShape s;
  const char* name() const override { return "conv2d_input_gradient"; }
  Tensors replay(const Tensors& in) const override { return {input_gradient(in[0], in[1], s)}; }
  Tensors backward(const Tensors& g) override {
    return {needs(0) ? convolve(g[0], w.get(), Tensor(), s, "conv2d") : Tensor(),
            needs(1) ? weight_gradient(g[0], dy.get(), s) : Tensor()};
  }
};

struct WeightGradientNode final : Node {
  SavedTensor x{this}, dy{this};
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
    kernels::conv_forward(s, in.ptr<T>(), weight.ptr<T>(), b.defined() ? b.ptr<T>() : nullptr,
                          y.ptr<T>());
  });
  if (auto n = record<ConvNode>({x, w, bias}, y)) {
    if (n->needs(1)) n->x.input(x);
    if (n->needs(0)) n->w.input(w);
    n->s = s;
    n->label = label;
  }
  return y;
}

Tensor input_gradient(In dy, In w, const ConvShape& s) {
  Tensor dx = raw::empty_channels_last({s.n, s.c, s.h, s.w}, dy->dtype());
  dispatch_floating(dy->dtype(), "conv2d", [&]<class T>(Type<T>) {
    const Tensor g = raw::channels_last(dy), weight = raw::row_major(w);
    kernels::conv_input_gradient(s, g.ptr<T>(), weight.ptr<T>(), dx.ptr<T>());
  });
  if (auto n = record<InputGradientNode>({dy, w}, dx)) {
    if (n->needs(1)) n->dy.input(dy);
    if (n->needs(0)) n->w.input(w);
    n->s = s;
  }
  return dx;
}

Tensor weight_gradient(In x, In dy, const ConvShape& s) {
  Tensor dw = raw::empty({s.o, s.c / s.groups, s.kh, s.kw}, dy->dtype());
  dispatch_floating(dy->dtype(), "conv2d", [&]<class T>(Type<T>) {
    const Tensor in = raw::channels_last(x), g = raw::channels_last(dy);
    kernels::conv_weight_gradient(s, in.ptr<T>(), g.ptr<T>(), dw.ptr<T>());
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

// Everything a caller can get wrong. x and w have rank 4 here.
ConvShape checked(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Conv2dArgs& a) {
  check_size(op, "stride", a.stride, 1);
  check_size(op, "padding", a.padding, 0);
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

}  // namespace

Tensor conv1d(In x, In weight, In bias, Conv1dArgs args) {
  if (x->dim() != 3)
    fail<ShapeError>("conv1d: expected an input of shape (N, C, L), got {}", x->shape());
  if (weight->dim() != 3)
    fail<ShapeError>("conv1d: expected a weight of shape (out, in/groups, kernel), got {}",
                     weight->shape());
  SiteScope site(x.here);
  const Tensor image = x->unsqueeze(2), kernel = weight->unsqueeze(2);
  const ConvShape s = checked("conv1d", image, kernel, bias,
                              {.stride = {1, args.stride},
                               .padding = {0, args.padding},
                               .dilation = {1, args.dilation},
                               .groups = args.groups});
  return convolve(image, kernel, bias, s, "conv1d").squeeze(2);
}

Tensor conv2d(In x, In weight, In bias, Conv2dArgs args) {
  if (x->dim() != 4)
    fail<ShapeError>("conv2d: expected an input of shape (N, C, H, W), got {}{}", x->shape(),
                     x->dim() == 3 ? "; add the batch dimension with unsqueeze(0)" : "");
  if (weight->dim() != 4)
    fail<ShapeError>("conv2d: expected a weight of shape (out, in/groups, rows, columns), got {}",
                     weight->shape());
  return convolve(x, weight, bias, checked("conv2d", x, weight, bias, args), "conv2d");
}

}  // namespace loupe
