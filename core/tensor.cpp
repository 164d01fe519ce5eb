// The tensor class and the factories; printing is in print.cpp, views in views.cpp.
#include <loupe/core/dmath.h>
#include <loupe/core/number.h>
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>

namespace loupe {

Tensor::Tensor(std::shared_ptr<Storage> storage, Shape shape, Strides strides, int64_t offset,
               DType dtype)
    : impl_(std::make_shared<Impl>()) {
  impl_->storage = std::move(storage);
  impl_->shape = shape;
  impl_->strides = strides;
  impl_->offset = offset;
  impl_->dtype = dtype;
}

void Tensor::undefined() {
  fail<ValueError>("tensor: it is undefined; give it a value first, e.g. by zeros(shape)");
}

void Tensor::check_dtype(DType wanted) const {
  if (dtype() != wanted)
    fail<DtypeError>("tensor: elements are {}, read as {}; convert with to(DType::{})", dtype(),
                     wanted, wanted == DType::boolean ? "boolean" : name(wanted));
}

void Tensor::check_row_major() const {
  if (!raw::is_row_major(*this))
    fail<ShapeError>(
        "data: memory of shape {} is not row-major (strides {}); call contiguous() first", shape(),
        strides());
}

int64_t Tensor::size(int64_t axis, Here /*here*/) const {
  const int a = normalize_axis(axis, dim(), "size");
  if (dim() == 0)
    fail<IndexError>("size: a tensor without dimensions has no size of axis {}", axis);
  return shape()[a];
}

double Tensor::item_as_double() const {
  if (numel() != 1)
    fail<ShapeError>("item: needs a tensor with one element, got shape {}", shape());
  return dispatch(dtype(), [&]<class T>(Type<T>) { return static_cast<double>(*ptr<T>()); });
}

int64_t Tensor::item_as_integer() const {
  if (numel() != 1)
    fail<ShapeError>("item: needs a tensor with one element, got shape {}", shape());
  return dispatch(dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_floating_point_v<T>)
      return raw::checked_number<int64_t>(*ptr<T>(), "item");
    else return static_cast<int64_t>(*ptr<T>());
  });
}

void Tensor::item_out_of_range() const {
  fail<ValueError>("item: {} does not fit into the type asked for", item_as_integer());
}

template <class T> std::vector<T> Tensor::to_vector(Here /*here*/) const {
  const Tensor dense = raw::row_major(raw::to(*this, dtype_of<T>()));
  const T* p = dense.ptr<T>();
  return std::vector<T>(p, p + numel());
}
template std::vector<float> Tensor::to_vector(Here) const;
template std::vector<double> Tensor::to_vector(Here) const;
template std::vector<int64_t> Tensor::to_vector(Here) const;
template std::vector<uint8_t> Tensor::to_vector(Here) const;
template std::vector<bool> Tensor::to_vector(Here) const;

namespace raw {
namespace {

int64_t checked_numel(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) {
    if (d < 0) fail<ShapeError>("empty: shape {} has a negative size", shape);
    if (__builtin_mul_overflow(n, d, &n))
      fail<ShapeError>("empty: shape {} has more elements than memory can address", shape);
  }
  return n;
}

Tensor with_strides(const Shape& shape, const Strides& strides, DType dtype) {
  const int64_t n = checked_numel(shape);
  if (static_cast<uint64_t>(n) > SIZE_MAX / 16)
    fail<OutOfMemory>("allocate: no memory for shape {}", shape);
  return Tensor(std::make_shared<Storage>(bytes_of(n, size_of(dtype))), shape, strides, 0, dtype);
}

Strides channels_last_strides(const Shape& shape) {
  const int r = shape.rank();
  Strides s = row_major_strides(shape);
  if (r < 3) return s;
  checked_numel(shape);
  s[1] = 1;
  int64_t step = std::max<int64_t>(shape[1], 1);
  for (int i = r - 1; i >= 2; --i) {
    s[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  s[0] = step;
  return s;
}

// Strides of size-1 dimensions do not matter.
bool same_layout(const Tensor& t, const Strides& wanted) {
  if (t.numel() == 0) return true;
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] != 1 && t.strides()[i] != wanted[i]) return false;
  return true;
}

}  // namespace

