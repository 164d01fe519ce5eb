#include <loupe/core/dmath.h>
#include <loupe/core/kernels/elementwise/optim.h>
#include <loupe/core/raw.h>
#include <loupe/optim/optimizer.h>

#include <cmath>
#include <limits>
#include <set>
#include <span>

namespace loupe {
namespace {

// The gradients of one element type, made dense where they are not.
template <class T>
std::vector<kernels::ArraySlot<T>> gradients(const std::vector<Tensor>& parameters) {
  std::vector<kernels::ArraySlot<T>> out;
  std::set<const T*> seen;  // a tensor may stand twice in the list, a gradient belong to two
  for (const Tensor& p : parameters) {
    if (!p.grad().defined() || p.grad().dtype() != dtype_of<T>()) continue;
    if (!raw::is_dense(p.grad())) p.set_grad(raw::row_major(p.grad()));
    if (seen.insert(p.grad().ptr<T>()).second) out.push_back({p.grad().ptr<T>(), p.grad().numel()});
  }
  return out;
}

template <class F> void for_each_dtype(const std::vector<Tensor>& parameters, const F& f) {
  const auto one = [&]<class T>(Type<T>) {
    const auto slots = gradients<T>(parameters);
    if (!slots.empty()) f(std::span<const kernels::ArraySlot<T>>(slots));
  };
  one(Type<float>{});
  one(Type<double>{});
}

}  // namespace

double grad_norm(const std::vector<Tensor>& parameters, double norm_type) {
  if (!(norm_type > 0)) fail<ValueError>("grad_norm: norm_type {} must be above 0", norm_type);
  double total = 0;
  for_each_dtype(parameters, [&]<class T>(std::span<const kernels::ArraySlot<T>> slots) {
    if (norm_type == 2) {
      const Scratch<double> scratch(kernels::sum_squares_scratch<T>(slots));
      total += kernels::sum_squares<T>(slots, scratch);
      return;
    }
    for (const auto& slot : slots)
      for (const T x : std::span(slot.data, static_cast<size_t>(slot.n))) {
        const double size = std::fabs(static_cast<double>(x));
        const bool larger = size > total || size != size;  // a NaN stays
        if (norm_type == dmath::kInf) total = larger ? size : total;
        else if (norm_type == 1) total += size;
        else total += dmath::pow(size, norm_type);
      }
  });
  if (norm_type == 2) return std::sqrt(total);
  if (norm_type == 1 || norm_type == dmath::kInf) return total;
  return dmath::pow(total, 1 / norm_type);
}

double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm,
                       ClipOptions options) {
  if (!(max_norm >= 0))
    fail<ValueError>("clip_grad_norm_: max_norm {} must not be negative", max_norm);
  const double norm = grad_norm(parameters, options.norm_type);
  if (options.error_if_nonfinite && !std::isfinite(norm))
    fail<NumericError>("clip_grad_norm_: the norm of the gradients is {}", norm);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor >= 1))
    for_each_dtype(parameters, [&]<class T>(std::span<const kernels::ArraySlot<T>> slots) {
      kernels::scale_all<T>(slots, factor);
    });
  return norm;
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double limit) {
  if (!(limit >= 0)) fail<ValueError>("clip_grad_value_: the limit {} must not be negative", limit);
  for (const Tensor& p : parameters)
    if (p.grad().defined()) p.set_grad(raw::clamp(p.grad(), -limit, limit));
}

}  // namespace loupe
