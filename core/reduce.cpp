// Sums, products, norms, extremes and their positions. Pieces and the order of sums depend on the
// shape alone.
#include <loupe/core/cpu.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::raw {
namespace {

// What an op takes from an element, and what it makes of the total, unless it says otherwise.
template <class T, class A> struct Elements {
  using Acc = A;
  static Acc load(T x) { return static_cast<Acc>(x); }
  static Acc result(Acc total) { return total; }
};
// f32 accumulates in f64: a sum of a million terms keeps f32's full precision. Integers wrap around
// where they overflow.
template <class T> using Wide = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;
template <class T> struct Sum : Elements<T, Wide<T>> {
  using Acc = Wide<T>;
  static constexpr Acc start() { return 0; }
  static Acc join(Acc a, Acc b) {
    if constexpr (std::is_integral_v<Acc>)
      return static_cast<Acc>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    else return a + b;
  }
};
template <class T> struct Product : Elements<T, Wide<T>> {
  using Acc = Wide<T>;
  static constexpr Acc start() { return 1; }
  static Acc join(Acc a, Acc b) {
    if constexpr (std::is_integral_v<Acc>)
      return static_cast<Acc>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    else return a * b;
  }
};
template <class T> struct Any : Elements<T, uint8_t> {
  static constexpr uint8_t start() { return 0; }
  static uint8_t load(T x) { return x != 0; }
  static uint8_t join(uint8_t a, uint8_t b) { return a | b; }
};
template <class T> struct All : Elements<T, uint8_t> {
  static constexpr uint8_t start() { return 1; }
  static uint8_t load(T x) { return x != 0; }
  static uint8_t join(uint8_t a, uint8_t b) { return a & b; }
};
// Norms. Squares of f64 are added in the x87's wider type, where they cannot overflow; those of f32
// cannot in f64.
template <class T> using Wider = std::conditional_t<std::is_same_v<T, float>, double, long double>;
template <class T> struct SumOfSquares : Elements<T, Wider<T>> {
  using Acc = Wider<T>;
  static constexpr Acc start() { return 0; }
  static Acc load(T x) { return static_cast<Acc>(x) * static_cast<Acc>(x); }
  static Acc join(Acc a, Acc b) { return a + b; }
  static Acc result(Acc total) { return std::sqrt(total); }
};
template <class T> struct SumOfDeviations : Elements<T, double> {  // squared, about 0
  static constexpr double start() { return 0; }
  static double load(T x) { return static_cast<double>(x) * static_cast<double>(x); }
  static double join(double a, double b) { return a + b; }
};
template <class T> struct SumOfSizes : Elements<T, double> {
  static constexpr double start() { return 0; }
  static double load(T x) { return std::abs(static_cast<double>(x)); }
  static double join(double a, double b) { return a + b; }
};
template <class T> struct CountNonzero : Elements<T, double> {
  static constexpr double start() { return 0; }
  static double load(T x) { return x != 0 ? 1 : 0; }
  static double join(double a, double b) { return a + b; }
};
// NaN wins: it compares unequal to itself.
template <class T, bool kLargest> struct Extremum : Elements<T, T> {
  using Acc = T;
  static constexpr Acc start() {
    if constexpr (std::is_floating_point_v<T>)
      return kLargest ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
    else return kLargest ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
  }
  static Acc join(Acc a, Acc b) { return (kLargest ? b > a : b < a) || b != b ? b : a; }
};
template <class T, bool kLargest> struct ExtremeSize : Extremum<T, kLargest> {
  static T load(T x) { return std::abs(x); }
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
        for (int j = 0; j < kLanes; ++j) lane[j] = Op::join(lane[j], Op::load(x[i + j]));
    }
    for (int j = 0; i < n; ++i, j = (j + 1) % kLanes)
      lane[j] = Op::join(lane[j], Op::load(x[i * stride]));
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
        for (int64_t i = 0; i < n; ++i) to[i] = Op::join(to[i], Op::load(row[i]));
      } else {
        for (int64_t i = 0; i < n; ++i) to[i * so] = Op::join(to[i * so], Op::load(row[i * si]));
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
  for (int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(Op::result(acc[i]));
}

// `out` with the reduced dimensions put back as size 1, if they are kept.
Tensor with_kept(const Tensor& out, const Shape& input, const Dims& axes, bool keepdim) {
  if (!keepdim) return out;
  const Shape shape = reduced_shape(input, axes, true);
  return view(out, shape, row_major_strides(shape), 0);
}

// An op without elements to start from.
void need_elements(const Tensor& t, const Dims& axes, const char* op) {
  if (t.numel() == 0 && reduced_shape(t.shape(), axes, false).numel() != 0)
    fail<ValueError>("{}: shape {} has no elements along {}", op, t.shape(), axes);
}

// The sum or product of floating numbers keeps their type; that of others is i64.
template <template <class> class Op>
Tensor accumulate(const Tensor& t, const Dims& wanted, bool keepdim, const char* op) {
  const Dims axes = normalize_axes(wanted, t.dim(), op);
  Tensor out =
      empty(reduced_shape(t.shape(), axes, false), is_floating(t.dtype()) ? t.dtype() : DType::i64);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    reduce<T, Op<T>, std::conditional_t<std::is_floating_point_v<T>, T, int64_t>>(t, axes, out);
  });
  return with_kept(out, t.shape(), axes, keepdim);
}

