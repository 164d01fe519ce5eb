#pragma once
// The order of rows. NaN counts as larger than every number, -0 equals 0, and equal elements keep
// their order.
#include <cstdint>

namespace loupe::kernels {

/// index (rows x k): the positions of the k smallest elements (largest if `descending`) of each row
/// of x (rows x n), in that order. k = n sorts.
template <class T>
void sort_rows(int64_t rows, int64_t n, int64_t k, bool descending, const T* x, int64_t* index);

}  // namespace loupe::kernels
