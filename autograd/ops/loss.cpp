#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/loss.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/autograd/ops/softmax.h>
#include <loupe/core/kernels/rowwise/loss.h>

#include <algorithm>
#include <limits>

namespace loupe {
namespace {

Tensor reduce(const char* op, const Tensor& loss, Reduction reduction) {
  switch (reduction) {
    case Reduction::none: return loss;
    case Reduction::mean: return loss.mean();
    case Reduction::sum: return loss.sum();
    case Reduction::batchmean: break;
  }
  fail<ValueError>("{}: Reduction::batchmean is kl_div's; use mean, sum or none", op);
}

void check_reduction(const char* op, Reduction reduction) {
  if (reduction == Reduction::batchmean) reduce(op, Tensor(), reduction);
}

// Which axis of the logits counts the classes.
int class_axis(const Tensor& x) { return x.dim() == 1 ? 0 : 1; }

void check_logits(const char* op, const Tensor& x, const Tensor& weight) {
  if (!is_floating(x.dtype()))
    fail<DtypeError>("{}: the logits must be f32 or f64, got {}", op, x.dtype());
  if (x.dim() == 0)
    fail<ShapeError>(
        "{}: the logits must be (C), (N, C) or (N, C, d1, ...), got a tensor without dimensions",
        op);
  if (!weight.defined()) return;
  const int64_t classes = x.size(class_axis(x));
  if (weight.shape() != Shape{classes})
    fail<ShapeError>("{}: weight must have shape {}, one for each class, got {}", op,
                     Shape{classes}, weight.shape());
  if (weight.dtype() != x.dtype())
    fail<DtypeError>("{}: weight is {}, the logits are {}; convert with to(...)", op,
                     weight.dtype(), x.dtype());
  if (weight.requires_grad())
    fail<GradError>("{}: weight is a constant here; pass weight.detach()", op);
}

// Logits, weight and a target of class indices.
void check_classes(const char* op, const Tensor& x, const Tensor& target, const Tensor& weight,
                   int64_t ignore) {
  check_logits(op, x, weight);
  if (target.dtype() != DType::i64)
    fail<DtypeError>(
        "{}: the target must hold class indices in i64, got {} {}; convert with to(DType::i64)", op,
        target.dtype(), target.shape());
  Shape expected = x.shape();
  const int axis = class_axis(x);
  const int64_t classes = expected[axis];
  expected.erase(axis);
  if (target.shape() != expected)
    fail<ShapeError>("{}: logits {} need a target of shape {}, got {}", op, x.shape(), expected,
                     target.shape());
  const Tensor labels = raw::row_major(target);
  for (int64_t i = 0; const int64_t label : labels.data<int64_t>()) {
    if (label != ignore && (label < 0 || label >= classes))
      fail<IndexError>("{}: the label of row {} is {}, outside [0, {}) and not ignore_index {}", op,
                       i, label, classes, ignore);
    ++i;
  }
}

// (C), (N, C) or (N, C, d1, ...) as rows of logits in row-major memory: a reshape may be a view
// that is not.
Tensor as_rows(const Tensor& x) {
  if (x.dim() == 1) return x.reshape({1, x.size(0)}).contiguous();
  if (x.dim() == 2) return x.contiguous();
  Dims axes{0};
  for (int d = 2; d < x.dim(); ++d) axes.push_back(d);
  axes.push_back(1);
  const int64_t classes = x.size(1);
  return x.permute(axes).reshape({classes ? x.numel() / classes : 0, classes}).contiguous();
}

// What each row counts: its label's weight, 0 where ignored. And the labels with 0 for ignored
// ones.
struct Labels {
  Tensor index, weight;
  Labels(const Tensor& target, const Tensor& class_weight, int64_t ignore, DType dtype) {
    const int64_t n = target.numel();
    const Tensor flat = raw::reshape(raw::row_major(target), {n});
    const Tensor counts = raw::compare(raw::Compare::ne, flat, static_cast<double>(ignore));
    index = raw::where(counts, flat, raw::zeros({}, DType::i64));
    weight = raw::to(counts, dtype);
    if (!class_weight.defined()) return;
    NoGrad guard;
    weight = weight *
             (class_weight.numel() ? index_select(class_weight, 0, index) : raw::zeros({n}, dtype));
  }
};

struct CrossEntropyNode final : Node {
  SavedTensor x{this, "x"}, target{this, "target"}, weight{this, "weight"}, stats{this, "stats"};
  kernels::CrossEntropyShape shape;
  bool reduced = true;
  double factor = 1;  // of the sum; where every label is ignored 0, so that none of them counts
  const char* name() const override { return "cross_entropy"; }
  Tensors replay(const Tensors& logits) const override {
    const Tensor w = weight.get();
    const Tensor each = cross_entropy(logits[0], target.get(),
                                      {w.defined() ? raw::to(w, logits[0].dtype()) : w,
                                       shape.ignore_index, Reduction::none, shape.smoothing});
    return {reduced ? each.sum() * factor : each.reshape(output_shape(0))};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor logits = x.get(), labels = target.get(), w = weight.get();
    const int64_t rows = shape.rows;
    const Tensor g = reduced ? dy[0] * factor : dy[0].reshape({rows});
    if (grad_enabled()) return {again(logits, labels, w, g)};
    const Tensor up = raw::row_major(g), dx = raw::empty(logits.shape(), logits.dtype());
    dispatch_floating(logits.dtype(), name(), [&]<class T>(Type<T>) {
      const kernels::CrossEntropyInput<T> in{shape, logits.ptr<T>(), labels.ptr<int64_t>(),
                                             w.defined() ? w.ptr<T>() : nullptr};
      kernels::cross_entropy_backward(in, stats.get().ptr<T>(), {up.ptr<T>(), reduced ? 0 : 1},
                                      dx.ptr<T>());
    });
    return {dx};
  }

