// The members of Tensor that are recorded, or that guard gradients.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/autograd/ops/views.h>

namespace loupe {

bool Tensor::requires_grad() const {
  return defined() && impl_->meta && impl_->meta->requires_grad;
}
bool Tensor::is_leaf() const { return !impl().meta || !impl_->meta->fn; }

Tensor& Tensor::requires_grad_(bool on, Here /*here*/) {
  if (!is_leaf())
    fail<GradError>(
        "requires_grad_: only a leaf can be marked; this tensor was computed: use detach() first");
  if (on && !is_floating(dtype()))
    fail<DtypeError>("requires_grad_: needs f32 or f64, got {}", dtype());
  if (!impl_->meta) {
    impl_->meta = std::make_shared<GradMeta>();
    impl_->meta->shape = shape();
    impl_->meta->dtype = dtype();
  }
  impl_->meta->requires_grad = on;
  return *this;
}

const Tensor& Tensor::grad() const {
  static const Tensor none;
  return impl().meta ? impl_->meta->grad : none;
}

void Tensor::set_grad(const Tensor& g, Here /*here*/) const {
  if (!impl().meta) {
    if (!g.defined()) return;
    fail<GradError>("set_grad: the tensor needs no gradient; call requires_grad_() first");
  }
  if (g.defined() && (g.shape() != shape() || g.dtype() != dtype()))
    fail<ShapeError>("set_grad: a gradient {} {} for a tensor {} {}", g.dtype(), g.shape(), dtype(),
                     shape());
  impl_->meta->grad = g;
}

void Tensor::set_data(const Tensor& source, Here /*here*/) {
  if (!is_leaf())
    fail<GradError>("set_data: only a leaf's memory can be replaced; this tensor was computed");
  if (source.shape() != shape())
    fail<ShapeError>("set_data: shape {} for a tensor of shape {}", source.shape(), shape());
  if (requires_grad() && !is_floating(source.dtype()))
    fail<DtypeError>("set_data: a tensor that needs a gradient is f32 or f64, not {}",
                     source.dtype());
  // A graph that saved this tensor must notice: the version goes on from the old memory's.
  source.storage()->continue_version(*impl_->storage);
  impl_->storage = source.storage();
  impl_->strides = source.strides();
  impl_->offset = source.offset();
  impl_->dtype = source.dtype();
  if (!impl_->meta) return;
  impl_->meta->dtype = source.dtype();
  if (impl_->meta->grad.defined() && impl_->meta->grad.dtype() != source.dtype())
    impl_->meta->grad = Tensor();
}

Tensor Tensor::detach() const { return raw::view(*this, shape(), strides(), 0); }

Tensor Tensor::reshape(const Shape& s, Here here) const {
  return loupe::reshape({*this, here.file, here.line}, s);
}
Tensor Tensor::flatten(int64_t first, int64_t last, Here here) const {
  const int a = normalize_axis(first, dim(), "flatten"), b = normalize_axis(last, dim(), "flatten");
  if (a > b) fail<ValueError>("flatten: dimension {} comes after {}", first, last);
  Shape s;
  for (int i = 0; i < dim(); ++i) {
    if (i > a && i <= b) s[a] *= shape()[i];
    else s.push_back(shape()[i]);
  }
  return reshape(dim() == 0 ? Shape{1} : s, here);
}
Tensor Tensor::transpose(int64_t axis0, int64_t axis1, Here here) const {
  return loupe::transpose({*this, here.file, here.line}, axis0, axis1);
}
Tensor Tensor::t(Here here) const {
  if (dim() < 2) fail<ShapeError>("t: needs at least two dimensions, got shape {}", shape());
  return transpose(-2, -1, here);
}
Tensor Tensor::permute(const Dims& axes, Here here) const {
  return loupe::permute({*this, here.file, here.line}, axes);
}
Tensor Tensor::slice(int64_t axis, int64_t start, int64_t stop, int64_t step, Here here) const {
  return loupe::slice({*this, here.file, here.line}, axis, start, stop, step);
}
Tensor Tensor::select(int64_t axis, int64_t index, Here here) const {
  return loupe::select({*this, here.file, here.line}, axis, index);
}
Tensor Tensor::expand(const Shape& s, Here here) const {
  return loupe::expand({*this, here.file, here.line}, s);
}
Tensor Tensor::squeeze(std::optional<int64_t> axis, Here here) const {
  return loupe::squeeze({*this, here.file, here.line}, axis);
}
Tensor Tensor::unsqueeze(int64_t axis, Here here) const {
  return loupe::unsqueeze({*this, here.file, here.line}, axis);
}
Tensor Tensor::contiguous(Here here) const {
  return loupe::contiguous({*this, here.file, here.line});
}
Tensor Tensor::sum(const Dims& axes, bool keepdim, Here here) const {
  return loupe::sum({*this, here.file, here.line}, axes, keepdim);
}
Tensor Tensor::mean(const Dims& axes, bool keepdim, Here here) const {
  return loupe::mean({*this, here.file, here.line}, axes, keepdim);
}
Tensor Tensor::to(DType type, Here here) const {
  return loupe::to({*this, here.file, here.line}, type);
}
Tensor Tensor::clone(Here here) const { return loupe::clone({*this, here.file, here.line}); }

namespace {

// In-place functions are not differentiable: they serve optimizers, initialisation, buffers and
// data. `write` does the work; the version moves once it has succeeded.
template <class F>
const Tensor& in_place(const Tensor& t, const char* op, const char* instead, F write) {
  if (grad_enabled() && t.requires_grad())
    fail<GradError>(
        "{}: an in-place change of a tensor that needs a gradient, shape {}; use {}, or a NoGrad "
        "scope",
        op, t.shape(), instead);
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] > 1 && t.strides()[i] == 0)
      fail<ValueError>(
          "{}: an expanded tensor, shape {}, keeps several elements in one place of memory; "
          "clone() it first",
          op, t.shape());
  write();
  t.storage()->bump_version();
  return t;
}

