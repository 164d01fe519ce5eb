// The rowwise kernels as plain loops.
#include <loupe/core/kernels/rowwise/embedding.h>
#include <loupe/core/kernels/rowwise/index.h>
#include <loupe/core/kernels/rowwise/loss.h>
#include <loupe/core/kernels/rowwise/scan.h>
#include <loupe/core/kernels/rowwise/scan_ops.h>
#include <loupe/core/kernels/rowwise/softmax.h>
#include <loupe/core/kernels/rowwise/sort.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace loupe::kernels::plain {
namespace {

/// Calls f(where the line begins) for every line, on all threads.
template <class F> void for_lines(const Lines& l, const F& f) {
  constexpr int64_t kGrain = 1 << 14;  // numbers of a piece
  if (l.n == 0) return;
  parallel_ranges(l.count(), std::max<int64_t>(1, kGrain / l.n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(l.begin(i));
  });
}

/// The largest of a line; 0 if all are -Inf, so that e^(x - it) is 0 rather than NaN.
template <class T> T finite_maximum(const T* x, int64_t n, int64_t step) {
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  T most = kNone;
  for (int64_t i = 0; i < n; ++i) most = x[i * step] > most ? x[i * step] : most;
  return most == kNone ? T(0) : most;
}

/// sum e^(x - shift).
template <class T> double exp_sum(const T* x, int64_t n, int64_t step, T shift) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(vexp(x[i * step] - shift));
  return sum;
}

}  // namespace

template <class T> void softmax(bool log, const Lines& lines, const T* x, T* y) {
  for_lines(lines, [=, n = lines.n, step = lines.inner](int64_t begin) {
    const T* const from = x + begin;
    T* const to = y + begin;
    const T shift = finite_maximum(from, n, step);
    const double sum = exp_sum(from, n, step, shift);
    const T log_sum = sum == 0 ? T(0) : static_cast<T>(vlog(sum));
    const T inverse = sum == 0 ? T(0) : static_cast<T>(1 / sum);
    for (int64_t i = 0; i < n * step; i += step) {
      const T below = from[i] - shift;
      to[i] = log ? below - log_sum : vexp(below) * inverse;
    }
  });
}

template <class T>
void softmax_backward(bool log, const Lines& lines, const T* y, const T* dy, T* dx) {
  for_lines(lines, [=, size = lines.n * lines.inner, step = lines.inner](int64_t begin) {
    const T *const out = y + begin, *const up = dy + begin;
    T* const to = dx + begin;
    double total = 0;
    for (int64_t i = 0; i < size; i += step)
      total += static_cast<double>(log ? up[i] : up[i] * out[i]);
    const T sum = static_cast<T>(total);
    for (int64_t i = 0; i < size; i += step)
      to[i] = log ? up[i] - vexp(out[i]) * sum : out[i] * (up[i] - sum);
  });
}

namespace {

/// The weights of the terms of a row's loss: loss = sum over c of factor(c) l(c).
template <class T> struct ClassFactors {
  const CrossEntropyInput<T>& in;
  int64_t target;
  double operator()(int64_t c) const {
    const CrossEntropyShape& s = in.shape;
    const double w = in.weight ? static_cast<double>(in.weight[c]) : 1;
    const double spread = s.smoothing / static_cast<double>(s.classes);
    return w * (spread + (c == target ? 1 - s.smoothing : 0));
  }
};

}  // namespace

template <class T> void cross_entropy(const CrossEntropyInput<T>& in, T* loss, T* stats) {
  const int64_t C = in.shape.classes;
  for (int64_t i = 0; i < in.shape.rows; ++i) {
    const T* const x = in.x + i * C;
    const T shift = finite_maximum(x, C, 1);
    const double sum = exp_sum(x, C, 1, shift);
    stats[2 * i] = shift;
    stats[2 * i + 1] = static_cast<T>(1 / sum);
    loss[i] = 0;
    if (in.target[i] == in.shape.ignore_index) continue;
    const ClassFactors<T> factor{in, in.target[i]};
    double total = 0;
    for (int64_t c = 0; c < C; ++c) {
      const double below = static_cast<double>(shift) - static_cast<double>(x[c]);
      if (factor(c) != 0) total += factor(c) * (vlog(sum) + below);
    }
    loss[i] = static_cast<T>(total);
  }
}

