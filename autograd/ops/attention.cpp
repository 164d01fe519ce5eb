#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/attention.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/ops/softmax.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/attention/attention.h>

#include <cmath>
#include <limits>

namespace loupe {
namespace {

using kernels::AttentionShape;
using kernels::Heads;

struct Qkv {
  Tensor q, k, v;
};

// The kernels see (batch, heads, rows, columns): one or two dimensions before the last two keep
// their strides, more are merged. Columns must be neighbours.
bool readable(const Tensor& t) {
  return t.dim() <= 4 && (t.strides()[t.dim() - 1] == 1 || t.size(-1) <= 1);
}
Tensor readable_copy(const Tensor& t) { return readable(t) ? t : raw::row_major(t); }

struct Batch {
  int64_t batch = 1, heads = 1;
  explicit Batch(const Shape& s) {
    if (s.rank() == 4) heads = s[1];
    for (int d = 0; d + 2 < s.rank(); ++d)
      if (!(s.rank() == 4 && d == 1)) batch *= s[d];
  }
};

Strides head_strides(const Tensor& t) {  // batch, head, row, column
  const Strides& s = t.strides();
  const int d = t.dim();
  if (d > 4)  // row-major; the strides of dimensions of size 1 say nothing there
    return {t.size(-2) * t.size(-1), 0, t.size(-1), 1};
  const int64_t batch = d == 2 ? 0 : s[0];
  return {batch, d == 4 ? s[1] : 0, s[d - 2], s[d - 1]};
}
template <class T> Heads<T> heads_of(const Tensor& t) {
  const Strides s = head_strides(t);
  return {t.ptr<std::remove_const_t<T>>(), s[0], s[1], s[2]};
}

// A result whose memory runs batch, rows, heads, columns: joining the heads afterwards costs
// nothing.
Tensor heads_together(const Shape& s, DType dtype) {
  if (s.rank() != 4) return raw::empty(s, dtype);
  return raw::transpose(raw::empty({s[0], s[2], s[1], s[3]}, dtype), 1, 2);
}

// (B, T, 3E) as three views (B, heads, T, E / heads). Recorded in grad mode.
Qkv unpack(const Tensor& x, int64_t heads) {
  const int64_t width = x.size(2) / 3;
  const auto part = [&](int64_t i) {
    return x.slice(2, i * width, (i + 1) * width)
        .reshape({x.size(0), x.size(1), heads, width / heads})
        .transpose(1, 2);
  };
  return {part(0), part(1), part(2)};
}

struct Problem {
  AttentionShape shape;
  Tensor mask;  // expanded to (..., L, S); undefined without

