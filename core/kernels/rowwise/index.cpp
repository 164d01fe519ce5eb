#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/index.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;       // elements of a piece
constexpr int64_t kCheckChunk = 1 << 12;  // indices that are tested together
constexpr int64_t kColumns = 16;          // the narrowest range of columns a thread takes
constexpr int64_t kPieces = 8;            // at most, where each reads all indices

int64_t product(const Shape& s, int first, int last) {
  int64_t n = 1;
  for (int d = first; d < last; ++d) n *= s[d];
  return n;
}

// Some rows of the index (its last dimension is a row), and the columns [first, last) of them.
struct Patch {
  int64_t begin, end;
  int64_t first, last;
};

// Where a row of the index starts in `full`, but for the index' own part.
int64_t row_start(const IndexOver& s, const Strides& strides, int64_t row) {
  int64_t rest = row, start = 0;
  for (int d = s.index.rank() - 2; d >= 0; --d) {
    const int64_t at = rest % s.index[d];
    rest /= s.index[d];
    if (d != s.axis) start += at * strides[d];
  }
  return start;
}

// Calls f(place in `full`, position in the index).
template <class F>
void for_places(const IndexOver& s, const int64_t* index, const Patch& patch, const F& f) {
  const Strides strides = row_major_strides(s.full);
  const int64_t step = strides[s.axis];
  const bool along = s.axis == s.index.rank() - 1;  // the axis is the rows' own
  for (int64_t row = patch.begin; row < patch.end; ++row) {
    const int64_t start = row_start(s, strides, row), at = row * s.index[s.index.rank() - 1];
    if (along) {
      for (int64_t j = patch.first; j < patch.last; ++j) f(start + index[at + j], at + j);
    } else {
      for (int64_t j = patch.first; j < patch.last; ++j)
        f(start + j + index[at + j] * step, at + j);
    }
  }
}

// The same for all, on threads; no two pieces meet one place. Rows along the axis go to places of
// their own; those across it share them, but their columns do not.
template <class F> void for_own_places(const IndexOver& s, const int64_t* index, const F& f) {
  const int rank = s.index.rank();
  const int64_t columns = s.index[rank - 1], rows = product(s.index, 0, rank - 1);
  if (columns == 0 || rows == 0) return;
  if (s.axis == rank - 1) {
    parallel_ranges(rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
      for_places(s, index, {begin, end, 0, columns}, f);
    });
  } else {
    const int64_t width = std::max({kColumns, columns / kPieces, kGrain / rows});
    parallel_ranges(columns, width, [&](int64_t first, int64_t last) {
      for_places(s, index, {0, rows, first, last}, f);
    });
  }
}

}  // namespace

int64_t first_outside(int64_t n, const int64_t* index, int64_t limit) {
  for (int64_t chunk = 0; chunk < n; chunk += kCheckChunk) {
    const int64_t end = std::min(n, chunk + kCheckChunk);
    bool outside = false;
    for (int64_t i = chunk; i < end; ++i)
      outside |= static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(limit);
    if (!outside) continue;
    for (int64_t i = chunk; i < end; ++i)
      if (index[i] < 0 || index[i] >= limit) return i;
  }
  return -1;
}

template <class T> void gather(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  if (plain_kernels()) return plain::gather(s, index, x, y);
  const int rank = s.index.rank();
  const int64_t columns = s.index[rank - 1], rows = product(s.index, 0, rank - 1);
  if (columns == 0) return;
  parallel_ranges(rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
    for_places(s, index, {begin, end, 0, columns},
               [=](int64_t place, int64_t i) { y[i] = x[place]; });
  });
}

template <class T> void scatter(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  if (plain_kernels()) return plain::scatter(s, index, x, y);
  for_own_places(s, index, [=](int64_t place, int64_t i) { y[place] = x[i]; });
}

template <class T> void scatter_add(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  if (plain_kernels()) return plain::scatter_add(s, index, x, y);
  for_own_places(s, index,
                 [=](int64_t place, int64_t i) { y[place] = static_cast<T>(y[place] + x[i]); });
}

template <class T> void take_rows(const Rows& s, const int64_t* index, const T* x, T* y) {
  if (plain_kernels()) return plain::take_rows(s, index, x, y);
  if (s.count == 0 || s.inner == 0) return;
  const int64_t grain = std::max<int64_t>(1, kGrain / s.inner);
  parallel_ranges(s.outer * s.count, grain, [=](int64_t begin, int64_t end) {
    int64_t o = begin / s.count, c = begin % s.count;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = o * s.n + index[c];
      if (s.inner == 1) y[i] = x[row];
      else std::copy_n(x + row * s.inner, s.inner, y + i * s.inner);
      if (++c < s.count) continue;
      c = 0;
      ++o;
    }
  });
}

namespace {

// add_rows to the rows [first, last) of one outer position: dx (n, inner), dy (count, inner).
template <class T>
void add_to_rows(const Rows& s, const int64_t* index, int64_t first, int64_t last, const T* dy,
                 T* dx) {
  std::fill(dx + first * s.inner, dx + last * s.inner, T(0));
  for (int64_t i = 0; i < s.count; ++i) {
    if (index[i] < first || index[i] >= last) continue;
    T* const row = dx + index[i] * s.inner;
    for (int64_t j = 0; j < s.inner; ++j) row[j] = static_cast<T>(row[j] + dy[i * s.inner + j]);
  }
}

}  // namespace

template <class T> void add_rows(const Rows& s, const int64_t* index, const T* dy, T* dx) {
  if (plain_kernels()) return plain::add_rows(s, index, dy, dx);
  if (s.n == 0 || s.inner == 0) return;
  // Pieces of rows within an outer position each read all its indices: worth it for wide rows.
  const int64_t size = (s.count + s.n) * s.inner;
  const bool cut = s.inner >= kColumns && size > 4 * kGrain;
  const int64_t cuts = cut ? std::min(kPieces, s.n) : 1;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(size / cuts, 1));
  parallel_ranges(s.outer * cuts, grain, [=](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t o = piece / cuts, c = piece % cuts;
      add_to_rows(s, index, s.n * c / cuts, s.n * (c + 1) / cuts, dy + o * s.count * s.inner,
                  dx + o * s.n * s.inner);
    }
  });
}

#define LOUPE_INSTANTIATE(T)                                                    \
  template void gather<T>(const IndexOver&, const int64_t*, const T*, T*);      \
  template void scatter<T>(const IndexOver&, const int64_t*, const T*, T*);     \
  template void scatter_add<T>(const IndexOver&, const int64_t*, const T*, T*); \
  template void take_rows<T>(const Rows&, const int64_t*, const T*, T*);        \
  template void add_rows<T>(const Rows&, const int64_t*, const T*, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
LOUPE_INSTANTIATE(int64_t)
LOUPE_INSTANTIATE(uint8_t)
LOUPE_INSTANTIATE(bool)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