Tensor empty(const Shape& shape, DType dtype, Here /*here*/) {
  return with_strides(shape, row_major_strides(shape), dtype);
}
Tensor empty_like(const Tensor& t, Here /*here*/) { return empty_like(t, t.dtype()); }
Tensor empty_like(const Tensor& t, DType dtype) {
  return with_strides(t.shape(), is_dense(t) ? t.strides() : row_major_strides(t.shape()), dtype);
}
Tensor empty_channels_last(const Shape& shape, DType dtype) {
  return with_strides(shape, channels_last_strides(shape), dtype);
}
Tensor zeros(const Shape& shape, DType dtype, Here /*here*/) {
  Tensor t = empty(shape, dtype);
  fill(t, 0);
  return t;
}

bool is_row_major(const Tensor& t) { return same_layout(t, row_major_strides(t.shape())); }
bool is_channels_last(const Tensor& t) { return same_layout(t, channels_last_strides(t.shape())); }
bool is_dense(const Tensor& t) {
  if (t.numel() == 0) return true;
  Dims order;  // the dimensions that matter, fastest first
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] != 1) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return t.strides()[static_cast<int>(a)] < t.strides()[static_cast<int>(b)];
  });
  int64_t step = 1;
  for (int64_t axis : order) {
    if (t.strides()[static_cast<int>(axis)] != step) return false;
    step *= t.shape()[static_cast<int>(axis)];
  }
  return true;
}

Tensor row_major(const Tensor& t) {
  if (is_row_major(t)) return t;
  Tensor out = empty(t.shape(), t.dtype());
  copy(t, out);
  return out;
}

Tensor channels_last(const Tensor& t) {
  if (is_channels_last(t)) return t;
  Tensor out = empty_channels_last(t.shape(), t.dtype());
  copy(t, out);
  return out;
}

Tensor clone(const Tensor& t) {
  Tensor out = empty_like(t);
  copy(t, out);
  return out;
}

Tensor to(const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  Tensor out = empty_like(t, dtype);
  copy(t, out, "to");
  return out;
}

}  // namespace raw

Tensor ones(const Shape& shape, DType dtype, Here /*here*/) { return full(shape, 1, dtype); }
Tensor full(const Shape& shape, Number value, DType dtype, Here /*here*/) {
  Tensor t = raw::empty(shape, dtype);
  raw::fill(t, value);
  return t;
}
Tensor scalar(Number value, DType dtype, Here /*here*/) { return full({}, value, dtype); }
Tensor zeros_like(const Tensor& t, Here /*here*/) {
  Tensor out = raw::empty_like(t);
  raw::fill(out, 0);
  return out;
}
Tensor ones_like(const Tensor& t, Here /*here*/) {
  Tensor out = raw::empty_like(t);
  raw::fill(out, 1);
  return out;
}

namespace {

// Fills a new tensor with f(i), i = 0, 1, ...
template <class F> Tensor generate(int64_t n, DType dtype, const char* op, F f) {
  Tensor t = raw::empty({n}, dtype);
  dispatch(dtype, [&]<class T>(Type<T>) {
    T* p = t.ptr<T>();
    for (int64_t i = 0; i < n; ++i) p[i] = raw::checked_number<T>(f(i), op);
  });
  return t;
}

// arange in whole numbers, exact over the whole range of i64.
Tensor integer_range(int64_t start, int64_t stop, int64_t step, DType dtype) {
  const __int128 way = static_cast<__int128>(stop) - start;
  const __int128 count = (way + step + (step > 0 ? -1 : 1)) / step;
  if (count > int64_t{1} << 53)
    fail<ValueError>("arange: {} numbers from {} to {}", static_cast<double>(count), start, stop);
  return generate(static_cast<int64_t>(count), dtype, "arange", [=](int64_t i) {
    // i * step may lie beyond i64 where the sum does not.
    const uint64_t walked = static_cast<uint64_t>(i) * static_cast<uint64_t>(step);
    return Number(static_cast<int64_t>(static_cast<uint64_t>(start) + walked));
  });
}

// A bound of arange that an integer type can start from or step by.
int64_t whole_bound(Number n, const char* what, DType dtype) {
  if (!n.whole())
    fail<DtypeError>("arange: the {} {} is not a whole number and the type is {}; use DType::f32",
                     what, n.real, dtype);
  return raw::checked_number<int64_t>(n, "arange");
}

}  // namespace

