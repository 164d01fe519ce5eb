#pragma once
// The order of rows. NaN counts as larger than every number, -0 equals 0, and equal elements keep
// their order.
#include <cstdint>

namespace loupe::kernels {

struct SortShape {
  int64_t rows, n;          // rows of n elements
  int64_t k;                // how many of each are wanted; k = n sorts
  bool descending = false;  // the largest first
};

/// index (rows x k): the positions of the k smallest elements (largest if `descending`) of each row
/// of x (rows x n), in that order.
template <class T> void sort_rows(const SortShape& s, const T* x, int64_t* index);

/// The same by std::stable_sort.
namespace plain {

template <class T> void sort_rows(const SortShape& s, const T* x, int64_t* index);

}  // namespace plain
}  // namespace loupe::kernels