template <template <class> class Op>
Tensor truth(const Tensor& t, const Dims& wanted, bool keepdim, const char* op) {
  const Dims axes = normalize_axes(wanted, t.dim(), op);
  const bool bytes = t.dtype() == DType::u8;
  Tensor out = empty(reduced_shape(t.shape(), axes, false), bytes ? DType::u8 : DType::boolean);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    using R = std::conditional_t<std::is_same_v<T, uint8_t>, uint8_t, bool>;
    reduce<T, Op<T>, R>(t, axes, out);
  });
  return with_kept(out, t.shape(), axes, keepdim);
}

// p other than 0, 1, 2 and infinity: in f64, relative to the element that decides, so that no power
// overflows.
Tensor power_norm(const Tensor& t, double p, const Dims& axes) {
  const Tensor wide = to(t, DType::f64), size = empty_like(wide);
  map1<double, double>(size, wide, [](double x) { return std::fabs(x); });
  const Tensor extreme = extremum(size, axes, true, p > 0);
  const Tensor ordinary =
      compare(Compare::lt, binary(Binary::sub, extreme, extreme, "norm"), 1);  // not Inf, not NaN
  const Tensor positive = compare(Compare::gt, extreme, 0);
  const Tensor one = full({}, 1, DType::f64);
  const Tensor unit = where(ordinary, where(positive, extreme, one), one);
  const Tensor terms = binary(Binary::pow, binary(Binary::div, size, unit, "norm"), p);
  const Tensor total = binary(Binary::pow, sum(terms, axes, true), 1 / p);
  return to(binary(Binary::mul, total, unit, "norm"), t.dtype());
}

}  // namespace

Tensor sum(const Tensor& t, const Dims& axes, bool keepdim) {
  return accumulate<Sum>(t, axes, keepdim, "sum");
}

// The corrected two-pass algorithm (Chan, Golub and LeVeque, 1983): deviations are taken about the
// rounded mean, and what they leave over, which is a whole number of last digits where all elements
// are equal, corrects both results.
Moments moments(const Tensor& t, const Dims& wanted, int64_t correction, bool keepdim) {
  const Dims axes = normalize_axes(wanted, t.dim(), "var");
  const Shape kept = reduced_shape(t.shape(), axes, true);
  const Tensor variance = empty(reduced_shape(t.shape(), axes, false), t.dtype()),
               center = empty(kept, t.dtype()), sums = empty(variance.shape(), DType::f64),
               squares = empty(variance.shape(), DType::f64);
  const double n =
      static_cast<double>(t.numel()) / static_cast<double>(std::max<int64_t>(kept.numel(), 1));
  const double free = std::max(n - static_cast<double>(correction), 0.0);
  dispatch_floating(t.dtype(), "var", [&]<class T>(Type<T>) {
    T *const c = center.ptr<T>(), *const v = variance.ptr<T>();
    double *const s = sums.ptr<double>(), *const s2 = squares.ptr<double>();
    reduce<T, Sum<T>, double>(t, axes, sums);
    for (int64_t i = 0; i < kept.numel(); ++i) c[i] = static_cast<T>(s[i] / n);
    const Tensor deviations = binary(Binary::sub, t, center, "var");
    reduce<T, Sum<T>, double>(deviations, axes, sums);
    reduce<T, SumOfDeviations<T>, double>(deviations, axes, squares);
    for (int64_t i = 0; i < kept.numel(); ++i) {
      const double rest = s[i] / n, about_mean = s2[i] - s[i] * rest;
      if (std::isfinite(rest)) c[i] = static_cast<T>(static_cast<double>(c[i]) + rest);
      v[i] = static_cast<T>((std::isfinite(s2[i]) ? std::max(about_mean, 0.0) : s2[i]) / free);
    }
  });
  return {center, with_kept(variance, t.shape(), axes, keepdim)};
}