  template <class T> AttentionShape of() const {
    AttentionShape s = shape;
    if (!mask.defined()) return s;
    const Strides m = head_strides(mask);
    s.mask = {nullptr, nullptr, m[0], m[1], m[2], m[3]};
    if (mask.dtype() == DType::boolean) s.mask.keep = mask.ptr<bool>();
    else s.mask.add = mask.ptr<T>();
    return s;
  }
};

// The factors of dropout, 0 or 1 / (1 - p), as a constant; undefined without dropout.
Tensor dropout_factors(const AttentionShape& s, const Shape& shape, DType dtype) {
  if (s.dropout == 0) return Tensor();
  Tensor z = raw::empty(shape, dtype);
  dispatch_floating(dtype, "attention",
                    [&]<class T>(Type<T>) { kernels::attention_dropout(s, z.ptr<T>()); });
  return z;
}

// softmax(scale q k^T + mask), of ops.
Tensor weights_of(const Qkv& x, const Problem& p) {
  Tensor scores = matmul(x.q, x.k.transpose(-1, -2)) * p.shape.scale;
  const double inf = std::numeric_limits<double>::infinity();
  if (p.shape.causal) {
    const Tensor seen = raw::compare(raw::Compare::le, arange(x.k.size(-2)),
                                     raw::unsqueeze(arange(x.q.size(-2)), 1));
    scores = masked_fill(scores, logical_not(seen), -inf);
  }
  if (p.mask.defined())
    scores = p.mask.dtype() == DType::boolean ? masked_fill(scores, logical_not(p.mask), -inf)
                                              : scores + p.mask;
  return softmax(scores, -1);
}

// Which of q, k and v need a gradient.
struct Needs {
  bool q = true, k = true, v = true;
};

// The gradients of q, k and v made of ops, to be differentiated again.
Qkv gradients_of(const Qkv& x, const Problem& p, const Tensor& dy, Needs needs) {
  const Tensor w = weights_of(x, p), z = dropout_factors(p.shape, w.shape(), w.dtype());
  Qkv d;
  if (needs.v) d.v = matmul((z.defined() ? w * z : w).transpose(-1, -2), dy);
  if (!needs.q && !needs.k) return d;
  Tensor dw = matmul(dy, x.v.transpose(-1, -2));
  if (z.defined()) dw = dw * z;
  const Tensor ds = w * (dw - (dw * w).sum({-1}, true)) * p.shape.scale;
  if (needs.q) d.q = matmul(ds, x.k);
  if (needs.k) d.k = matmul(ds.transpose(-1, -2), x.q);
  return d;
}

AttentionResult composed(const Qkv& x, const Problem& p) {
  const Tensor w = weights_of(x, p), z = dropout_factors(p.shape, w.shape(), w.dtype());
  return {matmul(z.defined() ? w * z : w, x.v), w};
}

struct AttentionNode final : Node {
  SavedTensor q{this, "q"}, k{this, "k"}, v{this, "v"}, mask{this, "mask"}, y{this, "y"},
      stats{this, "stats"}, weights{this, "weights"};
  AttentionShape shape;
  int64_t packed = 0;  // heads of a packed input, which is q; else 0
  const char* name() const override {
    return packed ? "self_attention" : "scaled_dot_product_attention";
  }
  Attributes attributes() const override {
    return {{"scale", shape.scale},
            {"causal", shape.causal},
            {"dropout", shape.dropout},
            {"mask", mask.get()},
            {"heads", packed}};
  }

