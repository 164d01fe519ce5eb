#pragma once
// One step of an optimizer over all its parameters, in one parallel pass. The formulas are
// PyTorch's (Lion: its authors'), in its order: f64 agrees to 1e-10 over many steps. With p the
// parameter and g its gradient, each step first sets g += weight_decay p (AdamW and Lion instead p
// *= 1 - lr weight_decay), after g = -g where `maximize`. Each number is computed by itself, by one
// loop for every CPU level: the loops are plain, and have no twin.
#include <cstdint>
#include <span>

namespace loupe::kernels {

/// One parameter's arrays, n values each. The state arrays mean what the step says; unused ones are
/// nullptr.
template <class T> struct ParamSlot {
  T* p;
  const T* g;
  T* s0 = nullptr;
  T* s1 = nullptr;
  T* s2 = nullptr;
  int64_t n = 0;
};

/// s0 = buf (needed if momentum != 0). first: buf = g, else buf = momentum buf + (1 - dampening) g;
/// nesterov: g += momentum buf, else g = buf; p -= lr g.
struct SgdStep {
  double lr, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
  bool first = false;  // the buffer holds nothing yet
};
template <class T> void sgd_step(std::span<const ParamSlot<T>> slots, const SgdStep& o);

/// s0 = m, s1 = v, s2 = largest v so far (amsgrad only). m += (1 - beta1)(g - m); v = beta2 v + (1
/// - beta2) g^2; p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps). `step` is t,
/// from 1. Adam: Kingma and Ba 2014. decoupled (AdamW): Loshchilov and Hutter 2017.
struct AdamStep {
  double lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false, maximize = false;
  int64_t step = 1;
};
template <class T> void adam_step(std::span<const ParamSlot<T>> slots, const AdamStep& o);

/// s0 = mean of squares, s1 = momentum buffer (if momentum > 0), s2 = mean of g (if centered).
/// sq = alpha sq + (1 - alpha) g^2; avg = sqrt(sq - mean_g^2 if centered) + eps; buf = momentum buf
/// + g / avg; p -= lr buf.
struct RmspropStep {
  double lr, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false, maximize = false;
};
template <class T> void rmsprop_step(std::span<const ParamSlot<T>> slots, const RmspropStep& o);

/// s0 = sum of squares. sum += g^2; p -= lr g / (sqrt(sum) + eps). Duchi, Hazan and Singer 2011.
struct AdagradStep {
  double lr, eps = 1e-10, weight_decay = 0;
  bool maximize = false;
};
template <class T> void adagrad_step(std::span<const ParamSlot<T>> slots, const AdagradStep& o);

/// s0 = m. p *= 1 - lr weight_decay; p -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 -
/// beta2) g. Chen et al. 2023.
struct LionStep {
  double lr, beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
  bool maximize = false;
};
template <class T> void lion_step(std::span<const ParamSlot<T>> slots, const LionStep& o);

/// Arrays of one list, for the functions below.
template <class T> struct ArraySlot {
  T* data;
  int64_t n;
};

/// Doubles of scratch for sum_squares.
template <class T> int64_t sum_squares_scratch(std::span<const ArraySlot<T>> slots);
/// The sum of all squares, in double and in a fixed order.
template <class T> double sum_squares(std::span<const ArraySlot<T>> slots, double* scratch);
/// Multiplies all arrays by a factor.
template <class T> void scale_all(std::span<const ArraySlot<T>> slots, double factor);

}  // namespace loupe::kernels
