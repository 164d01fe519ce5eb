// Dot products of rows as they are stored: nothing is packed.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

constexpr int kSide = 4;  // rows of A and of B whose 4 x 4 dot products are computed together

// Joins the partial sums of a vector by halves, in a fixed order.
inline float sum_of_lanes(Vec sums) {
  float total[kLanes];
  store(total, sums);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) total[l] += total[l + half];
  return total[0];
}

// Rows x Columns dot products, from rows a and b on, written at c with the bias that belongs there.
template <int Rows, int Columns>
void dot_tile(const Dots& d, const float* a, const float* b, const float* bias, float* c) {
  Vec sum[Rows][Columns] = {};
  int64_t p = 0;
  const auto step = [&](auto get) {
    Vec right[Columns];
    LOUPE_UNROLL for (int j = 0; j < Columns; ++j) right[j] = get(b + j * d.b_row + p);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec left = get(a + i * d.a_row + p);
      LOUPE_UNROLL for (int j = 0; j < Columns; ++j) sum[i][j] =
          multiply_add(left, right[j], sum[i][j]);
    }
  };
  for (; p + kLanes <= d.k; p += kLanes) step([](const float* x) { return load(x); });
  if (p < d.k) step([n = d.k - p](const float* x) { return load_part(x, n); });
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
    LOUPE_UNROLL for (int j = 0; j < Columns; ++j) {
      float* to = c + i * d.c_row + j;
      float start = 0.0f;
      if (d.accumulate) start = *to;
      else if (bias) start = bias[j];
      *to = sum_of_lanes(sum[i][j]) + start;
    }
  }
}

}  // namespace

void dots(const Dots& all) {
  const Dots d = all;
  for (int64_t j = 0; j < d.n; j += kSide)
    for (int64_t i = 0; i < d.m; i += kSide) {
      const int64_t columns = d.n - j < kSide ? d.n - j : kSide;
      const int64_t rows = d.m - i < kSide ? d.m - i : kSide;
      const auto run = [&](auto tile, int64_t row, int64_t column) {
        tile(d, d.a + row * d.a_row, d.b + column * d.b_row, d.bias ? d.bias + column : nullptr,
             d.c + row * d.c_row + column);
      };
      if (rows == kSide && columns == kSide) {
        run(dot_tile<kSide, kSide>, i, j);
        continue;
      }
      for (int64_t y = 0; y < rows; ++y) {
        if (columns == kSide) {
          run(dot_tile<1, kSide>, i + y, j);
          continue;
        }
        for (int64_t x = 0; x < columns; ++x) run(dot_tile<1, 1>, i + y, j + x);
      }
    }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