template <class T>
void cross_entropy_backward(const CrossEntropyInput<T>& in, const T* stats,
                            const RowGradient<T>& up, T* dx) {
  const int64_t C = in.shape.classes;
  for (int64_t i = 0; i < in.shape.rows; ++i) {
    const T* const x = in.x + i * C;
    T* const to = dx + i * C;
    std::fill_n(to, C, T(0));
    if (in.target[i] == in.shape.ignore_index) continue;
    const ClassFactors<T> factor{in, in.target[i]};
    double all = 0;
    for (int64_t c = 0; c < C; ++c) all += factor(c);
    const double g = static_cast<double>(up.g[i * up.stride]);
    const double inverse = static_cast<double>(stats[2 * i + 1]);
    for (int64_t c = 0; c < C; ++c) {
      const double p = static_cast<double>(vexp(x[c] - stats[2 * i])) * inverse;
      to[c] = static_cast<T>(g * (all * p - factor(c)));
    }
  }
}

template <class T> void binary_cross_entropy(int64_t n, const T* p, const T* t, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double yes = std::max(vlog(static_cast<double>(p[i])), -100.0);
    const double no = std::max(vlog1p(-static_cast<double>(p[i])), -100.0);
    const double truth = static_cast<double>(t[i]);
    y[i] = static_cast<T>((truth - 1) * no - truth * yes);
  }
}

namespace {

template <class Op, class T> void scan(const Lines& l, const T* x, ScanResult<T>* y) {
  for_lines(l, [=](int64_t begin) {
    ScanSum<T> total = Op::kStart;
    for (int64_t k = 0; k < l.n; ++k) {
      const int64_t at = begin + k * l.inner;
      total = Op::join(total, static_cast<ScanSum<T>>(x[at]));
      y[at] = static_cast<ScanResult<T>>(total);
    }
  });
}

}  // namespace

template <class T> void cumsum(const Lines& lines, const T* x, ScanResult<T>* y) {
  scan<Plus>(lines, x, y);
}

template <class T> void cumprod(const Lines& lines, const T* x, ScanResult<T>* y) {
  scan<Times>(lines, x, y);
}

template <class T> void cumprod_backward(const Lines& l, const T* x, const T* dy, T* dx) {
  for_lines(l, [=](int64_t begin) {
    double before = 1;  // x[0] ... x[k - 1]
    for (int64_t k = 0; k < l.n; ++k) {
      const int64_t at = begin + k * l.inner;
      dx[at] = static_cast<T>(before);
      before *= static_cast<double>(x[at]);
    }
    double behind = 0;  // x[k + 1] s[k + 1]
    for (int64_t k = l.n - 1; k >= 0; --k) {
      const int64_t at = begin + k * l.inner;
      const double s = static_cast<double>(dy[at]) + behind;
      dx[at] = static_cast<T>(static_cast<double>(dx[at]) * s);
      behind = static_cast<double>(x[at]) * s;
    }
  });
}

namespace {

/// Whether a comes before b where the smallest come first: NaN is the largest.
template <class T> bool before(T a, T b) {
  const bool a_is_nan = a != a, b_is_nan = b != b;
  if (a_is_nan || b_is_nan) return b_is_nan && !a_is_nan;
  return a < b;
}

}  // namespace

template <class T> void sort_rows(const SortShape& s, const T* x, int64_t* index) {
  std::vector<int64_t> order(static_cast<size_t>(s.n));
  for (int64_t r = 0; r < s.rows; ++r) {
    const T* const row = x + r * s.n;
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return s.descending ? before(row[b], row[a]) : before(row[a], row[b]);
    });
    std::copy_n(order.begin(), s.k, index + r * s.k);
  }
}

