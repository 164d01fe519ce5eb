#pragma once
// Elements and rows that an index names: reads, writes and sums. Indices must lie in range
// (first_outside finds one that does not). Where several elements go to one place they do in
// row-major order of the index, whatever the thread count: a piece owns what it writes. The fast
// loops give the plain ones' bits.
#include <loupe/core/shape.h>

#include <cstdint>

namespace loupe::kernels {

/// The position of the first number outside [0, limit), or -1.
int64_t first_outside(int64_t n, const int64_t* index, int64_t limit);

/// How an index tensor lies over a row-major tensor of shape `full`: its element at position p
/// names the element of `full` at p, with p[axis] replaced by the index. Both have at least one
/// dimension, and sizes other than axis' do not exceed full's.
///
///   axis 0, x of shape (3, 2):   index 2 0      named   x[2][0] x[0][1]
///                                      1 1              x[1][0] x[1][1]
struct IndexOver {
  Shape index, full;
  int axis = 0;
};
/// y[i] = x[place i]: as many as the index.
template <class T> void gather(const IndexOver& s, const int64_t* index, const T* x, T* y);
/// y[place i] = x[i]; the last one stays.
template <class T> void scatter(const IndexOver& s, const int64_t* index, const T* x, T* y);
/// y[place i] += x[i].
template <class T> void scatter_add(const IndexOver& s, const int64_t* index, const T* x, T* y);

/// (outer, n, inner) memory, of whose middle `count` positions are chosen. A row is the `inner`
/// numbers at one of them.
struct Rows {
  int64_t outer, n, inner, count;
};
/// y (outer, count, inner): the rows of x that the index names.
template <class T> void take_rows(const Rows& s, const int64_t* index, const T* x, T* y);
/// dx (outer, n, inner) = 0, then dx[.., index[i], ..] += dy[.., i, ..].
template <class T> void add_rows(const Rows& s, const int64_t* index, const T* dy, T* dx);

/// The same, element after element.
namespace plain {

template <class T> void gather(const IndexOver& s, const int64_t* index, const T* x, T* y);
template <class T> void scatter(const IndexOver& s, const int64_t* index, const T* x, T* y);
template <class T> void scatter_add(const IndexOver& s, const int64_t* index, const T* x, T* y);
template <class T> void take_rows(const Rows& s, const int64_t* index, const T* x, T* y);
template <class T> void add_rows(const Rows& s, const int64_t* index, const T* dy, T* dx);

}  // namespace plain
}  // namespace loupe::kernels
