// Sums, extremes and their positions. Pieces and the order of sums depend on the shape alone.
#include <loupe/core/cpu.h>
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::raw {
namespace {

// f32 sums accumulate in f64: a sum of a million terms keeps f32's full precision.
template <class T> struct Sum {
  using Acc = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
  static constexpr Acc start() { return 0; }
  static Acc join(Acc a, Acc b) { return a + b; }
};
// NaN wins: it compares unequal to itself.
template <class T, bool kLargest> struct Extremum {
  using Acc = T;
  static constexpr Acc start() {
    if constexpr (std::is_floating_point_v<T>)
      return kLargest ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
    else return kLargest ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
  }
  static Acc join(Acc a, Acc b) { return (kLargest ? b > a : b < a) || b != b ? b : a; }
};

struct Axis {
  int64_t size, in, out;  // out = 0 for a reduced dimension
};

// Dimensions of the input sorted from the slowest to the fastest, neighbours merged.
struct Layout {
  std::vector<Axis> axes;
  explicit Layout(const Tensor& t, const Dims& reduced, const Tensor& out) {
    std::vector<Axis> all;
    int kept = 0;
    for (int i = 0; i < t.dim(); ++i) {
      const bool gone = std::find(reduced.begin(), reduced.end(), i) != reduced.end();
      const int64_t so = gone ? 0 : out.strides()[kept++];
      if (t.shape()[i] != 1) all.push_back({t.shape()[i], t.strides()[i], so});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Axis& a, const Axis& b) { return a.in > b.in; });
    for (const Axis& a : all) {
      if (!axes.empty() && axes.back().in == a.in * a.size && axes.back().out == a.out * a.size &&
          (axes.back().out == 0) == (a.out == 0))
        axes.back() = {axes.back().size * a.size, a.in, a.out};
      else axes.push_back(a);
    }
    if (axes.empty()) axes.push_back({1, 1, 0});
  }
};

constexpr int kLanes = 16;

template <class T, class Op> typename Op::Acc reduce_run(const T* x, int64_t n, int64_t stride) {
  using Acc = typename Op::Acc;
  Acc result = Op::start();
  Acc* const to = &result;
  simd<T>([=] {
    Acc lane[kLanes];
    for (int j = 0; j < kLanes; ++j) lane[j] = Op::start();
    int64_t i = 0;
    if (stride == 1) {
      for (; i + kLanes <= n; i += kLanes)
#pragma omp simd
        for (int j = 0; j < kLanes; ++j) lane[j] = Op::join(lane[j], static_cast<Acc>(x[i + j]));
    }
    for (int j = 0; i < n; ++i, j = (j + 1) % kLanes)
      lane[j] = Op::join(lane[j], static_cast<Acc>(x[i * stride]));
    for (int half = kLanes / 2; half > 0; half /= 2)
      for (int j = 0; j < half; ++j) lane[j] = Op::join(lane[j], lane[j + half]);
    *to = lane[0];
  });
  return result;
}

// Walks all combinations of some axes and hands the offsets on.
template <class F> void odometer(const std::vector<Axis>& axes, const F& f) {
  int64_t index[kMaxRank] = {}, in = 0, out = 0;
  for (;;) {
    f(in, out);
    int d = static_cast<int>(axes.size()) - 1;
    for (; d >= 0; --d) {
      const Axis& a = axes[static_cast<size_t>(d)];
      in += a.in;
      out += a.out;
      if (++index[d] < a.size) break;
      in -= a.size * a.in;
      out -= a.size * a.out;
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

// out (filled with start()) joined with the reduction of x over `axes`; acc is what the partial
// results live in.
template <class T, class Op>
void reduce_axes(const T* x, std::vector<Axis> axes, typename Op::Acc* out) {
  using Acc = typename Op::Acc;
  const Axis inner = axes.back();
  axes.pop_back();
  if (inner.out == 0) {  // rows: the fastest dimension is reduced
    odometer(axes, [&](int64_t in, int64_t at) {
      out[at] = Op::join(out[at], reduce_run<T, Op>(x + in, inner.size, inner.in));
    });
    return;
  }
  odometer(axes, [&](int64_t in, int64_t at) {  // columns: whole rows are joined
    const T* const row = x + in;
    Acc* const to = out + at;
    const int64_t n = inner.size, si = inner.in, so = inner.out;
    simd<T>([=] {
      if (si == 1 && so == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) to[i] = Op::join(to[i], static_cast<Acc>(row[i]));
      } else {
        for (int64_t i = 0; i < n; ++i)
          to[i * so] = Op::join(to[i * so], static_cast<Acc>(row[i * si]));
      }
    });
  });
}

template <class T, class Op, class R>
void reduce(const Tensor& t, const Dims& axes, const Tensor& out) {
  using Acc = typename Op::Acc;
  std::vector<Axis> dims = Layout(t, axes, out).axes;
  const T* const x = t.ptr<T>();
  const int64_t n = out.numel(), total = t.numel();
  Scratch<Acc> acc(n);
  std::fill_n(acc.data(), n, Op::start());
  if (total == 0) {
  } else if (total < 32768) {
    reduce_axes<T, Op>(x, dims, acc.data());
  } else if (dims[0].out != 0) {
    // The slowest dimension is kept: each piece owns its part of the result.
    const Axis first = dims[0];
    const int64_t grain = std::max<int64_t>(1, 16384 * first.size / total);
    parallel_ranges(first.size, grain, [&](int64_t begin, int64_t end) {
      std::vector<Axis> part = dims;
      part[0].size = end - begin;
      reduce_axes<T, Op>(x + begin * first.in, part, acc.data() + begin * first.out);
    });
  } else {
    // The slowest dimension is reduced: up to 16 partial results, joined in order.
    const Axis first = dims[0];
    const int64_t pieces = std::min<int64_t>(
        {16, first.size, std::max<int64_t>(1, total / std::max<int64_t>(8192, 2 * n))});
    const int64_t padded = (n * static_cast<int64_t>(sizeof(Acc)) + 127) / 128 * 128 /
                           static_cast<int64_t>(sizeof(Acc));
    Scratch<Acc> partial(padded * pieces);
    std::fill_n(partial.data(), padded * pieces, Op::start());
    parallel_pieces(pieces, [&](int64_t p) {
      const int64_t begin = first.size * p / pieces, end = first.size * (p + 1) / pieces;
      std::vector<Axis> part = dims;
      part[0].size = end - begin;
      reduce_axes<T, Op>(x + begin * first.in, part, partial.data() + p * padded);
    });
    for (int64_t p = 0; p < pieces; ++p)
      for (int64_t i = 0; i < n; ++i) acc[i] = Op::join(acc[i], partial[p * padded + i]);
  }
  R* const r = out.ptr<R>();
  for (int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(acc[i]);
}

}  // namespace

Tensor sum(const Tensor& t, const Dims& wanted, bool keepdim) {
  const Dims axes = normalize_axes(wanted, t.dim(), "sum");
  Tensor out =
      empty(reduced_shape(t.shape(), axes, false), is_floating(t.dtype()) ? t.dtype() : DType::i64);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    reduce<T, Sum<T>, std::conditional_t<std::is_floating_point_v<T>, T, int64_t>>(t, axes, out);
  });
  return keepdim ? view(out, reduced_shape(t.shape(), axes, true),
                        row_major_strides(reduced_shape(t.shape(), axes, true)), 0)
                 : out;
}

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  Dims axes;
  const int shift = t.dim() - shape.rank();
  for (int i = 0; i < t.dim(); ++i)
    if (i < shift || (shape[i - shift] == 1 && t.shape()[i] != 1)) axes.push_back(i);
  if (axes.empty()) return view(t, shape, row_major_strides(shape), 0);
  const Tensor out = sum(t, axes, false);
  return view(out, shape, row_major_strides(shape), 0);
}