namespace {

/// Calls f(place in `full`, position in the index) in the order of the index.
template <class F> void for_places(const IndexOver& s, const int64_t* index, const F& f) {
  const Strides strides = row_major_strides(s.full);
  int64_t count = 1;
  for (int d = 0; d < s.index.rank(); ++d) count *= s.index[d];
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, place = 0;
    for (int d = s.index.rank() - 1; d >= 0; --d) {
      place += (d == s.axis ? index[i] : rest % s.index[d]) * strides[d];
      rest /= s.index[d];
    }
    f(place, i);
  }
}

/// Calls f(number of the table, number of the choice) for each number that rows choose.
template <class F> void for_chosen(const Rows& s, const int64_t* index, const F& f) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.count; ++i)
      for (int64_t j = 0; j < s.inner; ++j)
        f((o * s.n + index[i]) * s.inner + j, (o * s.count + i) * s.inner + j);
}

}  // namespace

template <class T> void gather(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  for_places(s, index, [=](int64_t place, int64_t i) { y[i] = x[place]; });
}
template <class T> void scatter(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  for_places(s, index, [=](int64_t place, int64_t i) { y[place] = x[i]; });
}
template <class T> void scatter_add(const IndexOver& s, const int64_t* index, const T* x, T* y) {
  for_places(s, index,
             [=](int64_t place, int64_t i) { y[place] = static_cast<T>(y[place] + x[i]); });
}

template <class T> void take_rows(const Rows& s, const int64_t* index, const T* x, T* y) {
  for_chosen(s, index, [=](int64_t from, int64_t to) { y[to] = x[from]; });
}
template <class T> void add_rows(const Rows& s, const int64_t* index, const T* dy, T* dx) {
  std::fill_n(dx, s.outer * s.n * s.inner, T(0));
  for_chosen(s, index,
             [=](int64_t to, int64_t from) { dx[to] = static_cast<T>(dx[to] + dy[from]); });
}

template <class T>
void embedding(const EmbeddingShape& s, const T* table, const int64_t* index, T* out) {
  plain::take_rows(Rows{1, s.entries, s.width, s.count}, index, table, out);
}
template <class T>
void embedding_backward(const EmbeddingShape& s, const T* dout, const int64_t* index, int64_t skip,
                        T* dtable) {
  std::fill_n(dtable, s.entries * s.width, T(0));
  for_chosen(Rows{1, s.entries, s.width, s.count}, index, [=](int64_t to, int64_t from) {
    if (to / s.width != skip) dtable[to] += dout[from];
  });
}

#define LOUPE_INSTANTIATE(T)                                                    \
  template void cumsum<T>(const Lines&, const T*, ScanResult<T>*);              \
  template void cumprod<T>(const Lines&, const T*, ScanResult<T>*);             \
  template void sort_rows<T>(const SortShape&, const T*, int64_t*);             \
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

#define LOUPE_INSTANTIATE(T)                                                       \
  template void softmax<T>(bool, const Lines&, const T*, T*);                      \
  template void softmax_backward<T>(bool, const Lines&, const T*, const T*, T*);   \
  template void cross_entropy<T>(const CrossEntropyInput<T>&, T*, T*);             \
  template void cross_entropy_backward<T>(const CrossEntropyInput<T>&, const T*,   \
                                          const RowGradient<T>&, T*);              \
  template void binary_cross_entropy<T>(int64_t, const T*, const T*, T*);          \
  template void cumprod_backward<T>(const Lines&, const T*, const T*, T*);         \
  template void embedding<T>(const EmbeddingShape&, const T*, const int64_t*, T*); \
  template void embedding_backward<T>(const EmbeddingShape&, const T*, const int64_t*, int64_t, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels::plain
