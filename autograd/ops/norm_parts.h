#pragma once
// What the sources of the norms share. For the sources of this folder.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/norm.h>

namespace loupe::detail {

// Kernels read weights, biases and gradients one after the other.
inline Tensor dense(const Tensor& t) { return t.defined() ? raw::row_major(t) : t; }
template <class T> T* data_or_null(const Tensor& t) { return t.defined() ? t.ptr<T>() : nullptr; }

// Second derivatives: dx = r (g - <g> - xhat <g xhat>), made of ops. The kernels' formula, with the
// same mask and extra.
struct Formula {
  Dims axes;
  double eps, count, extra = 0;
  bool centre = true;
  Tensor mask = {};               // as x's type, or undefined
  BatchShares* shares = nullptr;  // sums go over all processes

  struct Result {
    Tensor dx, xhat;
  };
  Result operator()(const Tensor& x, const Tensor& g) const {
    const double n = count + extra;
    auto total = [&](const Tensor& t) {
      const Tensor own = t.sum(axes, true);
      return shares ? shares->sum(own) : own;
    };
    auto masked = [&](const Tensor& t) { return mask.defined() ? t * mask : t; };
    const Tensor mean = centre ? total(masked(x)) / n : Tensor();
    Tensor xc = centre ? x - mean : x;
    if (centre && extra == 0) {  // exactly 0 where all elements are equal
      xc = x - mean.detach();
      xc = xc - total(masked(xc)) / n;
    }
    const Tensor r = rsqrt(total(masked(square(xc))) / n + eps);
    const Tensor xhat = xc * r;
    const Tensor sum_gx = total(g * xhat);
    Tensor flow = xhat * sum_gx;
    if (centre) flow = flow + total(g);
    if (extra != 0) flow = flow - r * sum_gx * mean * (extra / n);
    return {r * (g - masked(flow) / n), xhat};
  }
};

inline void check_eps(const char* op, double eps) {
  if (!(eps >= 0)) fail<ValueError>("{}: eps must not be negative, got {}", op, eps);
}

// Weight, bias or running statistics against what x asks for.
inline void check_vector(const char* op, const char* what, const Tensor& t, const Shape& shape,
                         const Tensor& x, bool same_type = true) {
  if (!t.defined()) return;
  if (t.shape() != shape)
    fail<ShapeError>("{}: {} must have shape {} for an input of shape {}, got {}", op, what, shape,
                     x.shape(), t.shape());
  if (same_type ? t.dtype() != x.dtype() : !is_floating(t.dtype()))
    fail<DtypeError>("{}: {} is {}, the input {}; convert one with to(...)", op, what, t.dtype(),
                     x.dtype());
}

}  // namespace loupe::detail