Tensor extremum(const Tensor& t, const Dims& wanted, bool keepdim, bool largest) {
  const char* op = largest ? "max" : "min";
  const Dims axes = normalize_axes(wanted, t.dim(), op);
  const Shape shape = reduced_shape(t.shape(), axes, false);
  if (t.numel() == 0 && shape.numel() != 0)
    fail<ValueError>("{}: shape {} has no elements along {}", op, t.shape(), axes);
  Tensor out = empty(shape, t.dtype());
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    if (largest) reduce<T, Extremum<T, true>, T>(t, axes, out);
    else reduce<T, Extremum<T, false>, T>(t, axes, out);
  });
  return keepdim ? view(out, reduced_shape(t.shape(), axes, true),
                        row_major_strides(reduced_shape(t.shape(), axes, true)), 0)
                 : out;
}

Tensor argmax(const Tensor& t, int64_t axis, bool keepdim) {
  const int a = normalize_axis(axis, t.dim(), "argmax");
  const Tensor rows = t.dim() == 0 ? view(t, {1}, {1}, 0) : row_major(transpose(t, a, -1));
  const int64_t n = rows.shape().back();
  if (n == 0) fail<ValueError>("argmax: shape {} has no elements along axis {}", t.shape(), axis);
  Shape shape = rows.shape();
  shape[shape.rank() - 1] = 1;
  Tensor out = empty(shape, DType::i64);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    const T* x = rows.ptr<T>();
    int64_t* r = out.ptr<int64_t>();
    parallel_ranges(out.numel(), std::max<int64_t>(1, 16384 / n), [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* row = x + i * n;
        int64_t best = 0;
        for (int64_t j = 1; j < n; ++j)
          if (row[best] == row[best] && (row[j] > row[best] || row[j] != row[j])) best = j;
        r[i] = best;
      }
    });
  });
  if (t.dim() == 0) return view(out, {}, {}, 0);
  Tensor back = transpose(out, a, -1);
  return keepdim ? back : squeeze(back, a);
}

}  // namespace loupe::raw