// `src` as it can be read while dst is written: another view of the same memory is copied first.
Tensor apart(const Tensor& src, const Tensor& dst) {
  return src.storage() == dst.storage() && !src.is_same(dst) ? raw::clone(src) : src;
}

}  // namespace

const Tensor& Tensor::copy_(const Tensor& src, Here /*here*/) const {
  return in_place(*this, "copy_", "clone()", [&] { raw::copy(apart(src, *this), *this); });
}
const Tensor& Tensor::fill_(Number value, Here /*here*/) const {
  return in_place(*this, "fill_", "full()", [&] { raw::fill(*this, value); });
}
const Tensor& Tensor::add_(const Tensor& other, Number alpha, Here /*here*/) const {
  return in_place(*this, "add_", "a + b",
                  [&] { raw::add_into(*this, apart(other, *this), alpha); });
}
const Tensor& Tensor::mul_(const Tensor& other, Here /*here*/) const {
  return in_place(*this, "mul_", "a * b", [&] { raw::mul_into(*this, apart(other, *this)); });
}
const Tensor& Tensor::mul_(Number factor, Here /*here*/) const {
  return in_place(*this, "mul_", "a * b", [&] { raw::scale(*this, factor); });
}
const Tensor& Tensor::uniform_(Rng& rng, double low, double high, Here /*here*/) const {
  return in_place(*this, "uniform_", "uniform()",
                  [&] { raw::copy(uniform(rng, shape(), low, high, dtype()), *this); });
}
const Tensor& Tensor::normal_(Rng& rng, double mean, double std, Here /*here*/) const {
  if (!(std >= 0)) fail<ValueError>("normal_: the deviation {} must not be negative", std);
  return in_place(*this, "normal_", "randn()", [&] {
    const Tensor x = randn(rng, shape(), dtype());
    raw::scale(x, std);
    raw::copy(raw::binary(raw::Binary::add, x, mean), *this);
  });
}

}  // namespace loupe