  Tensors replay(const Tensors& x) const override {
    Problem p{shape, mask.get()};
    if (p.mask.defined() && p.mask.dtype() != DType::boolean)
      p.mask = raw::to(p.mask, x[0].dtype());
    const Tensor out = composed(packed ? unpack(x[0], packed) : Qkv{x[0], x[1], x[2]}, p).output;
    return {packed ? out.transpose(1, 2).reshape(output_shape(0)) : out};
  }
  Tensors backward(const Tensors& dy) override {
    const Problem p{shape, mask.get()};
    const Tensor whole = q.get();
    const Qkv x = packed ? unpack(whole, packed) : Qkv{whole, k.get(), v.get()};
    const auto heads = [this](const Tensor& t) {
      if (!packed) return t;
      return t.reshape({t.size(0), t.size(1), packed, t.size(2) / packed}).transpose(1, 2);
    };
    const Tensor g = heads(dy[0]);
    if (grad_enabled()) {
      const Needs wanted = packed ? Needs{} : Needs{needs(0), needs(1), needs(2)};
      const Qkv d = gradients_of(x, p, g, wanted);
      if (!packed) return {d.q, d.k, d.v};
      return {cat({d.q, d.k, d.v}, 1).transpose(1, 2).reshape(whole.shape())};
    }
    const Tensor dwhole = packed ? raw::empty(whole.shape(), whole.dtype()) : Tensor();
    const auto like = [](const Tensor& t) { return heads_together(t.shape(), t.dtype()); };
    const Qkv d = packed ? unpack(dwhole, packed) : Qkv{like(x.q), like(x.k), like(x.v)};
    const Tensor up = readable_copy(g), out = heads(y.get().detach());
    const Tensor rq = readable_copy(x.q), rk = readable_copy(x.k), rv = readable_copy(x.v);
    dispatch_floating(whole.dtype(), name(), [&]<class T>(Type<T>) {
      const auto saved = [](const SavedTensor& s) {
        return s.defined() ? s.get().ptr<T>() : nullptr;
      };
      kernels::attention_backward<T>({.shape = p.of<T>(),
                                      .q = heads_of<const T>(rq),
                                      .k = heads_of<const T>(rk),
                                      .v = heads_of<const T>(rv),
                                      .out = heads_of<const T>(out),
                                      .dout = heads_of<const T>(up),
                                      .stats = saved(stats),
                                      .weights = saved(weights),
                                      .dq = heads_of<T>(d.q),
                                      .dk = heads_of<T>(d.k),
                                      .dv = heads_of<T>(d.v)});
    });
    if (packed) return {dwhole};
    // The kernel makes all three in one pass.
    return {needs(0) ? d.q : Tensor(), needs(1) ? d.k : Tensor(), needs(2) ? d.v : Tensor()};
  }
};

Shape batch_shape(const Tensor& t) {
  Shape s = t.shape();
  s.erase(s.rank() - 1);
  s.erase(s.rank() - 1);
  return s;
}
Shape with_batch(Shape s, int64_t rows, int64_t columns) {
  s.push_back(rows);
  s.push_back(columns);
  return s;
}

// Checks shapes and options and draws the dropout; `batch` is the broadcast shape before the last
// two dimensions.
Problem prepare(const char* op, const Qkv& x, const Shape& batch, const AttentionOptions& o) {
  if (x.q.size(-1) != x.k.size(-1))
    fail<ShapeError>("{}: q {} and k {} differ in their last dimension", op, x.q.shape(),
                     x.k.shape());
  if (x.k.size(-2) != x.v.size(-2))
    fail<ShapeError>("{}: k {} and v {} differ in the number of keys", op, x.k.shape(),
                     x.v.shape());
  if (x.k.dtype() != x.q.dtype() || x.v.dtype() != x.q.dtype())
    fail<DtypeError>("{}: element types differ: q {}, k {}, v {}; convert with to(...)", op,
                     x.q.dtype(), x.k.dtype(), x.v.dtype());
  if (!is_floating(x.q.dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, x.q.dtype());
  if (!(o.dropout_p >= 0 && o.dropout_p <= 1))
    fail<ValueError>("{}: dropout_p must lie in [0, 1], got {}", op, o.dropout_p);
  if (o.dropout_p > 0 && !o.rng)
    fail<ValueError>("{}: dropout_p is {}: give an Rng in .rng", op, o.dropout_p);
  const int64_t dim = x.q.size(-1);
  const Shape scores = with_batch(batch, x.q.size(-2), x.k.size(-2));
  const Batch b(scores);
  Problem p;
  p.shape = {
      .batch = b.batch,
      .heads = b.heads,
      .queries = x.q.size(-2),
      .keys = x.k.size(-2),
      .dim = dim,
      .value_dim = x.v.size(-1),
      .scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(std::max<int64_t>(dim, 1)))),
      .causal = o.is_causal,
      .mask = {},
      .dropout = o.dropout_p};
  if (o.attn_mask.defined()) {
    if (o.attn_mask.dtype() != DType::boolean && o.attn_mask.dtype() != x.q.dtype())
      fail<DtypeError>("{}: attn_mask must be bool (true = attend) or {}, got {}", op, x.q.dtype(),
                       o.attn_mask.dtype());
    if (broadcast_shapes(o.attn_mask.shape(), scores, op) != scores)
      fail<ShapeError>("{}: attn_mask {} does not broadcast to the scores {}", op,
                       o.attn_mask.shape(), scores);
    p.mask = o.attn_mask.expand(scores);
    if (scores.rank() > 4) p.mask = contiguous(p.mask);
  }
  if (o.dropout_p > 0) {
    p.shape.key = o.rng->state().key;
    p.shape.counter = o.rng->reserve(kernels::attention_words(p.shape));
  }
  return p;
}

// Runs the kernel on views (..., rows, columns); `out` has its memory already. `inputs` are
// recorded.
template <size_t N>
void run(const Qkv& x, const Problem& p, const Tensor& out, Tensor& y, const In (&inputs)[N],
         int64_t packed) {
  const Tensor q = readable_copy(x.q), k = readable_copy(x.k), v = readable_copy(x.v);
  const Tensor* list[N];
  for (size_t i = 0; i < N; ++i) list[i] = &inputs[i].t;
  const AttentionShape& s = p.shape;
  const bool keep = kernels::attention_keeps_weights(s), recording = should_record(list);
  const DType dtype = x.q.dtype();
  const Tensor weights =
      recording && keep ? raw::empty({s.batch, s.heads, s.queries, s.keys}, dtype) : Tensor();
  const Tensor stats =
      recording && !keep ? raw::empty({s.batch, s.heads, s.queries, 2}, dtype) : Tensor();
  dispatch_floating(dtype, "scaled_dot_product_attention", [&]<class T>(Type<T>) {
    kernels::attention<T>({.shape = p.of<T>(),
                           .q = heads_of<const T>(q),
                           .k = heads_of<const T>(k),
                           .v = heads_of<const T>(v),
                           .out = heads_of<T>(out),
                           .stats = stats.defined() ? stats.ptr<T>() : nullptr,
                           .weights = weights.defined() ? weights.ptr<T>() : nullptr});
  });
  if (auto n = record<AttentionNode>(inputs[0].here, list, std::span<Tensor>(&y, 1))) {
    SavedTensor* const inputs_saved[] = {&n->q, &n->k, &n->v};
    for (size_t i = 0; i < N; ++i) inputs_saved[i]->input(inputs[i]);
    n->y.output(y);
    if (p.mask.defined()) n->mask.input(p.mask);
    if (stats.defined()) n->stats.input(stats);
    if (weights.defined()) n->weights.input(weights);
    n->shape = s;
    n->packed = packed;
  }
}

// The three tensors with their leading dimensions broadcast.
Qkv broadcast(const char* op, const Tensor& q, const Tensor& k, const Tensor& v) {
  for (const Tensor* t : {&q, &k, &v})
    if (t->dim() < 2)
      fail<ShapeError>("{}: q, k and v need at least two dimensions (rows, columns), got {}", op,
                       t->shape());
  if (batch_shape(q) == batch_shape(k) && batch_shape(q) == batch_shape(v)) return {q, k, v};
  const Shape batch =
      broadcast_shapes(broadcast_shapes(batch_shape(q), batch_shape(k), op), batch_shape(v), op);
  const auto to = [&](const Tensor& t) {
    return t.expand(with_batch(batch, t.size(-2), t.size(-1)));
  };
  return {to(q), to(k), to(v)};
}

}  // namespace