Tensor arange(Number start, Number stop, Number step, DType dtype, Here /*here*/) {
  if (dtype == DType::boolean) fail<DtypeError>("arange: bool has no range; use DType::i64");
  const double way = stop.real - start.real;
  if (step.real == 0 || !std::isfinite(step.real) || !std::isfinite(way / step.real))
    fail<ValueError>("arange: step {} from {} to {}", step.real, start.real, stop.real);
  if (way != 0 && (way > 0) != (step.real > 0))
    fail<ValueError>("arange: step {} points away from {} to {}", step.real, start.real, stop.real);
  const double count = std::ceil(way / step.real);
  if (count > 0x1p53)
    fail<ValueError>("arange: {} numbers from {} to {}", count, start.real, stop.real);
  if (!is_floating(dtype)) {
    // A stop with a part behind the point: the whole number beyond it leaves out the same ones.
    const double beyond = step.real > 0 ? std::ceil(stop.real) : std::floor(stop.real);
    const Number end = stop.exact ? stop : Number(beyond);
    return integer_range(whole_bound(start, "start", dtype), whole_bound(end, "end", dtype),
                         whole_bound(step, "step", dtype), dtype);
  }
  return generate(static_cast<int64_t>(count), dtype, "arange", [=](int64_t i) {
    return Number(start.real + static_cast<double>(i) * step.real);
  });
}

Tensor linspace(double first, double last, int64_t steps, DType dtype, Here /*here*/) {
  if (steps < 0)
    fail<ValueError>("linspace: the number of steps must not be negative, got {}", steps);
  if (!std::isfinite(first) || !std::isfinite(last))
    fail<ValueError>("linspace: the ends must be finite, got {} and {}", first, last);
  // last - first may overflow; the quotients do not.
  const double count = static_cast<double>(std::max<int64_t>(steps - 1, 1));
  const double d =
      std::isfinite(last - first) ? (last - first) / count : last / count - first / count;
  // From both ends, so that the last number is exact.
  return generate(steps, dtype, "linspace", [=](int64_t i) {
    if (i < steps / 2) return first + d * static_cast<double>(i);
    return steps == 1 ? first : last - d * static_cast<double>(steps - 1 - i);
  });
}

Tensor eye(int64_t n, DType dtype, Here /*here*/) {
  Tensor t = zeros({n, n}, dtype);
  raw::fill(raw::view(t, {n}, {n + 1}, 0), 1);
  return t;
}

template <class T>
Tensor from_data(const std::vector<T>& values, std::optional<Shape> shape, Here /*here*/) {
  const int64_t n = static_cast<int64_t>(values.size());
  const Shape s = shape.value_or(Shape{n});
  Tensor t = raw::empty(s, dtype_of<T>());
  if (t.numel() != n) fail<ShapeError>("from_data: {} values do not fill shape {}", n, s);
  std::copy(values.begin(), values.end(), t.ptr<T>());
  return t;
}
template Tensor from_data(const std::vector<float>&, std::optional<Shape>, Here);
template Tensor from_data(const std::vector<double>&, std::optional<Shape>, Here);
template Tensor from_data(const std::vector<int64_t>&, std::optional<Shape>, Here);
template Tensor from_data(const std::vector<uint8_t>&, std::optional<Shape>, Here);
template Tensor from_data(const std::vector<bool>&, std::optional<Shape>, Here);

Tensor tensor(std::initializer_list<double> values, std::optional<Shape> shape, DType dtype,
              Here /*here*/) {
  return raw::to(from_data(std::vector<double>(values), shape), dtype);
}

