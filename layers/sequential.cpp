#include <loupe/layers/activation.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>

namespace loupe {

Tensor Sequential::forward(In x) {
  Tensor y = x;
  for (size_t i = 0; i < modules_.size();) {
    const In in{y, x.here.file, x.here.line};
    // Module i + k, if it is an M that nobody watches.
    const auto next = [&]<class M>(size_t k, Type<M>) {
      M* const m = i + k < modules_.size() ? dynamic_cast<M*>(modules_[i + k].get()) : nullptr;
      return m && !m->has_hooks() ? m : nullptr;
    };
    const bool relu = fusion() && next(1, Type<ReLU>{});
    auto* const linear = relu ? next(0, Type<Linear>{}) : nullptr;
    auto* const bn = relu && !linear ? next(0, Type<BatchNorm2d>{}) : nullptr;
    if (!linear && !bn) {
      y = modules_[i++]->call(in);
      continue;
    }
    const auto* const pool = bn ? next(2, Type<MaxPool2d>{}) : nullptr;
    const bool halves = pool && pool->options.kernel_size == Size2(2) &&
                        pool->options.stride.value_or(2) == Size2(2) &&
                        pool->options.padding == Size2(0) && pool->options.dilation == Size2(1) &&
                        !pool->options.ceil_mode;
    if (linear) y = linear_relu(*linear, in);
    else if (halves) y = bn_relu_max_pool(*bn, in);
    else y = bn_relu(*bn, in);
    i += halves ? 3 : 2;
  }
  return y;
}

void Sequential::visit(Visitor& v) {
  for (size_t i = 0; i < modules_.size(); ++i) v.child(std::to_string(i), *modules_[i]);
}

Module& Sequential::operator[](size_t i) {
  if (i >= modules_.size()) fail<IndexError>("Sequential: module {} of {}", i, modules_.size());
  return *modules_[i];
}

}  // namespace loupe