Tensor scaled_dot_product_attention(In q, In k, In v, const AttentionOptions& options) {
  SiteScope site(q.here);
  const char* op = "scaled_dot_product_attention";
  const Qkv x = broadcast(op, q, k, v);
  const Shape batch = batch_shape(x.q);
  const Problem p = prepare(op, x, batch, options);
  if (p.mask.defined() && p.mask.requires_grad() && grad_enabled()) return composed(x, p).output;
  Tensor y = heads_together(with_batch(batch, p.shape.queries, p.shape.value_dim), x.q.dtype());
  run(x, p, y, y, {In(x.q), In(x.k), In(x.v)}, 0);
  return y;
}

Tensor self_attention(In qkv, int64_t heads, const AttentionOptions& options) {
  if (qkv->dim() != 3 || qkv->size(2) % 3 != 0 || heads < 1 || qkv->size(2) / 3 % heads != 0)
    fail<ShapeError>("self_attention: needs (batch, time, 3 * heads * width) with {} heads, got {}",
                     heads, qkv->shape());
  SiteScope site(qkv.here);
  const int64_t batch = qkv->size(0), time = qkv->size(1), width = qkv->size(2) / 3;
  const auto parts = [&] { return unpack(qkv, heads); };
  const Qkv x = no_grad(parts);
  const Problem p = prepare("self_attention", x, {batch, heads}, options);
  if (p.mask.defined() && p.mask.requires_grad() && grad_enabled())
    return composed(parts(), p).output.transpose(1, 2).reshape({batch, time, width});
  Tensor y = raw::empty({batch, time, width}, qkv->dtype());
  const Tensor out = raw::transpose(raw::reshape(y, {batch, time, heads, width / heads}), 1, 2);
  run(x, p, out, y, {qkv}, heads);
  return y;
}

AttentionResult attention_with_weights(In q, In k, In v, const AttentionOptions& options) {
  SiteScope site(q.here);
  const char* op = "attention_with_weights";
  const Qkv x = broadcast(op, q, k, v);
  return composed(x, prepare(op, x, batch_shape(x.q), options));
}

}  // namespace loupe
