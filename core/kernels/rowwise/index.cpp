#include <loupe/core/kernels/rowwise/index.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;       // elements of a piece
constexpr int64_t kCheckBlock = 1 << 12;  // indices that are tested together
constexpr int64_t kColumns = 16;          // the narrowest range of columns a thread takes

int64_t product(const Shape& s, int first, int last) {
  int64_t n = 1;
  for (int d = first; d < last; ++d) n *= s[d];
  return n;
}

// A line is a run of the index' last dimension. Calls f(where the line starts in `full` without its
// index, where it starts in the index).
template <class F> void for_lines(const IndexOver& s, int64_t begin, int64_t end, const F& f) {
  const int last = s.index.rank() - 1;
  const Strides strides = row_major_strides(s.full);
  for (int64_t line = begin; line < end; ++line) {
    int64_t rest = line, start = 0;
    for (int d = last - 1; d >= 0; --d) {
      const int64_t at = rest % s.index[d];
      rest /= s.index[d];
      if (d != s.axis) start += at * strides[d];
    }
    f(start, line * s.index[last]);
  }
}

// Calls f(place in `full`, position in the index) for the columns [first, last) of some lines.
template <class F>
void for_places(const IndexOver& s, const int64_t* index, int64_t begin, int64_t end, int64_t first,
                int64_t last, const F& f) {
  const int64_t step = row_major_strides(s.full)[s.axis];
  const bool along = s.axis == s.index.rank() - 1;
  for_lines(s, begin, end, [=](int64_t start, int64_t at) {
    if (along) {
      for (int64_t j = first; j < last; ++j) f(start + index[at + j], at + j);
    } else {
      for (int64_t j = first; j < last; ++j) f(start + j + index[at + j] * step, at + j);
    }
  });
}

// The same for all, on threads; no two pieces meet one place. Lines along the axis go to places of
// their own; those across it share them, but their columns do not.
template <class F> void for_own_places(const IndexOver& s, const int64_t* index, const F& f) {
  const int rank = s.index.rank();
  const int64_t columns = s.index[rank - 1], lines = product(s.index, 0, rank - 1);
  if (columns == 0 || lines == 0) return;
  if (s.axis == rank - 1) {
    parallel_ranges(lines, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
      for_places(s, index, begin, end, 0, columns, f);
    });
  } else {
    const int64_t width = std::max({kColumns, columns / 8, kGrain / lines});
    parallel_ranges(columns, width, [&](int64_t first, int64_t last) {
      for_places(s, index, 0, lines, first, last, f);
    });
  }
}

}  // namespace

int64_t first_outside(int64_t n, const int64_t* index, int64_t limit) {
  for (int64_t block = 0; block < n; block += kCheckBlock) {
    const int64_t end = std::min(n, block + kCheckBlock);
    bool outside = false;
    for (int64_t i = block; i < end; ++i)
      outside |= static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(limit);
    if (!outside) continue;
    for (int64_t i = block; i < end; ++i)
      if (index[i] < 0 || index[i] >= limit) return i;
  }
  return -1;
}

template <class T> void gather(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  const int rank = s.index.rank();
  const int64_t columns = s.index[rank - 1], lines = product(s.index, 0, rank - 1);
  if (columns == 0) return;
  parallel_ranges(lines, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
    for_places(s, index, begin, end, 0, columns,
               [=](int64_t place, int64_t i) { y[i] = x[place]; });
  });
}

template <class T> void scatter(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  for_own_places(s, index, [=](int64_t place, int64_t i) { y[place] = x[i]; });
}

template <class T> void scatter_add(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  for_own_places(s, index,
                 [=](int64_t place, int64_t i) { y[place] = static_cast<T>(y[place] + x[i]); });
}

template <class T> void take_rows(const Rows& s, const int64_t* index, const T* x, T* y) {
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

template <class T> void add_rows(const Rows& s, const int64_t* index, const T* dy, T* dx) {
  if (s.n == 0 || s.inner == 0) return;
  // Pieces of rows within an outer position each read all its indices: worth it for wide rows.
  const bool cut = s.inner >= kColumns && (s.count + s.n) * s.inner > 4 * kGrain;
  const int64_t cuts = cut ? std::min<int64_t>(8, s.n) : 1;
  const int64_t work = std::max<int64_t>((s.count + s.n) * s.inner / cuts, 1);
  parallel_ranges(s.outer * cuts, std::max<int64_t>(1, kGrain / work),
                  [=](int64_t begin, int64_t end) {
                    for (int64_t piece = begin; piece < end; ++piece) {
                      const int64_t o = piece / cuts, c = piece % cuts;
                      const int64_t first = s.n * c / cuts, last = s.n * (c + 1) / cuts;
                      T* const to = dx + o * s.n * s.inner;
                      const T* const from = dy + o * s.count * s.inner;
                      std::fill(to + first * s.inner, to + last * s.inner, T(0));
                      for (int64_t i = 0; i < s.count; ++i) {
                        if (index[i] < first || index[i] >= last) continue;
                        T* const row = to + index[i] * s.inner;
                        for (int64_t j = 0; j < s.inner; ++j)
                          row[j] = static_cast<T>(row[j] + from[i * s.inner + j]);
                      }
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
