#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/kernels/matmul/gemm.h>

namespace loupe {
namespace {

void check_dtypes(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype())
    fail<DtypeError>("{}: element types differ: {} and {}; convert one with to(...)", op, a.dtype(),
                     b.dtype());
}

// Everything before the last two dimensions.
Shape batch_shape(const Tensor& t) {
  Shape s = t.shape();
  s.erase(s.rank() - 1);
  s.erase(s.rank() - 1);
  return s;
}

// The same elements as a matrix of rows.
Tensor as_rows(const Tensor& t) {
  const int64_t columns = t.size(-1);
  int64_t rows = 1;
  for (int i = 0; i + 1 < t.dim(); ++i) rows *= t.shape()[i];
  return t.reshape({rows, columns});
}

// A stack of matrices that a kernel can read: rows or columns of stride 1, others are copied.
struct Stack {
  Tensor t;
  bool trans = false;
  int64_t ld = 0;
  std::vector<int64_t> offsets;

  explicit Stack(const Tensor& from) : t(from) {
    const auto fits = [this](int row,
                             int column) {  // elements of a row are neighbours, rows do not overlap
      const int d = t.dim();
      return (t.strides()[d + column] == 1 || t.shape()[d + column] <= 1) &&
             (t.strides()[d + row] >= t.shape()[d + column] || t.shape()[d + row] <= 1);
    };
    trans = !fits(-2, -1) && fits(-1, -2);
    if (!trans && !fits(-2, -1)) t = raw::row_major(t);
    // The distance of rows. The stride of a single row says nothing, and BLAS wants at least the
    // length of a row.
    const int64_t length = t.size(trans ? -2 : -1);
    ld = t.size(trans ? -1 : -2) > 1 ? t.strides()[t.dim() + (trans ? -1 : -2)] : length;
    ld = std::max(ld, length);
  }

  template <class T> kernels::Operand<T> operand() const { return {t.ptr<T>(), ld, trans}; }

  // Where each matrix of the broadcast batch begins.
  void place(const Shape& batch) {
    const Tensor all = raw::expand(t, [&] {
      Shape s = batch;
      s.push_back(t.size(-2));
      s.push_back(t.size(-1));
      return s;
    }());
    const int64_t count = batch.numel();
    offsets.assign(static_cast<size_t>(count), 0);
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i;
      for (int d = batch.rank() - 1; d >= 0; --d) {
        offsets[static_cast<size_t>(i)] += rest % batch[d] * all.strides()[d];
        rest /= batch[d];
      }
    }
  }
};

// Both of rank 2 or more, checked.
Tensor product(const Tensor& a, const Tensor& b) {
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  const Shape batch = broadcast_shapes(batch_shape(a), batch_shape(b), "matmul");
  Shape shape = batch;
  shape.push_back(m);
  shape.push_back(n);
  const Tensor y = raw::empty(shape, a.dtype());
  dispatch_floating(a.dtype(), "matmul", [&]<class T>(Type<T>) {
    Stack right(b);
    if (batch_shape(b).numel() == 1) {
      // One right matrix for all: the rows of all left matrices follow each other. As one matrix,
      // whose strides count: those of a dimension of size 1 say nothing.
      const Stack left(a.dim() > 2 ? raw::reshape(raw::row_major(a), {m * batch.numel(), k}) : a);
      kernels::gemm<T>({.m = m * batch.numel(),
                        .n = n,
                        .k = k,
                        .a = left.operand<T>(),
                        .b = right.operand<T>(),
                        .c = y.ptr<T>(),
                        .c_stride = n});
      return;
    }
    Stack left(a), out(y);
    left.place(batch);
    right.place(batch);
    out.place(batch);
    kernels::gemm_batch<T>({.gemm = {.m = m,
                                     .n = n,
                                     .k = k,
                                     .a = left.operand<T>(),
                                     .b = right.operand<T>(),
                                     .c = y.ptr<T>(),
                                     .c_stride = n},
                            .count = batch.numel(),
                            .a_offsets = left.offsets.data(),
                            .b_offsets = right.offsets.data(),
                            .c_offsets = out.offsets.data()});
  });
  return y;
}

struct MatmulNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"};
  Shape right;
  const char* name() const override { return "matmul"; }
  Tensors replay(const Tensors& x) const override { return {matmul(x[0], x[1])}; }
  Tensors backward(const Tensors& dy) override {
    Tensor da, db;
    if (needs(0)) da = matmul(dy[0], b.get().t());
    if (needs(1)) {
      // A right matrix shared by the whole batch: its gradient is one product over all rows.
      if (right.rank() == 2) db = matmul(as_rows(a.get()).t(), as_rows(dy[0]));
      else db = matmul(a.get().t(), dy[0]);
    }
    return {da, db};
  }
};