  // dx = g (a softmax(x) - k): the weights of all classes, k, and their sum, a, are constants of a
  // row. Of an ignored row neither x nor g count, whatever they hold.
  Tensor again(const Tensor& logits, const Tensor& labels, const Tensor& w, const Tensor& g) const {
    const DType dtype = logits.dtype();
    const Labels l(labels, w, shape.ignore_index, dtype);
    const Tensor all = w.defined() ? w : ones({shape.classes}, dtype), none = zeros({}, dtype);
    const Tensor counts = raw::unsqueeze(
        raw::compare(raw::Compare::ne, labels, static_cast<double>(shape.ignore_index)), 1);
    const double spread = shape.smoothing / static_cast<double>(shape.classes);
    const Tensor k =
        one_hot(l.index, shape.classes, dtype) * l.weight.unsqueeze(1) * (1 - shape.smoothing) +
        raw::to(counts, dtype) * all * spread;
    const Tensor up = where(counts, g.unsqueeze(-1), none);
    return up * (softmax(where(counts, logits, none), 1) * k.sum({1}, true) - k);
  }
};

// The target is a distribution over the classes: made of ops, differentiable by it too.
Tensor of_probabilities(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  check_logits("cross_entropy", logits, o.weight);
  if (target.dtype() != logits.dtype())
    fail<DtypeError>("cross_entropy: the target is {}, the logits are {}; convert with to(...)",
                     target.dtype(), logits.dtype());
  if (o.ignore_index >= 0)
    fail<ValueError>(
        "cross_entropy: ignore_index {} names a class, and the target holds probabilities; give 0 "
        "probability to all classes of such a position",
        o.ignore_index);
  const int axis = class_axis(logits);
  const int64_t classes = logits.size(axis);
  Tensor share = target;
  if (o.label_smoothing > 0)
    share = target * (1 - o.label_smoothing) + o.label_smoothing / static_cast<double>(classes);
  if (o.weight.defined()) {
    Shape along(std::vector<int64_t>(static_cast<size_t>(logits.dim()), 1));
    along[axis] = classes;
    share = share * raw::reshape(o.weight, along);
  }
  const Tensor loss = -(log_softmax(logits, axis) * share).sum({axis});
  if (o.reduction == Reduction::none) return loss;
  const double positions = static_cast<double>(loss.numel());
  return o.reduction == Reduction::sum ? loss.sum() : loss.sum() / positions;
}

}  // namespace

Tensor cross_entropy(In logits, In target, const CrossEntropyOptions& o) {
  check_reduction("cross_entropy", o.reduction);
  if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1))
    fail<ValueError>("cross_entropy: label_smoothing must lie in [0, 1], got {}",
                     o.label_smoothing);
  SiteScope site(logits.here);
  if (is_floating(target->dtype()) && target->shape() == logits->shape())
    return of_probabilities(logits, target, o);
  check_classes("cross_entropy", logits, target, o.weight, o.ignore_index);
  const Tensor x = as_rows(logits), labels = raw::row_major(target);
  const Tensor w = o.weight.defined() ? raw::row_major(o.weight) : Tensor();
  const kernels::CrossEntropyShape shape{x.size(0), x.size(1), o.ignore_index, o.label_smoothing};
  const Tensor stats = raw::empty({shape.rows, 2}, x.dtype()),
               loss = raw::empty({shape.rows}, x.dtype());
  dispatch_floating(x.dtype(), "cross_entropy", [&]<class T>(Type<T>) {
    const kernels::CrossEntropyInput<T> in{shape, x.ptr<T>(), labels.ptr<int64_t>(),
                                           w.defined() ? w.ptr<T>() : nullptr};
    kernels::cross_entropy(in, loss.ptr<T>(), stats.ptr<T>());
  });
  const auto* const t = labels.ptr<int64_t>();
  const int64_t counted = shape.rows - std::count(t, t + shape.rows, o.ignore_index);
  double divisor = 1;
  Tensor y = raw::reshape(loss, target->shape());
  const bool reduced = o.reduction != Reduction::none;
  if (reduced) {
    if (o.reduction == Reduction::mean)
      divisor =
          w.defined()
              ? raw::sum(Labels(labels, w, o.ignore_index, x.dtype()).weight, {}, false).item()
              : static_cast<double>(counted);
    y = raw::sum(loss, {}, false);
    raw::scale(y, 1 / divisor);
  }
  if (auto n = record<CrossEntropyNode>({x}, y)) {
    n->x.input(x);
    n->target.input(raw::reshape(labels, {shape.rows}));
    if (w.defined()) n->weight.input(w);
    n->stats.input(stats);
    n->shape = shape;
    n->reduced = reduced;
    n->factor = counted == 0 ? 0 : 1 / divisor;
  }
  return y;
}

