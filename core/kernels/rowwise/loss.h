#pragma once
// Cross entropy of rows of logits against class indices, softmax and logarithm included.
#include <cstdint>

namespace loupe::kernels {

/// How rows count. A row whose target is ignore_index counts as nothing, whatever its logits.
struct CrossEntropyShape {
  int64_t rows = 0, classes = 0;
  int64_t ignore_index = -100;
  double smoothing = 0;
};

/// loss[i] = (1 - s) w[t] l(t) + s/C sum_c w[c] l(c), where l(c) = log(sum e^x) - x[c], t =
/// target[i], and w = 1 where `weight` is null. 0 for an ignored row. Targets must lie in [0, C) or
/// be ignored. Writes the maximum and 1 / sum e^(x - maximum) of each row to `stats` (rows, 2).
/// (Label smoothing: Szegedy et al., "Rethinking the inception architecture for computer vision",
/// 2015.)
template <class T>
void cross_entropy(const CrossEntropyShape& s, const T* x, const int64_t* target, const T* weight,
                   T* loss, T* stats);
/// dx = g[i] * dloss[i]/dx; g has one value per row, or one for all (g_stride 0). Ignored rows get
/// zeros.
template <class T>
void cross_entropy_backward(const CrossEntropyShape& s, const T* x, const int64_t* target,
                            const T* weight, const T* stats, const T* g, int64_t g_stride, T* dx);

/// y = -(t log p + (1 - t) log(1 - p)) of n elements, each logarithm at least -100.
template <class T> void binary_cross_entropy(int64_t n, const T* p, const T* t, T* y);

}  // namespace loupe::kernels
