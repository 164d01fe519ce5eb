#include <loupe/core/error.h>
#include <loupe/core/shape.h>

#include <algorithm>

namespace loupe {

void Dims::assign(const int64_t* values, size_t n) {
  if (n > static_cast<size_t>(kMaxRank))
    fail<ShapeError>("shape: {} dimensions, the most is {}", n, kMaxRank);
  std::copy(values, values + n, d_.begin());
  rank_ = static_cast<int>(n);
}

void Dims::push_back(int64_t value) { insert(rank_, value); }

void Dims::insert(int at, int64_t value) {
  if (rank_ == kMaxRank)
    fail<ShapeError>("shape: {} dimensions, the most is {}", rank_ + 1, kMaxRank);
  for (int i = rank_; i > at; --i) (*this)[i] = (*this)[i - 1];
  (*this)[at] = value;
  ++rank_;
}

void Dims::erase(int at) {
  for (int i = at; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
  --rank_;
}

std::string to_string(const Dims& d) {
  std::string s = "(";
  for (int i = 0; i < d.rank(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + (d.rank() == 1 ? ",)" : ")");
}

Strides row_major_strides(const Shape& shape) {
  Strides strides = shape;
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    // Shapes beyond memory are refused by whoever allocates; here they only must not be undefined
    // behaviour.
    if (__builtin_mul_overflow(step, std::max<int64_t>(shape[i], 1), &step)) step = 0;
  }
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  Shape out = a.rank() >= b.rank() ? a : b;
  const Shape& small = a.rank() >= b.rank() ? b : a;
  const int shift = out.rank() - small.rank();
  for (int i = 0; i < small.rank(); ++i) {
    int64_t& d = out[i + shift];
    if (d == 1) d = small[i];
    else if (small[i] != 1 && small[i] != d)
      fail<ShapeError>(
          "{}: shapes {} and {} do not broadcast: sizes differ in dimension {} from the end", op, a,
          b, small.rank() - i);
  }
  return out;
}

int normalize_axis(int64_t axis, int rank, const char* op) {
  // A scalar has no axes, but 0 and -1 are accepted as in PyTorch.
  const int64_t limit = std::max(rank, 1);
  if (axis < -limit || axis >= limit)
    fail<IndexError>("{}: axis {} is outside [{}, {}) of a tensor with {} dimensions", op, axis,
                     -limit, limit, rank);
  return static_cast<int>(axis < 0 ? axis + limit : axis);
}

}  // namespace loupe
