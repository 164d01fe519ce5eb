#pragma once
// Cross entropy of rows of logits against class indices, softmax and logarithm included.
#include <cstdint>

namespace loupe::kernels {

/// How rows count. A row whose target is ignore_index counts as nothing, whatever its logits.
struct CrossEntropyShape {
  int64_t rows = 0, classes = 0;
  int64_t ignore_index = -100;
  double smoothing = 0;  // s below
};

/// What cross entropy reads.
template <class T> struct CrossEntropyInput {
  CrossEntropyShape shape;
  const T* x = nullptr;             // (rows, classes)
  const int64_t* target = nullptr;  // (rows), in [0, classes) or ignore_index
  const T* weight = nullptr;        // (classes); nullptr: 1
};

/// An upstream gradient: one value a row, or one for all (stride 0).
template <class T> struct RowGradient {
  const T* g = nullptr;
  int64_t stride = 1;
};

/// loss[i] = (1 - s) w[t] l(t) + s/C sum_c w[c] l(c), where l(c) = log(sum e^x) - x[c], C the
/// classes and t = target[i]; 0 for an ignored row. Writes the maximum and 1 / sum e^(x - maximum)
/// of each row to `stats` (rows, 2). (Label smoothing: Szegedy et al., "Rethinking the inception
/// architecture for computer vision", 2015.) One loop serves every CPU level, the reference too:
/// its 16 lanes are part of the bits.
template <class T> void cross_entropy(const CrossEntropyInput<T>& in, T* loss, T* stats);
/// dx = g[i] * dloss[i]/dx, from what the forward pass wrote to `stats`. Ignored rows get zeros.
template <class T>
void cross_entropy_backward(const CrossEntropyInput<T>& in, const T* stats,
                            const RowGradient<T>& up, T* dx);

/// y = -(t log p + (1 - t) log(1 - p)) of n elements, each logarithm at least -100.
template <class T> void binary_cross_entropy(int64_t n, const T* p, const T* t, T* y);

/// The same, number after number, in double.
namespace plain {

template <class T> void cross_entropy(const CrossEntropyInput<T>& in, T* loss, T* stats);
template <class T>
void cross_entropy_backward(const CrossEntropyInput<T>& in, const T* stats,
                            const RowGradient<T>& up, T* dx);
template <class T> void binary_cross_entropy(int64_t n, const T* p, const T* t, T* y);

}  // namespace plain
}  // namespace loupe::kernels
