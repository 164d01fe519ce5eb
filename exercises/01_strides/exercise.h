#pragma once
// Exercise 1: what you write, and what you may use.
#include <loupe/exercises/taught/tensors.h>

namespace mine {

/// A tensor without its memory: element (i, j, ...) lies at offset + i strides[0] + j strides[1]
/// ...
struct View {
  std::vector<int64_t> shape, strides;
  int64_t offset = 0;
};

/// (2, 3, 4) -> (12, 4, 1).
std::vector<int64_t> row_major_strides(const std::vector<int64_t>& shape);
/// Where the element with this index lies in memory.
int64_t place(const View& v, const std::vector<int64_t>& index);
/// Dimensions a and b change places.
View transpose(const View& v, size_t a, size_t b);
/// Elements start, start + step, ... before stop of one dimension. 0 <= start <= stop, step >= 1.
View slice(const View& v, size_t axis, int64_t start, int64_t stop, int64_t step);

}  // namespace mine