namespace {

constexpr int64_t kDrawGrain =
    16384;  // elements a piece; a multiple of 4, so that a piece starts on a block of words

// out[i] from words 2i and 2i+1 of a reserved range; normals come in pairs (Box-Muller), uniforms
// singly.
template <class T> void draw_uniform(Rng& rng, T* out, int64_t n, double low, double high) {
  const uint64_t key = rng.state().key, first = rng.reserve(2 * n);
  parallel_ranges(n, kDrawGrain, [&](int64_t begin, int64_t end) {
    uint32_t words[512];
    for (int64_t i = begin; i < end; i += 256) {
      const int64_t m = std::min<int64_t>(256, end - i);
      philox_fill(key, first + static_cast<uint64_t>(i) / 2, words, 2 * m);
      for (int64_t j = 0; j < m; ++j) {
        const double u =
            static_cast<double>((uint64_t{words[2 * j]} << 32 | words[2 * j + 1]) >> 11) * 0x1p-53;
        const T value = static_cast<T>(low + (high - low) * u);
        out[i + j] = value < static_cast<T>(high) || low == high
                         ? value
                         : std::nextafter(static_cast<T>(high), static_cast<T>(low));
      }
    }
  });
}

template <class T> void draw_normal(Rng& rng, T* out, int64_t n, double mean, double std) {
  const uint64_t key = rng.state().key, first = rng.reserve(2 * n + 2);
  parallel_ranges(n, kDrawGrain, [&](int64_t begin, int64_t end) {
    uint32_t words[512];
    for (int64_t i = begin; i < end; i += 256) {
      const int64_t m = std::min<int64_t>(256, end - i);
      philox_fill(key, first + static_cast<uint64_t>(i) / 2, words, 2 * m + 2 * (m % 2));
      for (int64_t j = 0; j < m; j += 2) {
        const uint32_t* w = words + 2 * j;
        const double u =
            (static_cast<double>((uint64_t{w[0]} << 32 | w[1]) >> 11) + 1.0) * 0x1p-53;  // (0, 1]
        const double v = static_cast<double>((uint64_t{w[2]} << 32 | w[3]) >> 11) * 0x1p-53;
        const double radius = std * std::sqrt(-2 * dmath::log(u));
        const auto [sin, cos] = dmath::sincos_turns(v);
        out[i + j] = static_cast<T>(mean + radius * cos);
        if (j + 1 < m) out[i + j + 1] = static_cast<T>(mean + radius * sin);
      }
    }
  });
}

}  // namespace

Tensor randn(Rng& rng, const Shape& shape, DType dtype, Here /*here*/) {
  Tensor t = raw::empty(shape, dtype);
  dispatch_floating(dtype, "randn",
                    [&]<class T>(Type<T>) { draw_normal(rng, t.ptr<T>(), t.numel(), 0, 1); });
  return t;
}

Tensor uniform(Rng& rng, const Shape& shape, double low, double high, DType dtype, Here /*here*/) {
  if (!(low <= high)) fail<ValueError>("uniform: the range [{}, {}) is empty", low, high);
  if (!std::isfinite(high - low))
    fail<ValueError>("uniform: the range [{}, {}) has no end", low, high);
  Tensor t = raw::empty(shape, dtype);
  dispatch_floating(dtype, "uniform",
                    [&]<class T>(Type<T>) { draw_uniform(rng, t.ptr<T>(), t.numel(), low, high); });
  return t;
}

Tensor randint(Rng& rng, int64_t low, int64_t high, const Shape& shape, Here /*here*/) {
  Tensor t = raw::empty(shape, DType::i64);
  rng.integers(low, high, t.data<int64_t>());
  return t;
}

Tensor permutation(Rng& rng, int64_t n, Here /*here*/) {
  Tensor t = arange(n);
  auto x = t.data<int64_t>();
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(x[static_cast<size_t>(i)], x[static_cast<size_t>(rng.integer(0, i + 1))]);
  return t;
}

}  // namespace loupe
