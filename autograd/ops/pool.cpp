#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/pool.h>
#include <loupe/core/kernels/pool/pool.h>

#include <algorithm>
#include <type_traits>

namespace loupe {
namespace {

using kernels::PoolShape;

// What forward, backward and second derivative share.
struct Pooling {
  PoolShape shape;
  std::shared_ptr<Storage> indices;  // int32, of max pooling
  const char* label = "";
  // The options behind the windows, by name; an adaptive pooling has none.
  Size2 kernel = 0, stride = 0, padding = 0, dilation = 1;
  bool count_include_pad = false, ceil_mode = false;

  Shape input() const { return {shape.n, shape.c, shape.h, shape.w}; }
  Shape output() const {
    return {shape.n, shape.c, static_cast<int64_t>(shape.rows.size()),
            static_cast<int64_t>(shape.columns.size())};
  }
  int32_t* places() const { return static_cast<int32_t*>(indices->data()); }
};

// Once the windows (and the places of the maxima) are fixed, pooling is linear: `pooled` and
// `spread` are transposes of each other, and each is the other's derivative.
Tensor pooled(In x, const std::shared_ptr<const Pooling>& p);
// Finds the maxima of x's windows, which p then holds.
Tensor max_pooled(In x, const std::shared_ptr<Pooling>& p);
Tensor spread(In dy, const std::shared_ptr<const Pooling>& p);

struct PoolNode final : Node {
  std::shared_ptr<const Pooling> p;
  const char* name() const override { return p->label; }
  Attributes attributes() const override {
    if (p->kernel.h == 0) return {{"output", Dims{p->output()[2], p->output()[3]}}};
    return {{"kernel", Dims{p->kernel.h, p->kernel.w}},
            {"stride", Dims{p->stride.h, p->stride.w}},
            {"padding", Dims{p->padding.h, p->padding.w}},
            {"dilation", Dims{p->dilation.h, p->dilation.w}},
            {"ceil_mode", p->ceil_mode},
            {"count_include_pad", p->count_include_pad}};
  }
  Tensors replay(const Tensors& x) const override {
    return {p->indices ? max_pooled(x[0], std::make_shared<Pooling>(*p)) : pooled(x[0], p)};
  }
  Tensors backward(const Tensors& dy) override { return {spread(dy[0], p)}; }
};

struct SpreadNode final : Node {
  std::shared_ptr<const Pooling> p;
  const char* name() const override { return "pool_backward"; }
  Tensors replay(const Tensors& dy) const override { return {spread(dy[0], p)}; }
  Tensors backward(const Tensors& g) override { return {pooled(g[0], p)}; }
};

Tensor recorded(In x, Tensor y, const std::shared_ptr<const Pooling>& p) {
  if (auto n = record<PoolNode>({x}, y)) n->p = p;
  return y;
}

Tensor pooled(In x, const std::shared_ptr<const Pooling>& p) {
  const Tensor in = raw::channels_last(x), y = raw::empty_channels_last(p->output(), x->dtype());
  dispatch_floating(x->dtype(), p->label, [&]<class T>(Type<T>) {
    if (p->indices) kernels::max_pool_gather(p->shape, in.ptr<T>(), p->places(), y.ptr<T>());
    else kernels::avg_pool(p->shape, in.ptr<T>(), y.ptr<T>());
  });
  return recorded(x, y, p);
}

Tensor spread(In dy, const std::shared_ptr<const Pooling>& p) {
  const Tensor g = raw::channels_last(dy);
  Tensor dx = raw::empty_channels_last(p->input(), dy->dtype());
  dispatch_floating(dy->dtype(), p->label, [&]<class T>(Type<T>) {
    if (p->indices) kernels::max_pool_backward(p->shape, g.ptr<T>(), p->places(), dx.ptr<T>());
    else kernels::avg_pool_backward(p->shape, g.ptr<T>(), dx.ptr<T>());
  });
  if (auto n = record<SpreadNode>({dy}, dx)) n->p = p;
  return dx;
}

// x has rank 4. Checks, and lays out the windows.
std::shared_ptr<Pooling> plan(const char* op, const Tensor& x, Size2 kernel, const Pool2dArgs& a) {
  const auto text = [](Size2 v) { return fmt::format("({}, {})", v.h, v.w); };
  const Size2 stride = a.stride.value_or(kernel), padding = a.padding, dilation = a.dilation;
  if (kernel.h < 1 || kernel.w < 1)
    fail<ValueError>("{}: the kernel must be at least 1, got {}", op, text(kernel));
  if (stride.h < 1 || stride.w < 1)
    fail<ValueError>("{}: stride must be at least 1, got {}", op, text(stride));
  if (dilation.h < 1 || dilation.w < 1)
    fail<ValueError>("{}: dilation must be at least 1, got {}", op, text(dilation));
  const Size2 window{dilation.h * (kernel.h - 1) + 1, dilation.w * (kernel.w - 1) + 1};
  if (padding.h < 0 || padding.w < 0 || 2 * padding.h > window.h || 2 * padding.w > window.w)
    fail<ValueError>("{}: padding must be between 0 and half the window {}, got {}", op,
                     text(window), text(padding));
  const int64_t h = x.size(2), w = x.size(3);
  if (h + 2 * padding.h < window.h || w + 2 * padding.w < window.w)
    fail<ShapeError>("{}: the window is {}, larger than the padded input of ({}, {})", op,
                     text(window), h + 2 * padding.h, w + 2 * padding.w);
  auto p = std::make_shared<Pooling>();
  const auto along = [&](int64_t size, int64_t k, int64_t s, int64_t pad, int64_t d) {
    const auto list = kernels::windows(size, {.kernel = k,
                                              .stride = s,
                                              .padding = pad,
                                              .dilation = d,
                                              .ceil_mode = a.ceil_mode,
                                              .count_include_pad = a.count_include_pad});
    for (const kernels::Range& r : list)
      if (r.begin >= r.end)
        fail<ShapeError>("{}: a window lies in the padding alone: size {}, padding {}, dilation {}",
                         op, size, pad, d);
    return list;
  };
  p->shape = {x.size(0),
              h,
              w,
              x.size(1),
              along(h, kernel.h, stride.h, padding.h, dilation.h),
              along(w, kernel.w, stride.w, padding.w, dilation.w),
              0};
  p->label = op;
  p->kernel = kernel;
  p->stride = stride;
  p->padding = padding;
  p->dilation = dilation;
  p->ceil_mode = a.ceil_mode;
  return p;
}

Tensor max_pooled(In x, const std::shared_ptr<Pooling>& p) {
  const Tensor in = raw::channels_last(x), y = raw::empty_channels_last(p->output(), x->dtype());
  p->indices = std::make_shared<Storage>(static_cast<size_t>(y.numel()) * sizeof(int32_t));
  dispatch_floating(x->dtype(), p->label, [&]<class T>(Type<T>) {
    kernels::max_pool(p->shape, in.ptr<T>(), y.ptr<T>(), p->places());
  });
  return recorded(x, y, p);
}

Tensor max_pool(const char* op, In x, Size2 kernel, const Pool2dArgs& a,
                std::shared_ptr<Pooling>* kept = nullptr) {
  const auto p = plan(op, x, kernel, a);
  if (p->shape.h * p->shape.w > INT32_MAX)
    fail<ShapeError>("{}: an image of shape {} is too large", op, x->shape());
  if (kept) *kept = p;
  return max_pooled(x, p);
}

// The maxima and their places, of an image of rank 4.
PoolResult with_indices(const char* op, In x, Size2 kernel, const Pool2dArgs& a) {
  std::shared_ptr<Pooling> p;
  const Tensor y = max_pool(op, x, kernel, a, &p);
  const Tensor indices = raw::empty_channels_last(p->output(), DType::i64);
  std::copy_n(p->places(), y.numel(), indices.ptr<int64_t>());
  return {y, indices};
}

Tensor avg_pool(const char* op, In x, Size2 kernel, const Pool2dArgs& a) {
  if (a.dilation != Size2(1))
    fail<ValueError>("{}: averages have no dilation, got ({}, {})", op, a.dilation.h, a.dilation.w);
  const auto p = plan(op, x, kernel, a);
  p->count_include_pad = a.count_include_pad;
  return pooled(x, p);
}

Tensor adaptive(const char* op, In x, Size2 output) {
  if (output.h < 1 || output.w < 1)
    fail<ValueError>("{}: the output must be at least 1, got ({}, {})", op, output.h, output.w);
  if (x->size(2) < 1 || x->size(3) < 1)
    fail<ShapeError>("{}: the input has no positions: {}", op, x->shape());
  auto p = std::make_shared<Pooling>();
  p->shape = {x->size(0),
              x->size(2),
              x->size(3),
              x->size(1),
              kernels::adaptive_windows(x->size(2), output.h),
              kernels::adaptive_windows(x->size(3), output.w),
              0};
  p->label = op;
  return pooled(x, p);
}

void check_rank(const char* op, const Tensor& x, int rank) {
  if (x.dim() != rank && x.dim() != rank - 1)
    fail<ShapeError>("{}: expected an input of shape {}, got {}", op,
                     rank == 4 ? "(N, C, H, W) or (C, H, W)" : "(N, C, L) or (C, L)", x.shape());
}

// An image of rank 4 for f, whatever dimensions x lacks: rows in the 1-d forms, the batch. The
// result loses them again.
struct AsImage {
  bool batch, row;
  Tensor put(Tensor x) const {
    if (batch) x = x.unsqueeze(0);
    return row ? x.unsqueeze(2) : x;
  }
  Tensor take(Tensor y) const {
    if (row) y = y.squeeze(2);
    return batch ? y.squeeze(0) : y;
  }
};
template <class F> auto as_image(const char* op, In x, int rank, const F& f) {
  check_rank(op, x, rank);
  SiteScope site(x.here);
  const AsImage lacks{x->dim() == rank - 1, rank == 3};
  auto y = f(lacks.put(x));
  if constexpr (std::is_same_v<decltype(y), Tensor>) return lacks.take(y);
  else return PoolResult{lacks.take(y.values), lacks.take(y.indices)};
}

// The 1-d forms are the 2-d ones on images of one row.
Pool2dArgs on_one_row(const Pool1dArgs& a, int64_t kernel) {
  return {.stride = Size2(1, a.stride.value_or(kernel)),
          .padding = {0, a.padding},
          .count_include_pad = a.count_include_pad,
          .ceil_mode = a.ceil_mode,
          .dilation = {1, a.dilation}};
}

}  // namespace

Tensor max_pool1d(In x, int64_t kernel, Pool1dArgs a) {
  return as_image("max_pool1d", x, 3, [&](const Tensor& image) {
    return max_pool("max_pool1d", image, {1, kernel}, on_one_row(a, kernel));
  });
}
Tensor max_pool2d(In x, Size2 kernel, Pool2dArgs a) {
  return as_image("max_pool2d", x, 4,
                  [&](const Tensor& image) { return max_pool("max_pool2d", image, kernel, a); });
}
PoolResult max_pool1d_with_indices(In x, int64_t kernel, Pool1dArgs a) {
  return as_image("max_pool1d_with_indices", x, 3, [&](const Tensor& image) {
    return with_indices("max_pool1d_with_indices", image, {1, kernel}, on_one_row(a, kernel));
  });
}
PoolResult max_pool2d_with_indices(In x, Size2 kernel, Pool2dArgs a) {
  return as_image("max_pool2d_with_indices", x, 4, [&](const Tensor& image) {
    return with_indices("max_pool2d_with_indices", image, kernel, a);
  });
}

Tensor avg_pool1d(In x, int64_t kernel, Pool1dArgs a) {
  return as_image("avg_pool1d", x, 3, [&](const Tensor& image) {
    return avg_pool("avg_pool1d", image, {1, kernel}, on_one_row(a, kernel));
  });
}
Tensor avg_pool2d(In x, Size2 kernel, Pool2dArgs a) {
  return as_image("avg_pool2d", x, 4,
                  [&](const Tensor& image) { return avg_pool("avg_pool2d", image, kernel, a); });
}

Tensor adaptive_avg_pool1d(In x, int64_t output) {
  return as_image("adaptive_avg_pool1d", x, 3, [&](const Tensor& image) {
    return adaptive("adaptive_avg_pool1d", image, {1, output});
  });
}
Tensor adaptive_avg_pool2d(In x, Size2 output) {
  return as_image("adaptive_avg_pool2d", x, 4, [&](const Tensor& image) {
    return adaptive("adaptive_avg_pool2d", image, output);
  });
}

}  // namespace loupe