// x op(W) + b over all rows of x: linear() with W stored as (out, in), addmm() with W as (in, out).
struct LinearNode final : Node {
  SavedTensor x{this, "x"}, w{this, "w"};
  bool turned = false;
  const char* name() const override { return turned ? "addmm" : "linear"; }
  Tensors replay(const Tensors& in) const override {
    return {turned ? addmm(in[2], in[0], in[1]) : linear(in[0], in[1], in[2])};
  }
  Tensors backward(const Tensors& dy) override {
    Tensor dx, dw, db;
    if (needs(0)) dx = matmul(dy[0], turned ? w.get().t() : w.get());
    if (!needs(1) && !needs(2)) return {dx, dw, db};
    const Tensor g = as_rows(dy[0]);
    if (grad_enabled()) {
      if (needs(1)) dw = turned ? matmul(as_rows(x.get()).t(), g) : matmul(g.t(), as_rows(x.get()));
      if (needs(2)) db = g.sum({0});
      return {dx, dw, db};
    }
    dispatch_floating(g.dtype(), name(), [&]<class T>(Type<T>) {
      const Tensor dense = raw::row_major(g);
      const int64_t rows = g.size(0), out = g.size(1);
      if (needs(1)) {
        const Tensor rest = raw::row_major(as_rows(x.get())), &left = turned ? rest : dense,
                     &right = turned ? dense : rest;
        dw = raw::empty({left.size(1), right.size(1)}, g.dtype());
        kernels::gemm<T>({.m = left.size(1),
                          .n = right.size(1),
                          .k = rows,
                          .a = {left.ptr<T>(), left.size(1), true},
                          .b = {right.ptr<T>(), right.size(1)},
                          .c = dw.ptr<T>(),
                          .c_stride = right.size(1)});
      }
      if (needs(2)) {
        db = raw::empty({out}, g.dtype());
        kernels::column_sums(rows, out, dense.ptr<T>(), out, db.ptr<T>());
      }
    });
    return {dx, dw, db};
  }
};

Tensor linear_op(const char* op, bool turned, In x, In weight, In bias, bool relu = false) {
  if (weight->dim() != 2)
    fail<ShapeError>("{}: the weight must be {}, got {}", op, turned ? "(in, out)" : "(out, in)",
                     weight->shape());
  const int64_t in = weight->size(turned ? 0 : 1), out = weight->size(turned ? 1 : 0);
  if (x->dim() == 0 || x->size(-1) != in)
    fail<ShapeError>("{}: expected an input of shape (..., {}) for a weight of shape {}, got {}",
                     op, in, weight->shape(), x->shape());
  check_dtypes(op, x, weight);
  if (bias.t.defined()) {
    if (bias->shape() != Shape{out})
      fail<ShapeError>("{}: expected a bias of shape ({},) for a weight of shape {}, got {}", op,
                       out, weight->shape(), bias->shape());
    check_dtypes(op, x, bias);
  }
  Shape shape = x->shape();
  shape[shape.rank() - 1] = out;
  Tensor y = raw::empty(shape, x->dtype());
  // relu's input: of its values nothing is needed, only its place in the graph, unless the forward
  // pass is checked.
  const bool checked = relu && detail::forward_is_checked();
  Tensor z = checked ? raw::empty(shape, x->dtype()) : relu ? raw::reshape(y, shape) : y;
  dispatch_floating(x->dtype(), op, [&]<class T>(Type<T>) {
    const Tensor rows = raw::row_major(x), w = raw::row_major(weight);
    const Tensor b = bias.t.defined() ? raw::row_major(bias) : Tensor();
    const auto run = [&](bool then_relu, const Tensor& to) {
      kernels::gemm<T>({.m = out == 0 ? 0 : to.numel() / out,
                        .n = out,
                        .k = in,
                        .a = {rows.ptr<T>(), in},
                        .b = {w.ptr<T>(), turned ? out : in, !turned},
                        .c = to.ptr<T>(),
                        .c_stride = out,
                        .bias = b.defined() ? b.ptr<T>() : nullptr,
                        .relu = then_relu});
    };
    run(relu, y);
    if (checked) run(false, z);
  });
  if (auto n = record<LinearNode>({x, weight, bias}, z)) {
    if (n->needs(1)) n->x.input(x);
    if (n->needs(0)) n->w.input(weight);
    n->turned = turned;
  }
  if (!relu) return z;
  detail::record_relu({z, x.here.file, x.here.line}, y);
  return y;
}

}  // namespace

Tensor matmul(In a, In b) {
  if (a->dim() == 0 || b->dim() == 0)
    fail<ShapeError>(
        "matmul: needs at least one dimension each, got {} x {}; multiply by a number with *",
        a->shape(), b->shape());
  check_dtypes("matmul", a, b);
  if (a->size(-1) != b->size(b->dim() == 1 ? 0 : -2))
    fail<ShapeError>("matmul: inner dimensions differ: {} x {}", a->shape(), b->shape());
  if (a->dim() == 1 || b->dim() == 1) {
    SiteScope site(a.here);
    const Tensor left = a->dim() == 1 ? a->unsqueeze(0) : a.t,
                 right = b->dim() == 1 ? b->unsqueeze(1) : b.t;
    Tensor y = matmul(left, right);
    if (b->dim() == 1) y = y.squeeze(-1);
    return a->dim() == 1 ? y.squeeze(b->dim() == 1 ? -1 : -2) : y;
  }
  Tensor y = product(a, b);
  if (auto n = record<MatmulNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    if (n->needs(0)) n->b.input(b);
    n->right = b->shape();
  }
  return y;
}

Tensor linear(In x, In weight, In bias) { return linear_op("linear", false, x, weight, bias); }
Tensor linear_relu(In x, In weight, In bias) {
  return linear_op("linear_relu", false, x, weight, bias, true);
}
Tensor addmm(In bias, In x, In weight) { return linear_op("addmm", true, x, weight, bias); }

}  // namespace loupe