Tensor nll_loss(In log_probabilities, In target, const NllLossOptions& o) {
  check_reduction("nll_loss", o.reduction);
  check_classes("nll_loss", log_probabilities, target, o.weight, o.ignore_index);
  SiteScope site(log_probabilities.here);
  const Tensor x = as_rows(log_probabilities);
  const Labels l(target, o.weight, o.ignore_index, x.dtype());
  // where, not a product with 0: an ignored row may hold -Inf.
  const Tensor picked = x.size(1) ? gather(x, 1, l.index.unsqueeze(1)).squeeze(1)
                                  : raw::zeros({x.size(0)}, x.dtype());
  const Tensor loss = where(ne(l.weight, 0.0), -picked * l.weight, zeros({}, x.dtype()));
  if (o.reduction == Reduction::none) return loss.reshape(target->shape());
  return o.reduction == Reduction::sum ? loss.sum() : loss.sum() / raw::sum(l.weight, {}, false);
}

namespace {
void check_pair(const char* op, const Tensor& x, const Tensor& target) {
  if (x.shape() != target.shape())
    fail<ShapeError>("{}: prediction {} and target {} must have one shape; use expand or reshape",
                     op, x.shape(), target.shape());
  if (!is_floating(x.dtype())) fail<DtypeError>("{}: needs f32 or f64, got {}", op, x.dtype());
  if (x.dtype() != target.dtype())
    fail<DtypeError>("{}: prediction is {}, target is {}; convert one with to(...)", op, x.dtype(),
                     target.dtype());
}
}  // namespace

Tensor mse_loss(In x, In target, LossOptions options) {
  check_pair("mse_loss", x, target);
  SiteScope site(x.here);
  return reduce("mse_loss", square(x - target), options.reduction);
}

Tensor l1_loss(In x, In target, LossOptions options) {
  check_pair("l1_loss", x, target);
  SiteScope site(x.here);
  return reduce("l1_loss", abs(x - target), options.reduction);
}

Tensor smooth_l1_loss(In x, In target, SmoothL1Options o) {
  check_pair("smooth_l1_loss", x, target);
  if (!(o.beta >= 0)) fail<ValueError>("smooth_l1_loss: beta must not be negative, got {}", o.beta);
  SiteScope site(x.here);
  const Tensor d = abs(x - target);
  if (o.beta == 0) return reduce("smooth_l1_loss", d, o.reduction);
  // One formula for both parts, not a choice of two: the square's slope times 0 would be NaN where
  // d is infinite.
  const Tensor near = clamp(d, 0, o.beta);
  return reduce("smooth_l1_loss", near * (d - near * 0.5) / o.beta, o.reduction);
}