Tensor prod(const Tensor& t, const Dims& axes, bool keepdim) {
  return accumulate<Product>(t, axes, keepdim, "prod");
}
Tensor any(const Tensor& t, const Dims& axes, bool keepdim) {
  return truth<Any>(t, axes, keepdim, "any");
}
Tensor all(const Tensor& t, const Dims& axes, bool keepdim) {
  return truth<All>(t, axes, keepdim, "all");
}

Tensor norm(const Tensor& t, double p, const Dims& wanted, bool keepdim) {
  const Dims axes = normalize_axes(wanted, t.dim(), "norm");
  if (p < 0 || std::isinf(p)) need_elements(t, axes, "norm");
  Tensor out = empty(reduced_shape(t.shape(), axes, false), t.dtype());
  dispatch_floating(t.dtype(), "norm", [&]<class T>(Type<T>) {
    if (t.numel() == 0) fill(out, 0);
    else if (p == 0) reduce<T, CountNonzero<T>, T>(t, axes, out);
    else if (p == 1) reduce<T, SumOfSizes<T>, T>(t, axes, out);
    else if (p == 2) reduce<T, SumOfSquares<T>, T>(t, axes, out);
    else if (std::isinf(p) && p > 0) reduce<T, ExtremeSize<T, true>, T>(t, axes, out);
    else if (std::isinf(p)) reduce<T, ExtremeSize<T, false>, T>(t, axes, out);
    else out = reshape(power_norm(t, p, axes), out.shape());
  });
  return with_kept(out, t.shape(), axes, keepdim);
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
  need_elements(t, axes, op);
  Tensor out = empty(reduced_shape(t.shape(), axes, false), t.dtype());
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    if (largest) reduce<T, Extremum<T, true>, T>(t, axes, out);
    else reduce<T, Extremum<T, false>, T>(t, axes, out);
  });
  return with_kept(out, t.shape(), axes, keepdim);
}

Tensor arg_extremum(const Tensor& t, int64_t axis, bool keepdim, bool largest) {
  const char* op = largest ? "argmax" : "argmin";
  const int a = normalize_axis(axis, t.dim(), op);
  const Tensor rows = t.dim() == 0 ? view(t, {1}, {1}, 0) : row_major(transpose(t, a, -1));
  const int64_t n = rows.shape().back();
  if (n == 0) fail<ValueError>("{}: shape {} has no elements along axis {}", op, t.shape(), axis);
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
        for (int64_t j = 1; j < n; ++j) {
          const bool better = largest ? row[j] > row[best] : row[j] < row[best];
          if (row[best] == row[best] && (better || row[j] != row[j])) best = j;
        }
        r[i] = best;
      }
    });
  });
  if (t.dim() == 0) return view(out, {}, {}, 0);
  Tensor back = transpose(out, a, -1);
  return keepdim ? back : squeeze(back, a);
}

bool has_nonfinite(const Tensor& t) {
  if (!is_floating(t.dtype())) return false;
  // x - x is 0 for a finite x and NaN for the others; a sum of those is 0 or NaN.
  const Tensor zeros_or_nan = empty_like(t);
  dispatch_floating(t.dtype(), "has_nonfinite", [&]<class T>(Type<T>) {
    map1<T, T>(zeros_or_nan, t, [](T x) { return x - x; });
  });
  return sum(zeros_or_nan, {}, false).item<double>() != 0;
}

}  // namespace loupe::raw
