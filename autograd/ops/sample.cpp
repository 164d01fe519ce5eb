#include <loupe/autograd/ops/sample.h>
#include <loupe/core/dmath.h>
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace loupe {
namespace {

// Uniform in [0, 1) from two words of a reserved range.
double uniform_at(uint64_t key, uint64_t first, int64_t i) {
  const auto w = philox(key, first + static_cast<uint64_t>(i));
  return static_cast<double>((uint64_t{w[0]} << 32 | w[1]) >> 11) * 0x1p-53;
}

// The sum of a row of weights, and how many are above 0.
struct Row {
  double total = 0;
  int64_t positive = 0;
};

Row checked_row(const double* w, int64_t n) {
  Row row;
  for (int64_t c = 0; c < n; ++c) {
    if (!(w[c] >= 0) || std::isinf(w[c]))
      fail<ValueError>("multinomial: weight {} of class {} is negative, NaN or infinite", w[c], c);
    row.total += w[c];
    row.positive += w[c] > 0 ? 1 : 0;
  }
  if (row.positive == 0) fail<ValueError>("multinomial: the weights of a row are all 0");
  if (std::isinf(row.total)) fail<ValueError>("multinomial: the sum of the weights is infinite");
  return row;
}

// Each draw is the first class whose running sum lies above u * total.
void draw_with_replacement(const double* w, int64_t n, int64_t count, uint64_t key, uint64_t first,
                           int64_t* out) {
  std::vector<double> sums(static_cast<size_t>(n));
  std::partial_sum(w, w + n, sums.begin());
  for (int64_t i = 0; i < count; ++i) {
    const double at = uniform_at(key, first, i) * sums.back();
    auto found = std::upper_bound(sums.begin(), sums.end(), at);
    // u * total may round up to the total.
    if (found == sums.end()) found = std::lower_bound(sums.begin(), sums.end(), sums.back());
    out[i] = found - sums.begin();
  }
}

// The classes that come first when class c waits -log(u_c) / w_c.
void draw_without_replacement(const double* w, int64_t n, int64_t count, uint64_t key,
                              uint64_t first, int64_t* out) {
  struct Wait {
    double time;
    int64_t class_;
    bool operator<(const Wait& b) const {
      return time < b.time || (time == b.time && class_ < b.class_);
    }
  };
  std::vector<Wait> waits;
  for (int64_t c = 0; c < n; ++c)
    if (w[c] > 0) waits.push_back({-dmath::log(1 - uniform_at(key, first, c)) / w[c], c});
  std::partial_sort(waits.begin(), waits.begin() + count, waits.end());
  for (int64_t i = 0; i < count; ++i) out[i] = waits[static_cast<size_t>(i)].class_;
}

}  // namespace

Tensor multinomial(Rng& rng, In weights, int64_t count, bool replacement) {
  if (!is_floating(weights->dtype()))
    fail<DtypeError>("multinomial: needs f32 or f64, got {}; convert with to(DType::f32)",
                     weights->dtype());
  if (weights->dim() != 1 && weights->dim() != 2)
    fail<ShapeError>("multinomial: the weights must be (classes) or (rows, classes), got {}",
                     weights->shape());
  if (count < 1) fail<ValueError>("multinomial: needs at least one draw, got {}", count);
  const Tensor wide = raw::row_major(raw::to(weights, DType::f64));
  const int64_t n = weights->size(-1), rows = weights->dim() == 2 ? weights->size(0) : 1;
  const double* const w = wide.ptr<double>();
  for (int64_t r = 0; r < rows; ++r) {
    const Row row = checked_row(w + r * n, n);
    if (!replacement && count > row.positive)
      fail<ValueError>(
          "multinomial: {} draws without replacement, {} classes have a weight above 0", count,
          row.positive);
  }
  Shape shape = weights->shape();
  shape[shape.rank() - 1] = count;
  const Tensor out = raw::empty(shape, DType::i64);
  int64_t* const to = out.ptr<int64_t>();
  const int64_t draws = replacement ? count : n;  // of a row; each takes a block of four words
  const uint64_t key = rng.state().key, first = rng.reserve(4 * rows * draws);
  const int64_t grain = std::max<int64_t>(1, 4096 / (n + count));
  parallel_ranges(rows, grain, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const uint64_t start = first + static_cast<uint64_t>(r * draws);
      if (replacement) draw_with_replacement(w + r * n, n, count, key, start, to + r * count);
      else draw_without_replacement(w + r * n, n, count, key, start, to + r * count);
    }
  });
  return out;
}

}  // namespace loupe