Tensor huber_loss(In x, In target, HuberOptions o) {
  check_pair("huber_loss", x, target);
  if (!(o.delta > 0)) fail<ValueError>("huber_loss: delta must be positive, got {}", o.delta);
  SiteScope site(x.here);
  const Tensor d = abs(x - target);
  const Tensor near = clamp(d, 0, o.delta);  // as smooth_l1_loss
  return reduce("huber_loss", near * (d - near * 0.5), o.reduction);
}

Tensor binary_cross_entropy_with_logits(In x, In target, const BceOptions& o) {
  check_pair("binary_cross_entropy_with_logits", x, target);
  SiteScope site(x.here);
  // (1 - y) x + (1 + (pos_weight - 1) y) log(1 + e^-x)
  const Tensor soft =
      softplus(-x, {.beta = 1, .threshold = std::numeric_limits<double>::infinity()});
  Tensor loss = (1.0 - target) * x +
                (o.pos_weight.defined() ? ((o.pos_weight - 1.0) * target + 1.0) * soft : soft);
  if (o.weight.defined()) loss = loss * o.weight;
  if (loss.shape() != x->shape())
    fail<ShapeError>("binary_cross_entropy_with_logits: weights broadcast shape {} to {}",
                     x->shape(), loss.shape());
  return reduce("binary_cross_entropy_with_logits", loss, o.reduction);
}

namespace {

struct BinaryCrossEntropyNode final : Node {
  SavedTensor p{this, "p"}, target{this, "target"};
  const char* name() const override { return "binary_cross_entropy"; }
  Tensors replay(const Tensors& x) const override;
  Tensors backward(const Tensors& dy) override {
    const Tensor x = p.get(), t = target.get();
    const double inf = std::numeric_limits<double>::infinity();
    Tensors d(2);
    // PyTorch's: p (1 - p) is at least 1e-12, and the forward pass's bound does not cut the slope.
    if (needs(0)) d[0] = dy[0] * (x - t) / clamp(x * (1.0 - x), 1e-12, inf);
    if (needs(1)) d[1] = dy[0] * (clamp(log(1.0 - x), -100, inf) - clamp(log(x), -100, inf));
    return d;
  }
};

Tensor binary_cross_entropy_each(In p, In target) {
  const Tensor x = raw::row_major(p), t = raw::row_major(target);
  Tensor y = raw::empty(p->shape(), p->dtype());
  dispatch_floating(p->dtype(), "binary_cross_entropy", [&]<class T>(Type<T>) {
    kernels::binary_cross_entropy(x.numel(), x.ptr<T>(), t.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<BinaryCrossEntropyNode>({p, target}, y)) {
    n->p.input(p);
    n->target.input(target);
  }
  return y;
}

Tensors BinaryCrossEntropyNode::replay(const Tensors& x) const {
  return {binary_cross_entropy_each(x[0], x[1])};
}

// Each element in [0, 1]; a NaN passes, so that it shows in the loss.
void check_probabilities(const char* what, const Tensor& t) {
  dispatch_floating(t.dtype(), "binary_cross_entropy", [&]<class T>(Type<T>) {
    const Tensor rows = raw::row_major(t);
    for (const T p : rows.data<T>())
      if (p < 0 || p > 1)
        fail<ValueError>(
            "binary_cross_entropy: {} must lie in [0, 1], got {}; for logits use "
            "binary_cross_entropy_with_logits",
            what, p);
  });
}

}  // namespace

Tensor binary_cross_entropy(In p, In target, const BinaryCrossEntropyOptions& o) {
  check_pair("binary_cross_entropy", p, target);
  check_probabilities("the prediction", p);
  check_probabilities("the target", target);
  SiteScope site(p.here);
  Tensor loss = binary_cross_entropy_each(p, target);
  if (o.weight.defined()) loss = loss * o.weight;
  if (loss.shape() != p->shape())
    fail<ShapeError>("binary_cross_entropy: the weight broadcasts shape {} to {}", p->shape(),
                     loss.shape());
  return reduce("binary_cross_entropy", loss, o.reduction);
}

Tensor kl_div(In log_p, In target, const KlDivOptions& o) {
  check_pair("kl_div", log_p, target);
  SiteScope site(log_p.here);
  Tensor loss;
  if (o.log_target) {
    loss = exp(target) * (target - log_p);
  } else {
    // t log t is 0 at 0.
    const Tensor positive = where(ne(target, 0.0), target, ones({}, target->dtype()));
    loss = target * log(positive) - target * log_p;
  }
  if (o.reduction != Reduction::batchmean) return reduce("kl_div", loss, o.reduction);
  return log_p->dim() == 0 ? loss : loss.sum() / static_cast<double>(log_p->size(0));
}

}  // namespace loupe
